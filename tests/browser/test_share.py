"""The page of a share, until the share ends."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from atriz_realtime import EntityRef, create_app
from tests.browser.chromium import Complaints, leaving, unanswered
from tests.browser.conftest import SIZES, NewPage
from tests.browser.share import (
    CENTRED,
    NOT_FOUND,
    PHONE,
    SHARES,
    URL,
    connected,
    ended,
    moved,
    opened,
    shared,
)
from tests.support.servers.serving import Live, config, serving, token
from tests.support.servers.tcp_proxy import proxying

pytestmark = pytest.mark.asyncio(loop_scope="module")

OVER = "This sharing has ended"

IRISH = {"locale": "en-IE"}


@pytest.fixture(autouse=True)
def not_found(complaints: Complaints) -> None:
    """Expect the refused requests of pages without a position, or with an invalid link."""
    complaints.expect(NOT_FOUND)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live() -> AsyncIterator[Live]:
    async with serving(plugins={"sharing": URL}) as live:
        yield live


async def over(page: Page) -> None:
    """The page says that the share has ended, and shows nothing of the position."""
    await expect(page.get_by_role("heading", name=OVER)).to_be_focused()
    assert await page.title() == OVER
    assert await page.locator("#live, canvas, .leaflet-container").count() == 0
    text = await page.locator("body").inner_text()
    assert text.split("\n")[0] == OVER
    assert "km/h" not in text


async def test_it_shows_where_the_entity_is_and_how_it_moves(new_page: NewPage, live: Live) -> None:
    page = await new_page(**PHONE, **IRISH)
    share = await shared(live, "bus-304")
    await opened(page, live, share)
    await expect(page.locator("#state")).to_have_text("Waiting")
    await expect(page.locator("#note")).to_contain_text("No position yet")
    await expect(page.get_by_role("heading", name="bus-304")).to_be_visible()
    await expect(page.locator("#kicker")).to_have_text("Vehicle")
    await expect(page.locator("#end")).to_have_text(re.compile(r"^Sharing ends (at|on) .*\d\d$"))
    await expect(page.locator("#calm")).to_be_visible()
    assert await page.locator(".leaflet-container").count() == 0

    await moved(live, "bus-304")
    await expect(page.locator("#state")).to_have_text("Live")
    await connected(page)
    await expect(page.locator("#age")).to_have_text(
        re.compile(r"^Updated (just now|\d+ seconds ago)$")
    )
    await expect(page.locator("#fact-speed dd")).to_have_text("42 km/h north-east")
    await page.wait_for_function(CENTRED)
    await expect(page.locator("#calm")).to_be_hidden()
    await expect(page.locator("#note")).to_be_hidden()

    pane = page.locator(".leaflet-map-pane")
    before = await pane.evaluate("(each) => each.style.transform")
    await moved(live, "bus-304", latitude=52.662, speed=0, heading=181)
    await expect(page.locator("#fact-speed .value")).to_have_text("0 km/h")
    await page.wait_for_function(  # the map moves along
        "before => document.querySelector('.leaflet-map-pane').style.transform !== before",
        arg=before,
    )
    await page.wait_for_function(CENTRED)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_dragged_map_stays_until_follow_is_clicked(page: Page, live: Live) -> None:
    await moved(live, "bus-1")
    await opened(page, live, await shared(live, "bus-1"))
    await page.wait_for_function(CENTRED)
    follow = page.get_by_role("button", name="Follow")
    await expect(follow).to_be_hidden()
    await page.mouse.move(940, 500)
    await page.mouse.down()
    await page.mouse.move(700, 300, steps=4)
    await page.mouse.up()
    await expect(follow).to_be_visible()
    await moved(live, "bus-1", latitude=52.661)
    await expect(follow).to_be_visible()
    await follow.click()
    await expect(follow).to_be_hidden()
    await page.wait_for_function(CENTRED)


@pytest.mark.parametrize("size", SIZES)
async def test_the_page_says_how_old_the_position_is(
    new_page: NewPage, live: Live, size: str
) -> None:
    bus = f"bus-2-{size}"
    page = await new_page(**SIZES[size], **IRISH)
    old = datetime.now(UTC) - timedelta(minutes=2, seconds=5)
    await moved(live, bus, timestamp=old.isoformat())
    await opened(page, live, await shared(live, bus))
    await connected(page, "stale")
    await expect(page.locator("#state")).to_have_text(re.compile("^No news for 2 mins?$"))
    await expect(page.locator("#age")).to_have_text(re.compile(r"^Last position (at|on) "))
    await expect(page.locator("#fact-speed")).to_be_hidden()
    await moved(live, bus)
    await expect(page.locator("#state")).to_have_text("Live")
    await expect(page.locator("#fact-speed dd")).to_have_text("42 km/h north-east")


@pytest.mark.parametrize("size", SIZES)
async def test_an_entity_without_news_is_offline(new_page: NewPage, live: Live, size: str) -> None:
    bus = f"bus-12-{size}"
    page = await new_page(**SIZES[size], **IRISH)
    old = datetime.now(UTC) - timedelta(minutes=12)
    await moved(live, bus, timestamp=old.isoformat())
    await opened(page, live, await shared(live, bus))
    await connected(page, "offline")
    await expect(page.locator("#state")).to_have_text(re.compile(r"^Offline since .*\d:\d\d$"))
    await expect(page.locator("#note")).to_have_text("The map shows the last known position.")
    await expect(page.locator("#fact-speed")).to_be_hidden()
    await page.wait_for_function(CENTRED)


@pytest.mark.parametrize(
    ("minutes", "state"), [(9, "live"), (20, "stale"), (125, "offline")], ids=["9", "20", "125"]
)
async def test_when_positions_become_old_is_configured(
    page: Page, minutes: int, state: str
) -> None:
    table = URL | {"stale_after": 600, "offline_after": 7_200}
    async with serving(plugins={"sharing": table}) as live, leaving(page):
        at = datetime.now(UTC) - timedelta(minutes=minutes)
        await moved(live, "bus-13", timestamp=at.isoformat())
        await opened(page, live, await shared(live, "bus-13"))
        await connected(page, state)


async def test_the_first_position_does_not_wait_for_the_connection(page: Page, live: Live) -> None:
    await moved(live, "bus-14")
    share = await shared(live, "bus-14")
    async with unanswered(page, "**/socket.io/**"):
        await page.goto(f"{live.url}/track/#{share['token']}")
        await page.wait_for_function(CENTRED)
        await expect(page.locator("#state")).to_have_text("Connecting…")


@pytest.mark.parametrize(
    ("refused", "errors"), [(b"Upgrade: websocket", "WebSocket"), (b"transport=polling", None)]
)
async def test_one_transport_that_gets_through_is_enough(
    page: Page, live: Live, complaints: Complaints, refused: bytes, errors: str | None
) -> None:
    """Polling alone fails where each request reaches another worker; the page does not try it."""
    if errors is not None:
        complaints.expect(errors)
    await moved(live, "bus-12")
    async with proxying(live.port) as proxy, leaving(page):
        proxy.refuse(refused)
        await opened(page, Live(live.app, proxy.port), await shared(live, "bus-12"))
        await connected(page)


@pytest.mark.parametrize("size", SIZES)
async def test_a_lost_connection_is_made_again(new_page: NewPage, live: Live, size: str) -> None:
    bus = f"bus-3-{size}"
    page = await new_page(**SIZES[size], **IRISH)
    await moved(live, bus)
    await opened(page, live, await shared(live, bus))
    await connected(page)
    await page.evaluate(
        """() => new MutationObserver(() => (window.states ??= []).push(document.querySelector(
          '#state').textContent)).observe(document.querySelector('#state'), {childList: true})"""
    )
    await live.server.socket_io.abort_all()
    await page.wait_for_function("window.states?.includes('Reconnecting…')")
    await connected(page)
    await moved(live, bus, speed=17)
    await expect(page.locator("#fact-speed .value")).to_contain_text("17 km/h")


async def test_a_page_ends_when_its_share_expires(page: Page, live: Live) -> None:
    share = await shared(live, "bus-4", seconds=2)
    await moved(live, "bus-4")
    await page.goto(f"{live.url}/track/#{share['token']}")
    await over(page)
    expires = datetime.fromisoformat(share["expiresAt"]).timestamp()
    assert time.time() >= expires - 0.5


async def test_a_page_ends_when_its_share_is_ended(page: Page, live: Live) -> None:
    share = await shared(live, "bus-5")
    await moved(live, "bus-5")
    await opened(page, live, share)
    await page.wait_for_function(CENTRED)
    await ended(live, share)
    await over(page)


async def test_a_page_ends_when_its_entity_is_revoked(page: Page, live: Live) -> None:
    share = await shared(live, "bus-10")
    await opened(page, live, share)
    await moved(live, "bus-10")
    await connected(page)
    bus = EntityRef("vehicle", "bus-10")
    await live.server.permissions.revoke(f"share:{share['id']}", bus)
    await over(page)


async def test_a_page_whose_origin_is_refused_says_so(page: Page, complaints: Complaints) -> None:
    complaints.expect("403")
    async with (
        serving(plugins={"sharing": URL}, cors_origin="https://app.example.com") as live,
        leaving(page),
    ):
        share = await shared(live, "bus-11")
        await page.goto(f"{live.url}/track/#{share['token']}")
        await expect(page.locator("#state")).to_have_text("Not connected")
        await expect(page.locator("#note")).to_contain_text("does not accept connections from this")


async def test_an_invalid_link_looks_like_one_that_has_ended(page: Page, live: Live) -> None:
    share = await shared(live, "bus-6")
    forged = share["token"][:-4] + "AAAA"
    earlier = await shared(live, "bus-6")
    await ended(live, earlier)
    texts = set()
    for given in (
        "",
        "#",
        "#x",
        "#a.b.c",
        f"#{forged}",
        f"#{earlier['token']}",
        f"#{token()}",
        "x",
    ):
        await page.goto("about:blank")
        await page.goto(f"{live.url}/track/{given}")
        await over(page)
        texts.add(await page.locator("body").inner_text())
    assert len(texts) == 1


async def test_a_token_in_the_path_is_moved_to_the_fragment(page: Page, live: Live) -> None:
    await moved(live, "bus-7")
    share = await shared(live, "bus-7")
    await page.goto(f"{live.url}/track/{share['token']}")
    await connected(page)
    assert page.url == f"{live.url}/track/#{share['token']}"
    await page.reload()
    await connected(page)


async def test_the_page_sends_requests_to_no_other_host(page: Page, live: Live) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    share = await shared(live, "bus-8")
    await moved(live, "bus-8")
    await opened(page, live, share)
    await page.wait_for_function(CENTRED)
    assert [url for url in asked if not url.startswith((live.url, "data:"))] == []
    assert [url for url in asked if share["token"] in url.partition("#")[0]] == []


async def test_it_works_below_a_path(page: Page) -> None:
    shares = create_app(config(plugins={"sharing": {"url": "https://example.com/live"}}))
    app = Starlette(routes=[Mount("/live", shares)])
    async with serving(app, portable=True) as live:
        body = {"type": "vehicle", "entityId": "bus-9", "seconds": 60}
        _, share = await live.post(f"/live{SHARES}", body)
        assert share["url"] == f"https://example.com/live/track/#{share['token']}"
        update = {"vehicleId": "bus-9", "latitude": 52.66, "longitude": -8.63}
        assert (await live.post("/live/api/tracking/location", update))[0] == 200
        await page.goto(f"{live.url}/live/track#{share['token']}")
        await connected(page)
        await page.wait_for_function(CENTRED)
        await page.close()
        await shares.state.realtime.close()
