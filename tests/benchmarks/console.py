"""How smoothly the live map shows a fleet that moves: ``python -m tests.benchmarks.console``.

A real server sends one fix a second for each entity, a few at a time; a real Chromium, which draws
without a GPU, shows the live map of all of them.  Everything runs on one machine, so a busy one
gives worse figures: the load average is printed with them, and the best of several runs counts.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import multiprocessing
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, CDPSession, Page, expect

from tests.browser.chromium import chromium
from tests.browser.console import CONNECTED, ON
from tests.support.servers.serving import Live, serving, token

SIZES = (200, 2_000, 5_000)

SLICES = 20
"""Requests a second, each with a part of the fleet."""

DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True}

WATCH = """(() => {
  let received = [];
  const seen = window.seen = { frames: [], lags: [], paints: 0 };
  const drawn = new MessageChannel();
  let pending = [];
  drawn.port1.onmessage = () => {
    const now = Date.now();
    for (const sent of pending) seen.lags.push(now - sent);
    pending = [];
  };
  const Plain = WebSocket;
  window.WebSocket = class extends Plain {
    constructor(...options) {
      super(...options);
      this.addEventListener('message', ({ data }) => {
        if (typeof data !== 'string' || !data.startsWith('42["location:update"')) return;
        const at = data.indexOf('"timestamp":"') + 13;
        received.push(Date.parse(data.slice(at, data.indexOf('"', at))));
      });
    }
  };
  const clear = CanvasRenderingContext2D.prototype.clearRect;
  CanvasRenderingContext2D.prototype.clearRect = function (...box) {
    if (this.canvas.classList?.contains('marks')) {
      seen.paints += 1;
      pending.push(...received);
      received = [];
      drawn.port2.postMessage(0);
    }
    return clear.apply(this, box);
  };
  const frame = (now) => {
    seen.frames.push(now);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})()"""
"""Notes each frame, and for each fix how long after it was sent the markers were painted."""

BEGIN = "() => Object.assign(window.seen, { frames: [], lags: [], paints: 0 })"

TITLES = {
    "size": "entities",
    "fps": "frames/s",
    "frame_p95": "frame p95",
    "frame_max": "longest",
    "paints": "paints/s",
    "lag_p50": "lag median",
    "lag_p95": "lag p95",
    "main": "main thread",
    "script": "scripts",
    "received": "fixes/s",
    "load": "load",
}


class Fleet:
    """Vehicles that drive about in and around some towns."""

    def __init__(self, size: int) -> None:
        dice = random.Random(1)
        towns = [(dice.uniform(51.9, 53.9), dice.uniform(-9.6, -6.4)) for _ in range(12)]
        self._at = []
        for n in range(size):
            latitude, longitude = towns[min(11, int(dice.expovariate(0.3)))]
            spread = dice.choice((0.02, 0.05, 0.3))
            self._at.append(
                [dice.gauss(latitude, spread), dice.gauss(longitude, 1.6 * spread), 37.0 * n]
            )

    def moved(self, part: slice) -> list[dict[str, Any]]:
        """The next fixes of a part of the fleet, recorded now."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        fixes = []
        for n in range(*part.indices(len(self._at))):
            place = self._at[n]
            place[2] = (place[2] + random.uniform(-8, 8)) % 360
            place[0] += 0.00012 * math.cos(math.radians(place[2]))
            place[1] += 0.0002 * math.sin(math.radians(place[2]))
            fix = {"latitude": place[0], "longitude": place[1], "heading": place[2], "speed": 48}
            fixes.append({"vehicleId": f"v{n}", "timestamp": now, **fix})
        return fixes


async def drive(live: Live, fleet: Fleet) -> None:
    """Send a fix a second for each vehicle, until it is cancelled."""
    begin = time.perf_counter()
    tick = 0
    while True:
        updates = fleet.moved(slice(tick % SLICES, None, SLICES))
        status, answer = await live.post("/api/tracking/batch", {"updates": updates})
        if status != 200:
            raise RuntimeError(f"the server answered {status}: {answer}")
        tick += 1
        late = time.perf_counter() - begin - tick / SLICES
        if late > 0:
            begin += late  # what a slow machine has missed is not sent
        await asyncio.sleep(max(0.001, -late))


async def serve(size: int, pipe: Connection) -> None:
    """Run a server with a fleet that drives, until the pipe is closed."""
    fleet = Fleet(size)
    async with serving(plugins=ON) as live:
        for start in range(0, size, 500):
            updates = fleet.moved(slice(start, start + 500))
            await live.post("/api/tracking/batch", {"updates": updates})
        task = asyncio.create_task(drive(live, fleet))
        pipe.send(live.url)
        await asyncio.to_thread(pipe.poll, None)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def serve_forever(size: int, pipe: Connection) -> None:
    """The process of the server."""
    asyncio.run(serve(size, pipe))


@asynccontextmanager
async def driving(size: int) -> AsyncIterator[str]:
    """The address of a server, in a process of its own, where a fleet drives."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=serve_forever, args=(size, theirs))
    process.start()
    try:
        yield await asyncio.to_thread(ours.recv)
    finally:
        ours.send(None)
        await asyncio.to_thread(process.join)


async def opened(page: Page, url: str, size: int, fragment: str) -> None:
    """Open the live map, and wait until it shows the fleet, which moves."""
    await page.goto(f"{url}/console#token={token()}")
    await expect(page.locator("#status")).to_have_attribute(
        "data-status", CONNECTED, timeout=60_000
    )
    await expect(page.locator("#shown")).to_have_text(f"{size:,}", timeout=60_000)
    if fragment:
        await page.evaluate("(fragment) => { location.hash = fragment }", fragment)
    await page.wait_for_timeout(5_000)  # the trails have begun, and nothing is compiled any more


async def busy(tools: CDPSession) -> dict[str, float]:
    """Seconds that the main thread has worked so far."""
    metrics = (await tools.send("Performance.getMetrics"))["metrics"]
    found: dict[str, float] = {each["name"]: each["value"] for each in metrics}
    return found


def quantile(values: list[float], part: float) -> float:
    """A quantile; 0 if there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


async def measured(
    browser: Browser, url: str, size: int, options: argparse.Namespace
) -> dict[str, float]:
    """Show a fleet once; returns milliseconds, and shares."""
    context = await browser.new_context(
        **(PHONE if options.phone else DESKTOP), color_scheme=options.scheme
    )
    page = await context.new_page()
    await page.add_init_script(WATCH)
    if options.no_clusters:
        stored = json.dumps({"clusters": False})
        await page.add_init_script(
            f"localStorage.setItem('atriz-realtime-preferences', '{stored}')"
        )
    tools = await context.new_cdp_session(page)
    await tools.send("Performance.enable")
    await opened(page, url, size, options.at)
    if options.profile:
        await tools.send("Profiler.enable")
        await tools.send("Profiler.start")
    before = await busy(tools)
    await page.evaluate(BEGIN)
    await page.wait_for_timeout(options.seconds * 1_000)
    seen = await page.evaluate("window.seen")
    after = await busy(tools)
    if options.profile:
        profile = (await tools.send("Profiler.stop"))["profile"]
        (options.profile / f"{size}.cpuprofile").write_text(json.dumps(profile))
    if options.pictures:
        await page.screenshot(path=options.pictures / f"{size}-{options.scheme}.png")
    await page.goto("about:blank")
    await context.close()
    frames = seen["frames"]
    times = [later - sooner for sooner, later in itertools.pairwise(frames)]
    seconds = after["Timestamp"] - before["Timestamp"]
    return {
        "size": size,
        "fps": 1_000 * len(times) / (frames[-1] - frames[0]),
        "frame_p95": quantile(times, 0.95),
        "frame_max": max(times),
        "paints": seen["paints"] / seconds,
        "lag_p50": quantile(seen["lags"], 0.5),
        "lag_p95": quantile(seen["lags"], 0.95),
        "main": (after["TaskDuration"] - before["TaskDuration"]) / seconds,
        "script": (after["ScriptDuration"] - before["ScriptDuration"]) / seconds,
        "received": len(seen["lags"]) / seconds,
        "load": os.getloadavg()[0],
    }


def row(found: dict[str, float]) -> str:
    """A row of the table."""
    units = {"frame": " ms", "lag": " ms"}
    cells = []
    for key in TITLES:
        value = found[key]
        if key in ("main", "script"):
            cells.append(f"{value:.0%}")
        elif key in ("size", "received"):
            cells.append(f"{value:,.0f}")
        else:
            cells.append(f"{value:.1f}{units.get(key.split('_')[0], '')}")
    return f"| {' | '.join(cells)} |"


async def run(options: argparse.Namespace) -> None:
    """Measure each size several times, and print the figures."""
    async with chromium() as browser:
        print(f"Chromium {browser.version} without a GPU, {options.seconds} s each\n")
        print(f"| {' | '.join(TITLES.values())} |\n|{' --- |' * len(TITLES)}", flush=True)
        for size in options.sizes:
            async with driving(size) as url:
                for _ in range(options.runs):
                    print(row(await measured(browser, url, size, options)), flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="numbers of entities")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="how long to measure")
    parser.add_argument("--phone", action="store_true", help="in a window of a phone's size")
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    parser.add_argument("--at", default="", help="an address of the map, such as @52.66,-8.63,14")
    parser.add_argument("--no-clusters", action="store_true", help="each entity has its marker")
    parser.add_argument("--profile", type=Path, help="a folder for a CPU profile of each size")
    parser.add_argument("--pictures", type=Path, help="a folder for a screenshot of each size")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
