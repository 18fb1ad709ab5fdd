"""The page of a share, until the share ends."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from atriz_realtime import EntityRef, create_app
from tests.browser.chromium import Complaints, leaving
from tests.browser.conftest import NewPage
from tests.support.servers.serving import Live, config, serving, token, until
from tests.support.servers.tcp_proxy import proxying

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHARES = "/api/tracking/shares"

OVER = "This sharing has ended"

MARKED = """() => {
  const canvas = document.querySelector('canvas.marks');
  if (canvas === null || canvas.width === 0) return false;
  const middle = [canvas.width / 2 - 2, canvas.height / 2 - 2, 4, 4];
  return canvas.getContext('2d').getImageData(...middle).data.some((each) => each > 0);
}"""
"""Whether something is drawn in the centre of the map."""

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live() -> AsyncIterator[Live]:
    async with serving(plugins={"sharing": {"url": "https://live.example.com"}}) as live:
        yield live


async def shared(live: Live, entity_id: str, seconds: int = 5_400) -> dict[str, Any]:
    body = {"type": "vehicle", "entityId": entity_id, "seconds": seconds}
    status, made = await live.post(SHARES, body)
    assert status == 201
    found: dict[str, Any] = made
    return found


async def opened(page: Page, live: Live, share: dict[str, Any]) -> None:
    """Open the page of a share, and wait until its entity is tracked."""
    rooms = live.server.socket_io.manager.rooms
    await page.goto(f"{live.url}/track/#{share['token']}")
    await until(lambda: f"vehicle:{share['entityId']}" in rooms.get("/", {}))


async def moved(live: Live, entity_id: str, **fields: Any) -> None:
    fix = {"latitude": 52.66, "longitude": -8.63, "speed": 42.3, "heading": 50} | fields
    await live.publish(entity_id, **fix)


async def over(page: Page) -> None:
    """The page says that the share has ended, and shows nothing of the position."""
    await expect(page.get_by_role("heading", name=OVER)).to_be_focused()
    assert await page.title() == OVER
    assert await page.locator("#live, canvas, .leaflet-container").count() == 0
    text = await page.locator("body").inner_text()
    assert text.split("\n")[0] == OVER
    assert "km/h" not in text


async def test_it_shows_where_the_entity_is_and_how_it_moves(new_page: NewPage, live: Live) -> None:
    page = await new_page(**PHONE)
    share = await shared(live, "bus-304")
    await opened(page, live, share)
    await expect(page.locator("#age")).to_have_text("No position yet")
    await expect(page.get_by_role("status")).to_have_text("Connected")
    await expect(page.get_by_role("heading", name="bus-304")).to_be_visible()
    await expect(page.locator("#type")).to_have_text("vehicle")
    await expect(page.locator("#end")).to_have_text(
        re.compile(r"^Sharing ends (at|on) .+ \(in 1 h (29|30) min\)$")
    )

    await moved(live, "bus-304")
    await expect(page.get_by_role("status")).to_have_text("Live")
    await expect(page.locator("#age")).to_have_text(re.compile(r"^Updated (just now|\d+ s ago)$"))
    await expect(page.locator("#motion")).to_have_text("42 km/h, heading north-east")
    await page.wait_for_function(MARKED)

    pane = page.locator(".leaflet-map-pane")
    before = await pane.evaluate("(each) => each.style.transform")
    await moved(live, "bus-304", latitude=52.662, speed=0, heading=181)
    await expect(page.locator("#motion")).to_have_text("0 km/h")
    await page.wait_for_function(  # the map moves along
        "before => document.querySelector('.leaflet-map-pane').style.transform !== before",
        arg=before,
    )
    await page.wait_for_function(MARKED)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_dragged_map_stays_until_follow_is_clicked(page: Page, live: Live) -> None:
    await moved(live, "bus-1")
    await opened(page, live, await shared(live, "bus-1"))
    await page.wait_for_function(MARKED)
    follow = page.get_by_role("button", name="Follow")
    await expect(follow).to_be_hidden()
    await page.mouse.move(640, 500)
    await page.mouse.down()
    await page.mouse.move(400, 300, steps=4)
    await page.mouse.up()
    await expect(follow).to_be_visible()
    await moved(live, "bus-1", latitude=52.661)
    await expect(follow).to_be_visible()
    await follow.click()
    await expect(follow).to_be_hidden()
    await page.wait_for_function(MARKED)


async def test_an_old_position_is_marked_as_stale(page: Page, live: Live) -> None:
    old = datetime.now(UTC) - timedelta(minutes=3)
    await moved(live, "bus-2", timestamp=old.isoformat())
    await opened(page, live, await shared(live, "bus-2"))
    await expect(page.get_by_role("status")).to_have_text("No news")
    await expect(page.locator("#age")).to_have_text("Updated 3 min ago")
    await moved(live, "bus-2")
    await expect(page.get_by_role("status")).to_have_text("Live")


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
        await expect(page.get_by_role("status")).to_have_text("Live")


async def test_a_lost_connection_is_made_again(page: Page, live: Live) -> None:
    await moved(live, "bus-3")
    await opened(page, live, await shared(live, "bus-3"))
    await expect(page.get_by_role("status")).to_have_text("Live")
    await page.evaluate(
        """() => new MutationObserver(() => (window.said ??= []).push(document.querySelector(
          '#state').textContent)).observe(document.querySelector('#state'), {childList: true})"""
    )
    await live.server.socket_io.abort_all()
    await page.wait_for_function("window.said?.includes('Reconnecting…')")
    await expect(page.get_by_role("status")).to_have_text("Live")
    await moved(live, "bus-3", speed=17)
    await expect(page.locator("#motion")).to_contain_text("17 km/h")


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
    await page.wait_for_function(MARKED)
    assert await live.request("DELETE", f"{SHARES}/{share['id']}") == (200, {"success": True})
    await over(page)


async def test_a_page_ends_when_its_entity_is_revoked(page: Page, live: Live) -> None:
    share = await shared(live, "bus-10")
    await opened(page, live, share)
    await moved(live, "bus-10")
    await expect(page.get_by_role("status")).to_have_text("Live")
    bus = EntityRef("vehicle", "bus-10")
    await live.server.permissions.revoke(f"share:{share['id']}", bus)
    await over(page)


async def test_a_page_whose_origin_is_refused_says_so(page: Page, complaints: Complaints) -> None:
    complaints.expect("403")
    plugins = {"sharing": {"url": "https://live.example.com"}}
    async with (
        serving(plugins=plugins, cors_origin="https://app.example.com") as live,
        leaving(page),
    ):
        share = await shared(live, "bus-11")
        await page.goto(f"{live.url}/track/#{share['token']}")
        await expect(page.get_by_role("status")).to_have_text("Not connected")
        await expect(page.locator("#age")).to_contain_text("does not accept connections from this")


async def test_an_invalid_link_looks_like_one_that_has_ended(page: Page, live: Live) -> None:
    share = await shared(live, "bus-6")
    forged = share["token"][:-4] + "AAAA"
    ended = await shared(live, "bus-6")
    await live.request("DELETE", f"{SHARES}/{ended['id']}")
    texts = set()
    for given in ("", "#", "#x", "#a.b.c", f"#{forged}", f"#{ended['token']}", f"#{token()}", "x"):
        await page.goto("about:blank")
        await page.goto(f"{live.url}/track/{given}")
        await over(page)
        texts.add(await page.locator("body").inner_text())
    assert len(texts) == 1


async def test_a_token_in_the_path_is_moved_to_the_fragment(page: Page, live: Live) -> None:
    await moved(live, "bus-7")
    share = await shared(live, "bus-7")
    await page.goto(f"{live.url}/track/{share['token']}")
    await expect(page.get_by_role("status")).to_have_text("Live")
    assert page.url == f"{live.url}/track/#{share['token']}"
    await page.reload()
    await expect(page.get_by_role("status")).to_have_text("Live")


async def test_the_page_sends_requests_to_no_other_host(page: Page, live: Live) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    share = await shared(live, "bus-8")
    await moved(live, "bus-8")
    await opened(page, live, share)
    await page.wait_for_function(MARKED)
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
        await expect(page.get_by_role("status")).to_have_text("Live")
        await page.wait_for_function(MARKED)
        await page.close()
        await shares.state.realtime.close()
