"""The live map in a real browser."""

from __future__ import annotations

import math
import re
from contextlib import AsyncExitStack
from typing import Any

import pytest
from playwright.async_api import Page, expect

from atriz_realtime import create_app
from atriz_realtime.api import EntityRef
from atriz_realtime.defaults.revocations import revoke
from atriz_realtime.testing import free_port
from tests.browser.chromium import Complaints, leaving
from tests.browser.conftest import BOTH_SIZES, NewPage
from tests.browser.console import ON, ago, card, open_console, row, seen, until_seen
from tests.browser.pictures import shares, until_drawn
from tests.support.servers.localhost import serving_on_localhost
from tests.support.servers.serving import Live, config, serving, token, until
from tests.support.servers.tcp_proxy import proxying

pytestmark = pytest.mark.asyncio(loop_scope="module")


def bearer(user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(user)}"}


@BOTH_SIZES
async def test_a_wrong_token_is_refused_and_the_right_one_lets_in(
    page: Page, complaints: Complaints
) -> None:
    complaints.expect("401")
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1")
        await page.goto(f"{live.url}/console")
        field, enter = page.get_by_label("Access token"), page.get_by_role("button", name="Sign in")
        await expect(field).to_be_focused()
        await field.fill("letmein")
        await enter.click()
        await expect(page.get_by_role("alert")).to_have_text(
            "The server does not accept this token."
        )
        await field.fill(token())
        await enter.click()
        await expect(page.locator("#connection")).to_have_text("Live")
        await expect(row(page, "v1")).to_be_visible()
        assert page.url == f"{live.url}/console"

        await page.reload()  # the tab keeps the token
        await expect(row(page, "v1")).to_be_visible()
        await page.get_by_role("button", name="Sign out").click()
        await expect(field).to_be_visible()
        await page.reload()
        await expect(field).to_be_visible()


async def test_it_connects_where_websockets_are_refused(page: Page, complaints: Complaints) -> None:
    complaints.expect("WebSocket")
    async with (
        serving(plugins=ON) as live,
        proxying(live.port) as proxy,
        leaving(page),
    ):
        proxy.refuse(b"Upgrade: websocket")
        await live.publish("v1")
        await open_console(page, Live(live.app, proxy.port))
        await expect(row(page, "v1")).to_be_visible()


async def test_a_revoked_token_leads_to_the_sign_in(page: Page, complaints: Complaints) -> None:
    complaints.expect("401")
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live, jti="t1")
        await expect(row(page, "v1")).to_be_visible()
        await revoke(live.server.signals, "token", "t1")
        await expect(page.get_by_role("alert")).to_have_text(
            "Your token is no longer good. Sign in with another."
        )
        await expect(row(page, "v1")).to_have_count(0)


async def test_a_page_whose_origin_is_refused_says_so(page: Page, complaints: Complaints) -> None:
    complaints.expect("40[03]")
    async with serving(plugins=ON, cors_origin="https://app.example.com") as live, leaving(page):
        await page.goto(f"{live.url}/console#token={token()}")
        await expect(page.locator("#notice")).to_have_text(
            f"The server does not accept this page: {live.url} is not in its cors_origin"
        )


