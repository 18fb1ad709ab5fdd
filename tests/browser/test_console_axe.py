"""The live map has no violation of axe-core's rules, in any of its states."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.axe import violations
from tests.browser.chromium import Complaints, leaving, unanswered
from tests.browser.conftest import NewPage
from tests.browser.console import LANDSCAPE, ON, PHONE, ago, card, open_console, row, until_seen
from tests.support.servers.serving import Live, serving, token, until
from tests.support.servers.tcp_proxy import proxying

pytestmark = pytest.mark.asyncio(loop_scope="module")

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}

SCREENS = [
    pytest.param(options, id=name)
    for name, options in (("desktop", DESKTOP), ("phone", PHONE), ("landscape", LANDSCAPE))
]

LISTING = re.compile(r"/api/tracking/vehicle\?")

SHARING: dict[str, Any] = {**ON, "sharing": {"url": "https://live.example.com"}}


async def populate(live: Live) -> None:
    """Publish a vehicle in each state, and a delivery."""
    metadata = {
        "name": "Van 12",
        "plate": "12-L-4411",
        "driver": "Ann",
        "group": "North",
        "destination": {"latitude": 52.7, "longitude": -8.5, "label": "12 Mill Road"},
    }
    await live.publish("v1", speed=48, heading=90, metadata=metadata)
    await live.publish("v2", timestamp=ago(minutes=2), speed=30)
    await live.publish("v3", timestamp=ago(hours=2))
    await live.post(
        "/api/tracking/location", {"deliveryId": "d1", "latitude": 52.61, "longitude": -8.61}
    )


async def accessible(page: Page, state: str) -> None:
    """Check a state of the page."""
    assert await violations(page) == [], state


@pytest.fixture(autouse=True)
def refused(complaints: Complaints) -> None:
    """Expect what browsers log of refused tokens and lost connections."""
    complaints.expect("status of 40[013]|net::ERR_|WebSocket")


@pytest.mark.parametrize("screen", SCREENS)
async def test_signing_in_is_accessible(new_page: NewPage, screen: dict[str, Any]) -> None:
    page = await new_page(**screen)
    async with serving(plugins=ON) as live, leaving(page):
        await page.goto(f"{live.url}/console")
        await expect(page.get_by_label("Access token")).to_be_focused()
        await accessible(page, "signing in")
        await page.get_by_label("Access token").fill("letmein")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("does not accept this token")
        await accessible(page, "refused")


@pytest.mark.parametrize("screen", SCREENS)
async def test_the_list_is_accessible(new_page: NewPage, screen: dict[str, Any]) -> None:
    page = await new_page(**screen)
    async with serving(plugins=ON) as live, leaving(page):
        async with unanswered(page, LISTING):
            await open_console(page, live)
            await expect(page.locator("#empty-title")).to_have_text("Loading…")
            await accessible(page, "loading")
        await open_console(page, live)
        await expect(page.locator("#empty-title")).to_have_text("Nothing has reported yet")
        await accessible(page, "empty")

        await populate(live)
        await expect(page.get_by_role("option")).to_have_count(4)
        await accessible(page, "loaded")

        search = page.get_by_label("Search")
        await search.fill("v")
        await expect(page.get_by_role("option")).to_have_count(3)
        await accessible(page, "searching")
        await search.fill("nowhere")
        await expect(page.locator("#empty-title")).to_have_text("Nothing matches")
        await accessible(page, "nothing matches")
        await search.fill("")
        await search.blur()

        states = page.get_by_role("group", name="States that are shown")
        await states.get_by_role("button", name="Live").click()
        await states.get_by_role("button", name="No news").click()
        await expect(page.get_by_role("option")).to_have_count(1)
        await accessible(page, "offline ones")
        await states.get_by_role("button", name="Live").click()
        await states.get_by_role("button", name="No news").click()

        await page.get_by_role("button", name="Select several").click()
        await accessible(page, "selecting")
        await row(page, "v2").click()
        await row(page, "v3").click()
        await expect(page.locator("#selected-count")).to_have_text("2 selected")
        await accessible(page, "several selected")
        await page.get_by_role("button", name="Select nothing").click()

        await page.get_by_role("button", name="Settings").click()
        await accessible(page, "settings")


@pytest.mark.parametrize("screen", SCREENS)
async def test_clusters_are_accessible(new_page: NewPage, screen: dict[str, Any]) -> None:
    page = await new_page(**screen)
    async with serving(plugins=ON) as live, leaving(page):
        for n in range(6):
            await live.publish(f"v{n}", latitude=52.6, longitude=-8.6)
        await open_console(page, live)
        await expect(page.get_by_role("option")).to_have_count(6)
        await until_seen(page, lambda found: found.count > 100)
        await page.keyboard.press("Tab")
        await page.locator("#map").focus()
        await accessible(page, "clusters")
        await page.keyboard.press("Enter")
        await expect(page.locator("#announcement")).to_have_text("6 entities: 6 live")
        await accessible(page, "an opened cluster")


@pytest.mark.parametrize("screen", SCREENS)
async def test_the_card_is_accessible(new_page: NewPage, screen: dict[str, Any]) -> None:
    page = await new_page(**screen)
    async with serving(plugins=SHARING) as live, leaving(page):
        await populate(live)
        await open_console(page, live)
        await expect(page.get_by_role("option")).to_have_count(4)
        for name in ("v2", "v3"):
            await row(page, name).click()
            await expect(card(page, name)).to_be_visible()
            await accessible(page, name)
            await page.get_by_role("button", name="Close").click()
        await row(page, "Van 12").click()
        details = card(page, "Van 12")
        await details.get_by_role("button", name="Share").click()
        await accessible(page, "sharing")
        await details.get_by_role("button", name="Make a link").click()
        await expect(details.get_by_label("Link", exact=True)).to_be_focused()
        await accessible(page, "shared")
        await details.get_by_role("button", name="End it now").click()
        await expect(details.locator("#share-note")).to_have_text("The link has ended.")
        await accessible(page, "no longer shared")


@pytest.mark.parametrize("screen", SCREENS)
async def test_it_is_accessible_without_a_connection(
    new_page: NewPage, screen: dict[str, Any]
) -> None:
    page = await new_page(**screen)
    async with serving(plugins=ON) as live, proxying(live.port) as proxy:
        await populate(live)
        await open_console(page, Live(live.app, proxy.port))
        await expect(page.get_by_role("option")).to_have_count(4)
        proxy.cut()
        await expect(page.locator("#connection")).to_have_text("Reconnecting")
        await expect(page.locator("#announcement")).to_have_text("Reconnecting")
        await expect(page.locator("#notice")).to_contain_text("cannot be reached")
        await accessible(page, "disconnected")
        await row(page, "Van 12").click()
        await accessible(page, "disconnected, with a card")
        await page.goto("about:blank")


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_delay_is_accessible(new_page: NewPage, screen: dict[str, Any]) -> None:
    page = await new_page(**screen)
    async with serving(plugins=ON, throttle_interval=0) as live, leaving(page):
        await populate(live)
        await open_console(page, live)
        rooms = live.server.socket_io.manager.rooms["/"]
        await until(lambda: "vehicle:v2" in rooms and "vehicle:v3" in rooms)
        for name in ("v2", "v3"):
            await live.publish(name, timestamp=ago(seconds=8))
        await expect(page.locator("#connection")).to_contain_text("Delayed by")
        await accessible(page, "delayed")


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_refused_origin_is_accessible(new_page: NewPage, screen: dict[str, Any]) -> None:
    page = await new_page(**screen)
    async with serving(plugins=ON, cors_origin="https://app.example.com") as live, leaving(page):
        await page.goto(f"{live.url}/console#token={token()}")
        await expect(page.locator("#notice")).to_contain_text("is not in its cors_origin")
        await expect(page.locator("#connection")).to_have_text("Not connected")
        await accessible(page, "refused")


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
