"""Maps with a tile server: its tiles, those for dark systems, and its attribution."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Page, expect

from tests.browser.conftest import NewPage
from tests.browser.console import PHONE, open_console
from tests.browser.pictures import painted
from tests.browser.share import URL, moved, opened, shared
from tests.support.servers.serving import TIMEOUT, Live, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCREENS = [pytest.param({}, id="desktop"), pytest.param(PHONE, id="phone")]

LIGHT = "#e8d9a0"
DARK = "#203a5c"

ATTRIBUTION = "Tiles © OpenStreetMap <b>contributors</b>"


async def tile(request: web.Request) -> web.Response:
    """A tile of one colour."""
    colour = {"light": LIGHT, "dark": DARK}[request.match_info["scheme"]]
    picture = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="256" height="256">'
        f'<rect width="256" height="256" fill="{colour}"/></svg>'
    )
    return web.Response(text=picture, content_type="image/svg+xml")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tiles() -> AsyncIterator[str]:
    """The address of a tile server."""
    app = web.Application()
    app.router.add_get("/{scheme}/{z}/{x}/{y}.svg", tile)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tiles: str) -> AsyncIterator[Live]:
    table = {
        "tile_url": f"{tiles}/light/{{z}}/{{x}}/{{y}}.svg",
        "tile_url_dark": f"{tiles}/dark/{{z}}/{{x}}/{{y}}.svg",
        "tile_attribution": ATTRIBUTION,
    }
    plugins = {"console": {"enabled": True, **table}, "sharing": {**URL, **table}}
    async with serving(plugins=plugins) as live:
        yield live


async def until_painted(page: Page, colour: str) -> None:
    """Wait until a colour covers the map."""
    end = time.monotonic() + TIMEOUT
    while (found := await painted(page, [LIGHT, DARK]))[[LIGHT, DARK].index(colour)] < 0.7:
        assert time.monotonic() < end, found
        await page.wait_for_timeout(50)


@pytest.mark.parametrize("which", ["console", "share"])
@pytest.mark.parametrize("screen", SCREENS)
async def test_tiles_follow_the_system_s_colours(
    new_page: NewPage, live: Live, which: str, screen: dict[str, Any]
) -> None:
    page = await new_page(**screen, color_scheme="dark")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await moved(live, "v1")
    if which == "console":
        await open_console(page, live)
    else:
        await opened(page, live, await shared(live, "v1"))
    await until_painted(page, DARK)
    assert not [url for url in asked if "/light/" in url]
    await page.emulate_media(color_scheme="light")
    await until_painted(page, LIGHT)
    await page.emulate_media(color_scheme="dark")
    await until_painted(page, DARK)
    attribution = page.locator(".leaflet-control-attribution")
    await expect(attribution).to_contain_text(ATTRIBUTION)  # as text
    await expect(attribution.get_by_role("link", name="OpenStreetMap")).to_be_visible()
    assert not [url for url in asked if url.endswith((".json", ".pmtiles")) and "world" in url]
    await page.goto("about:blank")


async def test_one_address_is_enough(new_page: NewPage, tiles: str) -> None:
    table = {"enabled": True, "tile_url": f"{tiles}/light/{{z}}/{{x}}/{{y}}.svg"}
    async with serving(plugins={"console": table}) as live:
        page = await new_page(color_scheme="dark")
        await open_console(page, live)
        await until_painted(page, LIGHT)
        await page.goto("about:blank")
