"""The page of a share has no violation of axe-core's rules, in any of its states."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.axe import violations
from tests.browser.chromium import Complaints, leaving, unanswered
from tests.browser.conftest import NewPage
from tests.browser.share import (
    CUSTOMER,
    DESKTOP,
    LANDSCAPE,
    MARKED,
    NOT_FOUND,
    PHONE,
    THERE,
    URL,
    connected,
    ended,
    moved,
    opened,
    shared,
)
from tests.support.servers.serving import Live, serving
from tests.support.servers.tcp_proxy import proxying

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCREENS = [
    pytest.param(options, id=name)
    for name, options in (("phone", PHONE), ("landscape", LANDSCAPE), ("desktop", DESKTOP))
]

METADATA = {
    "order": "Order 4711",
    "status": "on_the_way",
    "driver": {"name": "Anna Smith"},
    "plate": "12-L-4711",
    "eta": (datetime.now(UTC) + timedelta(hours=3)).isoformat(),
    "to": THERE,
}


@pytest.fixture(autouse=True)
def not_found(complaints: Complaints) -> None:
    """Expect the refused requests of pages without a position."""
    complaints.expect(NOT_FOUND)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live() -> AsyncIterator[Live]:
    async with serving(plugins={"sharing": CUSTOMER}) as live:
        yield live


@pytest.mark.parametrize("screen", SCREENS)
async def test_every_state_is_accessible(
    new_page: NewPage, live: Live, screen: dict[str, Any]
) -> None:
    page = await new_page(**screen)
    share = await shared(live, "none")
    async with unanswered(page, "**/socket.io/**"):
        await page.goto(f"{live.url}/track/#{share['token']}")
        await connected(page, "connecting")
        assert await violations(page) == [], "connecting"

    await opened(page, live, share)
    await connected(page, "waiting")
    assert await violations(page) == [], "waiting"

    for state, age in (("live", 0), ("stale", 60), ("offline", 900)):
        await page.goto("about:blank")
        at = datetime.now(UTC) - timedelta(seconds=age)
        await moved(live, state, metadata=METADATA, timestamp=at.isoformat())
        share = await shared(live, state)
        await opened(page, live, share)
        await connected(page, state)
        await page.wait_for_function(MARKED)
        assert await violations(page) == [], state

    await drag(page)
    await expect(page.get_by_role("button", name="Follow")).to_be_visible()
    assert await violations(page) == [], "dragged"

    for reason, finish in (("delivered", "good"), ("failed", "bad")):
        await page.goto("about:blank")
        share = await shared(live, "live")
        await opened(page, live, share)
        await connected(page)
        await ended(live, share, reason)
        await expect(page.locator("#over")).to_have_attribute("data-finish", finish)
        assert await violations(page) == [], reason

    await page.goto("about:blank")
    await page.goto(f"{live.url}/track/#x")
    await expect(page.locator("#over")).to_be_visible()
    assert await violations(page) == [], "ended"


async def drag(page: Page) -> None:
    """Drag the map."""
    box = await page.locator("#map").bounding_box()
    assert box is not None
    x, y = box["x"] + 100, box["y"] + 100
    await page.mouse.move(x, y)
    await page.mouse.down()
    await page.mouse.move(x + 40, y + 30, steps=3)
    await page.mouse.up()


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_lost_connection_is_accessible(
    new_page: NewPage, live: Live, complaints: Complaints, screen: dict[str, Any]
) -> None:
    complaints.expect("net::ERR_|WebSocket")
    page = await new_page(**screen)
    await moved(live, "parcel", metadata=METADATA)
    share = await shared(live, "parcel")
    async with proxying(live.port) as proxy:
        await opened(page, Live(live.app, proxy.port), share)
        await connected(page)
        proxy.cut()
        await connected(page, "reconnecting")
        assert await violations(page) == []
        await page.goto("about:blank")


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "pt"])
async def test_every_language_is_accessible(new_page: NewPage, live: Live, language: str) -> None:
    """Also from right to left, which needs a language that the page does not have yet."""
    page = await new_page(**PHONE)
    await moved(live, "parcel", metadata=METADATA)
    await opened(page, live, await shared(live, "parcel"), f"?lang={language}")
    await connected(page)
    for direction, size in itertools.product(("ltr", "rtl"), (PHONE, LANDSCAPE, DESKTOP)):
        await page.evaluate("direction => { document.documentElement.dir = direction }", direction)
        await page.set_viewport_size(size["viewport"])
        assert await violations(page) == [], (direction, size)


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_refused_origin_is_accessible(
    new_page: NewPage, complaints: Complaints, screen: dict[str, Any]
) -> None:
    complaints.expect("403")
    page = await new_page(**screen)
    async with (
        serving(plugins={"sharing": URL}, cors_origin="https://app.example.com") as live,
        leaving(page),
    ):
        share = await shared(live, "v1")
        await page.goto(f"{live.url}/track/#{share['token']}")
        await connected(page, "origin_refused")
        assert await violations(page) == []
