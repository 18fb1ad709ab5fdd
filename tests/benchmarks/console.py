"""Frame times of the live map while everything moves: ``python -m tests.benchmarks.console``.

A demo in its own process reports each entity once a second.  Chromium shows the page without a
graphics card, and measures the time between frames: while the page is only looked at, while the map
is dragged, and while the list is scrolled.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Awaitable, Callable

from playwright.async_api import Page, expect

from tests.browser.chromium import chromium
from tests.cli.processes import started

FRAMES = """seconds => new Promise(resolve => {
    const [deltas, end] = [[], performance.now() + 1000 * seconds];
    let before = performance.now();
    const frame = now => {
        deltas.push(now - before);
        before = now;
        if (now < end) requestAnimationFrame(frame);
        else resolve(deltas.slice(1));
    };
    requestAnimationFrame(frame);
})"""


async def look(_: Page) -> None:
    """Do nothing."""


async def drag(page: Page) -> None:
    """Drag the map to and fro."""
    await page.mouse.move(800, 400)
    await page.mouse.down()
    for step in range(40):
        await page.mouse.move(800 + 8 * abs(step % 20 - 10), 400 + 6 * (step % 10))
    await page.mouse.up()


async def scroll(page: Page) -> None:
    """Scroll the list."""
    await page.mouse.move(150, 500)
    for _ in range(40):
        await page.mouse.wheel(0, 300)


async def measured(
    page: Page, seconds: float, action: Callable[[Page], Awaitable[None]]
) -> list[float]:
    """Milliseconds of each frame while an action is repeated."""
    frames = asyncio.ensure_future(page.evaluate(FRAMES, seconds))
    while not frames.done():
        await action(page)
        await asyncio.sleep(0.05)
    deltas: list[float] = await frames
    return deltas


async def run(entities: int, seconds: float) -> None:
    """Measure each action, and print a row for it."""
    async with (
        started("demo", "--port", "0", "--entities", str(entities)) as demo,
        chromium() as browser,
    ):
        await demo.until_said("/console#token=")
        url = next(line.strip() for line in demo.out if "/console#token=" in line)
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        await page.goto(url)
        await expect(page.locator("#shown")).to_have_text(f"{entities:,}", timeout=30_000)
        await asyncio.sleep(10)  # until the trails have grown and the rate is steady
        print(f"Chromium {browser.version}, {entities:,} entities, {seconds:g} s each\n")
        print("|  | frames/s | median | p95 | worst | updates/s | lag |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name, action in (("viewed", look), ("dragged", drag), ("scrolled", scroll)):
            deltas = sorted(await measured(page, seconds, action))
            rate, lag = [await page.locator(each).inner_text() for each in ("#rate", "#lag")]
            print(
                f"| {name} | {1_000 / statistics.fmean(deltas):.0f} "
                f"| {statistics.median(deltas):.1f} ms | {deltas[int(0.95 * len(deltas))]:.1f} ms "
                f"| {deltas[-1]:.1f} ms | {rate} | {lag} |"
            )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    asyncio.run(run(options.entities, options.seconds))


if __name__ == "__main__":
    main()
