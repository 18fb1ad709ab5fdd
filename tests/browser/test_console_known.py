"""What the live map has known stays, and it says how old what one sees is."""

from __future__ import annotations

import re
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
from playwright.async_api import Page, expect

from atriz_realtime import create_app
from atriz_realtime.api import EntityRef
from atriz_realtime.testing import free_port
from tests.browser.chromium import Complaints, leaving, unanswered
from tests.browser.conftest import BOTH_SIZES, NewPage
from tests.browser.console import (
    ON,
    PHONE,
    ago,
    card,
    open_console,
    open_link,
    row,
    seen,
    until_seen,
)
from tests.support.servers.localhost import serving_on_localhost
from tests.support.servers.serving import config, serving, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUICK: dict[str, Any] = {"console": {"enabled": True, "stale_after": 1, "offline_after": 2}}

SINCE = re.compile(r"Offline since \d+:\d\d")

LISTING = re.compile(r"/api/tracking/vehicle\?")

DOT = "element => getComputedStyle(element, '::before').backgroundColor"

KEPT = 18
"""Seconds after which the page has made up its mind about what the listing lacks."""


@BOTH_SIZES
async def test_an_expired_location_is_shown_as_offline(page: Page) -> None:
    async with serving(plugins=ON, cache_ttl=4) as live, leaving(page):
        await live.publish("v1", speed=72, heading=90)
        await open_console(page, live)
        await expect(row(page, "v1")).to_have_attribute("data-state", "live")
        await expect(row(page, "v1")).to_have_attribute("data-state", "offline", timeout=15_000)
        await expect(row(page, "v1")).to_contain_text(SINCE)
        await expect(page.locator("#count")).to_have_text("1 on the map")
        await page.reload()
        await expect(row(page, "v1")).to_have_attribute("data-state", "offline")
        await row(page, "v1").click()
        details = card(page, "v1")
        await expect(details.locator("#details-state")).to_have_text(SINCE)
        await expect(details).to_contain_text("52.60000, -8.60000")
        await expect(details).not_to_contain_text("km/h")
        await expect(details).not_to_contain_text("90°")
        assert (await until_seen(page, lambda found: found.count > 50)).alpha > 0

        await live.publish("v1", latitude=52.7, speed=10)
        await expect(row(page, "v1")).to_have_attribute("data-state", "live")
        await expect(details).to_contain_text("52.70000, -8.60000")


