"""How soon the page of a share is there, on a slow phone: ``python -m tests.benchmarks.share``.

Chromium runs four times slower than it could, over a network like the preset *Slow 4G* of its
developer tools.  The page is opened in a new profile each time, so that nothing is cached.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from typing import Any

from playwright.async_api import Browser

from tests.browser.chromium import chromium
from tests.browser.share import CUSTOMER, MARKED, PHONE, THERE, moved, shared
from tests.support.servers.serving import Live, serving

CPU = 4

SLOW_4G = {
    "offline": False,
    "latency": 562.5,  # milliseconds
    "downloadThroughput": 1.6e6 * 0.9 / 8,  # bytes a second
    "uploadThroughput": 0.75e6 * 0.9 / 8,
}

METADATA = {"order": "Order 4711", "status": "on_the_way", "driver": {"name": "Anna"}, "to": THERE}

WATCH = f"""
  const marked = {MARKED};
  const seen = window.seen = {{}};
  const look = (now) => {{
    if (document.querySelector('#kicker')?.textContent.includes('4711')) seen.card ??= now;
    if (document.querySelector('#state')?.dataset.state === 'live') seen.live ??= now;
    if (marked()) seen.map ??= now;
    if (seen.live === undefined || seen.map === undefined) requestAnimationFrame(look);
  }};
  requestAnimationFrame(look);
"""
"""Notes when the card has its text, the state is live, and the marker is drawn."""

RESULT = """() => {
  const paint = performance.getEntriesByName('first-contentful-paint')[0]?.startTime;
  const entries = [...performance.getEntriesByType('navigation'),
                   ...performance.getEntriesByType('resource')];
  const own = entries.filter(({ name }) => !/socket\\.io|api\\/tracking|world-|end$/.test(name));
  const total = (key) => own.reduce((sum, each) => sum + each[key], 0);
  return { paint, ...window.seen, transferred: total('transferSize'),
           raw: total('decodedBodySize') };
}"""

FIGURES = {
    "paint": "first contentful paint",
    "card": "the card has its text",
    "map": "the marker is on the map",
    "live": "live",
}


async def measured(browser: Browser, live: Live, url: str) -> dict[str, float]:
    """Open the page once; returns milliseconds, and bytes."""
    context = await browser.new_context(**PHONE, locale="en-IE")
    page = await context.new_page()
    tools = await context.new_cdp_session(page)
    await tools.send("Network.enable")
    await tools.send("Network.emulateNetworkConditions", SLOW_4G)
    await tools.send("Emulation.setCPUThrottlingRate", {"rate": CPU})
    await page.add_init_script(WATCH)
    await moved(live, "parcel", metadata=METADATA)
    await page.goto(url)
    await page.wait_for_function(
        "() => window.seen.live !== undefined && window.seen.map !== undefined", timeout=60_000
    )
    found: dict[str, float] = await page.evaluate(RESULT)
    await context.close()
    return found


async def run(runs: int) -> dict[str, Any]:
    """Open the page several times; returns the medians."""
    async with (
        serving(plugins={"sharing": CUSTOMER | {"stale_after": 120}}) as live,
        chromium() as browser,
    ):
        share = await shared(live, "parcel")
        url = f"{live.url}/track/#{share['token']}"
        results = [await measured(browser, live, url) for _ in range(runs)]
        print(f"Chromium {browser.version}, {CPU} times slower, Slow 4G, {runs} runs\n")
    print("|  | median | worst |\n| --- | --- | --- |")
    for key, title in FIGURES.items():
        values = [each[key] / 1_000 for each in results]
        print(f"| {title} | {statistics.median(values):.2f} s | {max(values):.2f} s |")
    sizes = {key: round(results[-1][key]) for key in ("transferred", "raw")}
    print(f"\n{sizes['transferred']:,} bytes transferred, {sizes['raw']:,} bytes uncompressed")
    return {key: statistics.median(each[key] for each in results) for key in results[0]}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the medians as JSON as well")
    options = parser.parse_args()
    found = asyncio.run(run(options.runs))
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
