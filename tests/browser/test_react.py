"""A React page in a real browser: the documented hook, and the package's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from atriz_realtime import RealtimeExtension
from tests.browser.chromium import Complaints, leaving
from tests.browser.react import DOCUMENTED, PACKAGE, built, project, serving_it, showing
from tests.support.servers.serving import config, serving, token, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("react"))


async def test_the_documented_hook_shows_a_position_that_moves(page: Page, folder: Path) -> None:
    app = serving_it(built(folder, folder / DOCUMENTED.name))
    server = RealtimeExtension(config()).install(app)
    app.state.realtime = server
    async with serving(app) as live, leaving(page):
        await page.goto(live.url + "/" + showing(("useVehicleTracking", "v1", token())))
        await until(lambda: "vehicle:v1" in server.socket_io.manager.rooms.get("/", {}))
        component, dot = page.locator("article"), page.locator("i")
        await expect(component).to_have_attribute("data-connected", "true")
        await expect(dot).to_have_count(0)

        await live.publish("v1", latitude=50, longitude=-8)
        await expect(dot).to_have_css("left", "172px")
        await live.publish("v1", latitude=40, longitude=12.5)
        await expect(dot).to_have_css("left", "192.5px")
        await expect(dot).to_have_css("top", "50px")
        await expect(page.locator("output")).to_have_text("40, 12.5")


async def test_the_package_s_hooks_share_a_connection(
    page: Page, folder: Path, complaints: Complaints
) -> None:
    app = serving_it(built(folder, PACKAGE))
    server = RealtimeExtension(
        config(extra_plugins=("tests.support.plugins.own_vehicles",))
    ).install(app)
    app.state.realtime = server
    mine = token()
    entities = (
        ("useVehicleTracking", "u1-a", mine),
        ("useDeliveryTracking", "u1-d", mine),
        ("useTracking", "vehicle", "u1-a", mine),
        ("useVehicleTracking", "u2-a", mine),
    )
    async with serving(app) as live, leaving(page):
        await page.goto(live.url + "/" + showing(*entities))
        components = page.locator("article")
        await expect(components).to_have_count(4)
        await expect(page.locator('[data-connected="true"]')).to_have_count(4)
        await expect(components.nth(3)).to_have_attribute("data-error", "unauthorized")
        assert server.connection_count == 1

        for latitude in (50, 51):
            await live.publish("u1-a", latitude=latitude, longitude=1)
            texts = [f"{latitude}, 1", "", f"{latitude}, 1", ""]
            await expect(page.locator("output")).to_have_text(texts)
            await expect(page.locator("i").first).to_have_css("top", f"{90 - latitude}px")

        await page.evaluate("fragment => { location.hash = fragment }", showing(entities[1]))
        await expect(components).to_have_count(1)
        await until(lambda: "vehicle:u1-a" not in server.socket_io.manager.rooms["/"])
        complaints.expect("WebSocket|ERR_CONNECTION")
        await server.close()
        await expect(components).to_have_attribute("data-connected", "false")