@pytest.mark.parametrize("size", ["desktop", "phone"])
async def test_states_are_counted_and_filtered(new_page: NewPage, size: str) -> None:
    page = await new_page(**(PHONE if size == "phone" else {}))
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1")
        await live.publish("v2", timestamp=ago(minutes=2))
        await live.publish("v3", timestamp=ago(hours=3))
        await live.publish("v4", timestamp=ago(days=3))
        await open_console(page, live)
        await expect(page.get_by_role("option")).to_have_count(4)
        states = page.get_by_role("group", name="States that are shown")
        await expect(states.get_by_role("button")).to_have_text(["Live1", "No news1", "Offline2"])
        await expect(row(page, "v1")).to_have_accessible_name("v1, vehicle, Live")
        await expect(row(page, "v2")).to_have_accessible_name("v2, vehicle, No news for 2 min")
        await expect(row(page, "v4")).to_contain_text(re.compile("Offline since .*[A-Z][a-z]{2}"))
        await states.get_by_role("button", name="Live").click()
        await states.get_by_role("button", name="No news").click()
        await expect(page.get_by_role("option")).to_have_count(2)
        await expect(page.get_by_role("button", name="vehicle 2")).to_be_visible()
        await expect(row(page, "v3")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_server_that_has_forgotten_does_not_make_the_page_forget(
    page: Page, complaints: Complaints
) -> None:
    complaints.expect("ERR_CONNECTION|WebSocket|ERR_EMPTY|Failed to load")
    port = free_port()

    def server() -> Any:
        return serving_on_localhost(create_app(config(plugins=QUICK)), port)

    async with AsyncExitStack() as first:
        live = await first.enter_async_context(server())
        await live.publish("v1")
        await open_console(page, live)
        await expect(row(page, "v1")).to_be_visible()
    async with server():
        await expect(page.locator("#connection")).to_have_text("Live", timeout=20_000)
        end = time.monotonic() + KEPT
        while time.monotonic() < end:
            async with page.expect_response(LISTING):
                pass
        await expect(row(page, "v1")).to_contain_text(SINCE)
        await expect(page.locator("#empty")).to_be_hidden()
        assert (await seen(page)).count > 50
        await page.reload()  # now it is true
        await expect(page.locator("#empty-title")).to_have_text("Nothing has reported yet")
    await page.goto("about:blank")


async def test_what_the_server_removes_disappears(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1")
        await live.publish("v2")
        await open_console(page, live)
        await expect(row(page, "v1")).to_be_visible()
        await live.server.tracking.clear_current_location("vehicle", "v1")
        await expect(row(page, "v1")).to_be_hidden(timeout=KEPT * 1_000 + 10_000)
        await expect(row(page, "v2")).to_be_visible()


async def test_what_is_removed_disappears_though_its_position_is_old(page: Page) -> None:
    async with serving(plugins=ON, cache_ttl=3_600) as live, leaving(page):
        await live.publish("v1", timestamp=ago(minutes=10))
        await live.publish("v2")
        await open_console(page, live)
        await expect(row(page, "v1")).to_be_visible()
        await live.server.tracking.clear_current_location("vehicle", "v1")
        await expect(row(page, "v1")).to_be_hidden(timeout=KEPT * 1_000 + 10_000)
        await expect(row(page, "v2")).to_be_visible()


async def test_what_another_server_removes_during_a_restart_disappears(
    page: Page, complaints: Complaints, redis_url: str
) -> None:
    complaints.expect("ERR_CONNECTION|WebSocket|ERR_EMPTY|Failed to load")
    port = free_port()

    def server() -> Any:
        app = create_app(config(plugins=ON, redis_url=redis_url))
        return serving_on_localhost(app, port)

    async with serving(redis_url=redis_url, plugins=ON) as other:
        async with AsyncExitStack() as first:
            live = await first.enter_async_context(server())
            await live.publish("v1")
            await live.publish("v2")
            await open_console(page, live)
            await expect(row(page, "v1")).to_be_visible()
        await other.server.tracking.clear_current_location("vehicle", "v1")
        async with server():
            await expect(page.locator("#connection")).to_have_text("Live", timeout=20_000)
            await expect(row(page, "v1")).to_be_hidden(timeout=KEPT * 1_000 + 10_000)
            await expect(row(page, "v2")).to_be_visible()
    await page.goto("about:blank")


async def test_a_followed_entity_that_is_removed_is_announced(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await live.publish("v1")
        await live.publish("v2")
        await open_console(page, live)
        await row(page, "v1").click()
        await page.get_by_role("button", name="Following").focus()
        await live.server.tracking.clear_current_location("vehicle", "v1")
        await expect(card(page, "v1")).to_be_hidden(timeout=KEPT * 1_000 + 10_000)
        told = page.locator("#announcement")
        await expect(told).to_have_text("vehicle v1 is no longer on the map")
        await expect(page.locator("#list")).to_be_focused()


async def test_an_expired_entity_that_may_not_be_seen_disappears(page: Page) -> None:
    async with serving(plugins=QUICK) as live, leaving(page):
        await live.publish("v1")
        await open_console(page, live)
        await expect(row(page, "v1")).to_contain_text(SINCE)
        await live.server.permissions.revoke("u1", EntityRef("vehicle", "v1"))
        await expect(row(page, "v1")).to_be_hidden()


@BOTH_SIZES
async def test_the_connection_is_live_only_if_updates_arrive_in_time(page: Page) -> None:
    async with serving(plugins=ON, throttle_interval=0) as live, leaving(page):
        names = [f"v{n}" for n in range(3)]
        for name in names:
            await live.publish(name, timestamp=ago(minutes=1))
        await open_console(page, live)
        await expect(page.locator("#connection")).to_have_text("Live")
        good = await page.locator("#connection").evaluate(DOT)
        rooms = live.server.socket_io.manager.rooms["/"]
        await until(lambda: all(f"vehicle:{name}" in rooms for name in names))
        for name in names:
            await live.publish(name, timestamp=ago(seconds=8))
        await expect(page.locator("#connection")).to_have_text(re.compile(r"^Delayed by \d+ s$"))
        await expect(page.locator("#announcement")).to_have_text(re.compile("^Delayed by"))
        assert await page.locator("#connection").evaluate(DOT) != good


@BOTH_SIZES
async def test_it_is_not_empty_before_it_knows(page: Page) -> None:
    async with serving(plugins=ON) as live, leaving(page):
        await open_console(page, live)
        await expect(page.locator("#empty-title")).to_have_text("Nothing has reported yet")
        async with unanswered(page, LISTING):
            await open_link(page, live, "")
            await expect(page.locator("#empty-title")).to_have_text("Loading…")
