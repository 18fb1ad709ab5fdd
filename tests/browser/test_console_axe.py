"""The live map has no violation of axe-core's rules, in any of its states."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
from playwright.async_api import Page, expect

from atriz_realtime import create_app
from atriz_realtime.testing import free_port
from tests.browser.axe import violations
from tests.browser.chromium import Complaints, leaving
from tests.browser.conftest import NewPage
from tests.browser.console import LANDSCAPE, ON, PHONE, ago, card, open_console, row
from tests.support.servers.localhost import serving_on_localhost
from tests.support.servers.serving import Live, config, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}

SCREENS = [
    pytest.param(options | {"color_scheme": scheme}, id=f"{name} {scheme}")
    for name, options in (("desktop", DESKTOP), ("phone", PHONE), ("landscape", LANDSCAPE))
    for scheme in ("light", "dark")
]

SHARING: dict[str, Any] = {**ON, "sharing": {"url": "https://live.example.com"}}


async def populate(live: Live) -> None:
    """Publish a vehicle in each state, and a delivery."""
    metadata = {"name": "Van 12", "plate": "12-L-4411", "driver": "Ann", "group": "North"}
    await live.publish("v1", speed=48, heading=90, metadata=metadata)
    await live.publish("v2", timestamp=ago(minutes=2), speed=30)
    await live.publish("v3", timestamp=ago(hours=2))
    await live.post(
        "/api/tracking/location", {"deliveryId": "d1", "latitude": 52.61, "longitude": -8.61}
    )


@pytest.mark.parametrize("screen", SCREENS)
async def test_every_state_is_accessible(new_page: NewPage, screen: dict[str, Any]) -> None:
    page = await new_page(**screen)
    async with serving(plugins=SHARING) as live, leaving(page):
        await page.goto(f"{live.url}/console")
        await expect(page.get_by_label("Access token")).to_be_focused()
        assert await violations(page) == [], "signing in"

        await open_console(page, live)
        await expect(page.locator("#empty-title")).to_have_text("Nothing has reported yet")
        assert await violations(page) == [], "empty"

        await populate(live)
        await expect(page.get_by_role("option")).to_have_count(4)
        assert await violations(page) == [], "loaded"

        await page.get_by_label("Search").fill("nowhere")
        await expect(page.locator("#empty-title")).to_have_text("Nothing matches")
        assert await violations(page) == [], "nothing matches"

        await page.get_by_label("Search").fill("v")
        await page.get_by_label("Search").blur()
        await page.get_by_role("button", name="vehicle 3").click()
        await page.get_by_role("button", name="vehicle 3").click()
        await row(page, "Van 12").click()
        await card(page, "Van 12").get_by_role("button", name="Share").click()
        assert await violations(page) == [], "card"
        await page.get_by_role("button", name="Close").click()

        for name in ("v2", "v3"):
            await row(page, name).click()
            await expect(card(page, name)).to_be_visible()
            assert await violations(page) == [], name
            await page.get_by_role("button", name="Close").click()

        await page.get_by_role("listbox").focus()
        await page.keyboard.press("Control+a")
        await expect(page.locator("#selected-count")).to_have_text("3 selected")
        assert await violations(page) == [], "several selected"

        await page.get_by_role("button", name="Settings").click()
        assert await violations(page) == [], "settings"


async def test_it_is_accessible_without_a_connection(page: Page, complaints: Complaints) -> None:
    complaints.expect("ERR_CONNECTION|WebSocket|ERR_EMPTY|Failed to load")
    port = free_port()
    async with AsyncExitStack() as stack:
        live = await stack.enter_async_context(
            serving_on_localhost(create_app(config(plugins=ON)), port)
        )
        await populate(live)
        await open_console(page, live)
        await row(page, "Van 12").click()
        await stack.aclose()
        await expect(page.locator("#connection")).to_have_text("Reconnecting")
        await expect(page.locator("#announcement")).to_have_text("Reconnecting")
        assert await violations(page) == []
    await page.goto("about:blank")


async def test_what_is_announced_is_true(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await populate(live)
        await open_console(page, live)
        announced = page.locator("#announcement")
        await expect(row(page, "v3")).to_be_visible()
        await page.get_by_label("Search").fill("v1")
        await expect(announced).to_have_text("1 of 4 listed")
        await page.keyboard.press("Enter")
        await expect(announced).to_have_text("Following vehicle Van 12")
        await expect(page.get_by_role("option", name="Van 12, v1, vehicle, Live")).to_be_visible()
