"""Takes the pictures of the pages that the documents show.

``python -m tests.support.docs.screenshots`` runs the demo and takes them again, which takes half a
minute.  Look at each before you commit it.
"""

from __future__ import annotations

import asyncio

from playwright.async_api import Browser, Page, expect

from tests.browser.chromium import chromium
from tests.browser.share import connected
from tests.cli.processes import started
from tests.support.docs.reference import DOCS

IMAGES = DOCS / "images"

TOWN = "delivery/d1@52.66500,-8.63500,13"
"""The address of a delivery that stays in the town, and of the town."""

DRIVEN = 20_000
"""Milliseconds until trails have grown."""

SETTLED = 2_000
"""Milliseconds until the streets are drawn."""


async def new_page(browser: Browser, width: int, height: int) -> Page:
    """A page with the language and the time of the place that the demo shows."""
    return await browser.new_page(
        viewport={"width": width, "height": height},
        locale="en-IE",
        timezone_id="Europe/Dublin",
    )


async def take() -> None:
    """Take all pictures."""
    async with started("demo", "--port", "0") as demo, chromium() as browser:
        await demo.until_said("/console#token=")
        address = next(line.strip() for line in demo.out if "/console#token=" in line)
        page = await new_page(browser, 1280, 800)
        await page.goto(address)
        await expect(page.locator("#shown")).to_have_text("200")
        await page.wait_for_timeout(DRIVEN)
        await page.goto(f"{address.partition('#')[0]}#{TOWN}")
        await page.wait_for_timeout(SETTLED)
        await page.screenshot(path=IMAGES / "console.png")

        await page.get_by_role("button", name="Share").click()
        await page.get_by_role("button", name="Make a link").click()
        link = page.get_by_label("Link", exact=True)
        await expect(link).to_be_focused()
        customer = await new_page(browser, 390, 844)
        await customer.goto(await link.input_value())
        await connected(customer)
        await customer.wait_for_timeout(SETTLED)
        await customer.screenshot(path=IMAGES / "share.png")


if __name__ == "__main__":
    asyncio.run(take())
