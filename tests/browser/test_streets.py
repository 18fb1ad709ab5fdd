"""Maps with streets and names: drawn from this server's file, light and dark, on both pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from atriz_realtime.demo import basemap, country, town
from tests.browser.chromium import Complaints, leaving
from tests.browser.conftest import BOTH_SIZES, NewPage
from tests.browser.pictures import until_drawn
from tests.support.maps.files import copied, removed
from tests.support.servers.serving import Live, serving, token

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLUGINS = {"console": {"enabled": True}, "sharing": {"url": "https://live.example.com"}}

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "device_scale_factor": 2,
}

CENTRE: dict[str, Any] = {"latitude": 52.66, "longitude": -8.63, "speed": 30, "heading": 50}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("map") / "demo.pmtiles"
    basemap.write(path, town.build(), country.build(town.SEED), town.SEED)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(file: Path) -> AsyncIterator[Live]:
    async with serving(basemap=str(file), plugins=PLUGINS) as live:
        yield live


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain() -> AsyncIterator[Live]:
    """A server without streets."""
    async with serving(plugins=PLUGINS) as live:
        yield live


def requests_of(page: Page) -> list[str]:
    """The paths that a page asks for, as they come; other hosts with their names."""
    asked: list[str] = []

    def note(request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme != "data":
            asked.append(parts.path if parts.hostname == "127.0.0.1" else request.url)

    page.on("request", note)
    page.on("worker", lambda worker: asked.append(urlsplit(worker.url).path))
    return asked


async def shared(page: Page, live: Live, entity_id: str) -> None:
    """Open the page of a share."""
    body = {"type": "vehicle", "entityId": entity_id, "seconds": 600}
    _, share = await live.post("/api/tracking/shares", body)
    await live.publish(entity_id, **CENTRE)
    await page.goto(f"{live.url}/track/#{share['token']}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
async def test_the_share_page_shows_streets(
    new_page: NewPage, live: Live, scheme: str, phone: bool
) -> None:
    size = PHONE if phone else {"viewport": {"width": 1280, "height": 800}}
    page = await new_page(color_scheme=scheme, **size)
    asked = requests_of(page)
    await shared(page, live, "bus-1")
    # streets with their edges, parks, water, and names, which have the text colour of streets
    await until_drawn(page, road=0.02, road_casing=0.001, built=0.2, street=0.0001)
    assert "/basemap.pmtiles" in asked
    assert "/track/files/streets.js" in asked
    assert not [path for path in asked if "world" in path or "names" in path]
    assert not [path for path in asked if not path.startswith("/")]


@BOTH_SIZES
async def test_the_console_shows_streets_and_the_country_around(page: Page, live: Live) -> None:
    asked = requests_of(page)
    await live.publish("bus-2", **CENTRE)
    await page.goto(f"{live.url}/console#token={token()}")
    await until_drawn(page, road=0.002, built=0.05, street=0.00001)
    await expect(page.locator(".leaflet-control-attribution")).to_contain_text("Natural Earth")
    assert not [path for path in asked if "world" in path]
    zoom_out = page.get_by_role("button", name="Zoom out")
    for _ in range(7):
        await zoom_out.click()
        await page.wait_for_timeout(350)
    await until_drawn(page, land=0.1, sea=0.1)
    assert "/console/world-50m.json" in asked
    assert not [path for path in asked if not path.startswith("/")]


async def test_the_colours_follow_the_system(page: Page, live: Live) -> None:
    await page.emulate_media(color_scheme="light")
    await shared(page, live, "bus-3")
    await until_drawn(page, road=0.02, built=0.2)
    await page.emulate_media(color_scheme="dark")
    await until_drawn(page, road=0.02, built=0.2)


async def test_a_file_that_has_gone_leaves_the_offline_map(
    page: Page, file: Path, tmp_path: Path, complaints: Complaints
) -> None:
    complaints.expect("404")
    copy = copied(file, tmp_path / "gone.pmtiles")
    async with serving(basemap=str(copy), plugins=PLUGINS) as live:
        removed(copy)
        await shared(page, live, "bus-4")
        await until_drawn(page, land=0.5)
        await page.goto("about:blank")


async def test_a_file_that_is_replaced_is_drawn(page: Page, file: Path, tmp_path: Path) -> None:
    replaced = copied(file, tmp_path / "region.pmtiles")
    async with serving(basemap=str(replaced), plugins=PLUGINS) as live:
        await shared(page, live, "bus-5")
        await until_drawn(page, road=0.02, built=0.2)
        other = tmp_path / "other.pmtiles"
        basemap.write(other, town.build(7), country.build(7), 7)
        other.replace(replaced)
        await page.get_by_role("button", name="Zoom out").click()
        await until_drawn(page, road=0.01, built=0.2)
        await page.goto("about:blank")


# -- without streets -------------------------------------------------------------------------


@BOTH_SIZES
async def test_at_street_level_nothing_is_loaded_without_streets(page: Page, plain: Live) -> None:
    asked = requests_of(page)
    await shared(page, plain, "bus-6")
    await expect(page.get_by_role("status")).to_have_text("Live")
    await until_drawn(page, land=0.5)
    await page.wait_for_timeout(1_000)
    assert not [path for path in asked if path.endswith((".json", ".pmtiles", "streets.js"))]
    zoom_out = page.get_by_role("button", name="Zoom out")
    for _ in range(7):
        await zoom_out.click()
        await page.wait_for_timeout(350)
    await until_drawn(page, land=0.2, sea=0.05, city=0.00001)
    assert [path for path in asked if path.endswith("world-10m.json")]
    assert [path for path in asked if path.endswith("names.json")]
    assert not [path for path in asked if path.endswith("world-50m.json")]


async def test_the_console_does_not_load_the_world_on_its_way_to_a_street(
    page: Page, plain: Live
) -> None:
    asked = requests_of(page)
    await plain.publish("bus-7", **CENTRE)
    await page.goto(f"{plain.url}/console#token={token()}")
    await until_drawn(page, land=0.5)
    await page.wait_for_timeout(1_000)
    assert not [path for path in asked if "world" in path or "names" in path]


@BOTH_SIZES
async def test_the_world_has_the_names_of_countries(page: Page) -> None:
    async with serving(plugins=PLUGINS) as live, leaving(page):
        await page.goto(f"{live.url}/console#token={token()}")
        await until_drawn(page, land=0.1, sea=0.2, country=0.0003)