async def test_a_token_in_the_fragment_is_removed_from_the_address(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    async with serving(plugins=ON) as live, leaving(page):
        await open_console(page, live)
        assert page.url == f"{live.url}/console"
    assert [url for url in asked if "token" in url or "eyJ" in url] == []


@BOTH_SIZES
async def test_markers_move_and_new_ones_appear(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1", latitude=52.6, longitude=-8.6, speed=10.4, heading=90)
        await open_console(page, live)
        await expect(row(page, "v1")).to_contain_text("10 km/h")
        before = await until_seen(page, lambda found: found.count > 100)
        await live.publish("v1", latitude=52.6, longitude=-8.59, speed=55.6)
        await expect(row(page, "v1")).to_contain_text("56 km/h")
        # at zoom 13 a degree is 256 * 2**13 / 360 pixels wide
        way = 0.01 * 256 * 2**13 / 360
        await until_seen(page, lambda now: abs(now.x - before.x - way) < 3)

        await live.publish("v2", latitude=52.61, longitude=-8.6)
        await expect(row(page, "v2")).to_be_visible()
        await expect(page.locator("#shown")).to_have_text("2")


async def test_a_clicked_marker_is_followed_until_the_map_is_dragged(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1", latitude=52.6, longitude=-8.6, heading=180)
        await open_console(page, live)
        await until_seen(page, lambda found: found.count > 100)
        stage = page.locator("#map")
        box = await stage.bounding_box()
        assert box is not None
        middle = (box["width"] / 2, box["height"] / 2)
        await stage.click(position={"x": middle[0], "y": middle[1]})
        details = card(page, "v1")
        await expect(details).to_contain_text("180° S")
        await expect(details.get_by_role("button", name="Following")).to_have_attribute(
            "aria-pressed", "true"
        )
        await expect(row(page, "v1")).to_have_attribute("aria-selected", "true")

        # far away, so that only a map that follows still shows it
        await live.publish("v1", latitude=51.9, longitude=-8.4)
        await expect(details).to_contain_text("51.90000, -8.40000")

        await page.mouse.move(box["x"] + 700, box["y"] + 150)
        await page.mouse.down()
        await page.mouse.move(box["x"] + 600, box["y"] + 250, steps=4)
        await page.mouse.up()
        await expect(details.get_by_role("button", name="Follow", exact=True)).to_have_attribute(
            "aria-pressed", "false"
        )


async def test_the_map_moves_with_the_followed_marker(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1", latitude=52.6, longitude=-8.6, heading=0)
        await open_console(page, live)
        await row(page, "v1").click()
        before = await until_seen(page, lambda found: found.count > 100)
        await live.publish("v1", latitude=52.61, longitude=-8.57, heading=0)
        # the marker leaves the centre and the map follows; the trail shifts the mean of the pixels
        await expect(page.get_by_role("region", name="v1")).to_contain_text("52.61000")
        moved = await until_seen(page, lambda now: now.count > 1.2 * before.count)
        assert math.dist((moved.x, moved.y), (before.x, before.y)) < 300


@BOTH_SIZES
async def test_stale_markers_have_another_shape_and_are_labelled(page: Page) -> None:
    async with (
        serving(plugins={"console": {"enabled": True, "stale_after": 2.5}}) as live,
        leaving(page),
    ):
        await live.publish("v1", timestamp=ago(minutes=2), speed=72.4, heading=90)
        await open_console(page, live)
        await expect(row(page, "v1")).to_have_attribute("data-state", "stale")
        await expect(row(page, "v1")).to_contain_text("No news for 2 min")
        await expect(row(page, "v1")).not_to_contain_text("km/h")
        await until_drawn(page, warn=0.00002)  # a ring around them
        await row(page, "v1").click()
        details = page.get_by_role("region", name="v1")
        await expect(details).to_contain_text("No news for 2 min")
        await expect(details).to_contain_text("was 72 km/h")
        await expect(details).not_to_contain_text("90° E")
        await page.get_by_role("button", name="Close").click()

        await live.publish("v1", latitude=52.60001)
        await expect(row(page, "v1")).to_have_attribute("data-state", "live")
        await until_seen(page, lambda found: found.count > 100)
        assert (await shares(page, "warn"))["warn"] == 0
        await expect(row(page, "v1")).to_have_attribute("data-state", "stale")
        await until_drawn(page, warn=0.00002)


async def test_it_reconnects_when_the_server_is_back(page: Page, complaints: Complaints) -> None:
    complaints.expect("ERR_CONNECTION|WebSocket|ERR_EMPTY|Failed to load")
    port = free_port()

    def server() -> Any:
        return serving_on_localhost(create_app(config(plugins=ON)), port)

    async with AsyncExitStack() as first:
        live = await first.enter_async_context(server())
        await live.publish("v1", speed=10)
        await open_console(page, live)
        await expect(row(page, "v1")).to_contain_text("10 km/h")
        await first.aclose()
        await expect(page.locator("#connection")).to_have_text("Reconnecting")
        await expect(row(page, "v1")).to_be_visible()
    async with server() as live:
        await expect(page.locator("#connection")).to_have_text("Live", timeout=20_000)
        await until(lambda: "vehicle:v1" in live.server.socket_io.manager.rooms.get("/", {}))
        await live.publish("v1", speed=20)
        await expect(row(page, "v1")).to_contain_text("20 km/h")
        await expect(page.locator("#notice")).to_be_hidden()


async def test_entities_of_other_users_are_not_shown(page: Page) -> None:
    async with (
        serving(plugins=ON, extra_plugins=["tests.support.plugins.own_vehicles"]) as live,
        leaving(page),
    ):
        await live.publish("u1-a")
        theirs = {"vehicleId": "u2-b", "latitude": 52, "longitude": -8}
        status, _ = await live.post("/api/tracking/location", theirs, headers=bearer("u2"))
        assert status == 200
        await open_console(page, live)
        await expect(page.get_by_role("option")).to_have_count(1)
        await expect(row(page, "u1-a")).to_be_visible()
        await expect(page.locator("#count")).to_have_text("1 on the map")


async def test_a_revoked_entity_disappears_at_once(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1")
        await live.publish("v2")
        await open_console(page, live)
        await row(page, "v1").click()
        await until(lambda: "vehicle:v1" in live.server.socket_io.manager.rooms["/"])
        await live.server.permissions.revoke("u1", EntityRef("vehicle", "v1"))
        await expect(row(page, "v1")).to_be_hidden()
        await expect(page.get_by_role("region", name="v1")).to_be_hidden()
        await expect(row(page, "v2")).to_be_visible()
        await expect(page.locator("#notice")).to_contain_text("1 not shown")


async def test_the_keyboard_searches_chooses_and_closes(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        for name in ("bus-2", "bus-10", "tram-1"):
            await live.publish(name)
        await open_console(page, live)
        await expect(page.get_by_role("option")).to_have_count(3)
        await page.keyboard.press("/")
        await expect(page.get_by_label("Search")).to_be_focused()
        await page.keyboard.type("BUS")
        await expect(page.get_by_role("option")).to_have_text(
            [re.compile("bus-2"), re.compile("bus-10")]
        )
        await expect(page.locator("#count")).to_have_text("2 of 3 on the map")
        await page.keyboard.press("ArrowDown")
        box = page.get_by_role("listbox", name="Entities")
        await expect(box).to_be_focused()
        await page.keyboard.press("End")
        active = await box.get_attribute("aria-activedescendant")
        await expect(page.locator(f"#{active}")).to_contain_text("bus-10")
        await expect(page.locator(f"#{active}")).to_have_attribute("aria-posinset", "2")
        await page.keyboard.press("Enter")
        details = card(page, "bus-10")
        await expect(details).to_be_visible()
        await expect(page.locator("#announcement")).to_have_text("Following vehicle bus-10")
        await page.keyboard.press("Escape")
        await expect(details).to_be_hidden()


async def test_a_type_can_be_hidden(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1")
        await live.post(
            "/api/tracking/location", {"deliveryId": "d1", "latitude": 1, "longitude": 1}
        )
        await open_console(page, live)
        await expect(page.get_by_role("option")).to_have_count(2)
        button = page.get_by_role("button", name="vehicle 1")
        await button.click()
        await expect(button).to_have_attribute("aria-pressed", "false")
        await expect(page.get_by_role("option")).to_have_text([re.compile("d1")])


async def test_names_and_metadata_are_text(page: Page) -> None:
    hostile = '<img src=x onerror="document.title=1">'
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish(hostile, metadata={"__proto__": hostile, hostile: [hostile]})
        await open_console(page, live)
        await row(page, hostile).click()
        await expect(card(page, hostile)).to_contain_text('["<img src=x')
        assert await page.locator("#console img").count() == 0
        assert await page.title() == "Live map"


async def test_thousands_of_entities_need_few_elements_and_several_connections(page: Page) -> None:
    size = 2_500
    async with serving(plugins=ON) as live, leaving(page):
        for start in range(0, size, 500):
            updates = [
                {"vehicleId": f"v{n}", "latitude": 50 + n / 1_000, "longitude": -8}
                for n in range(start, start + 500)
            ]
            assert (await live.post("/api/tracking/batch", {"updates": updates}))[0] == 200
        await open_console(page, live)
        await expect(page.locator("#shown")).to_have_text("2,500")
        await until(lambda: live.server.connection_count == 3)
        box = page.get_by_role("listbox")
        await box.focus()
        await page.keyboard.press("End")
        last = row(page, "v2499")
        await expect(last).to_be_visible()
        await expect(last).to_have_attribute("aria-setsize", "2500")
        assert await page.locator(".row").count() < 60
        rooms = live.server.socket_io.manager.rooms["/"]
        await until(lambda: sum(room is not None and room[:2] == "ve" for room in rooms) == size)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_phone(new_page: NewPage, scheme: str) -> None:
    page = await new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live)
        await row(page, "v1").click()
        await expect(page.get_by_role("region", name="v1")).to_be_in_viewport()
        await expect(page.get_by_role("button", name="Sign out")).to_be_in_viewport()
        width = "document.documentElement.scrollWidth"
        assert await page.evaluate(width) == 360
        assert (await seen(page)).count > 100
