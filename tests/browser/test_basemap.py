"""The offline map: land and sea, also at the poles and at the antimeridian."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.chromium import leaving
from tests.browser.share import URL, moved, shared
from tests.support.servers.serving import serving, token

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAND = {
    "Ireland": (53, -8),
    "the far east of Russia": (66.5, -178),
    "Chukotka, west of the antimeridian": (67.5, 179.5),
    "Chukotka, east of the antimeridian": (67.5, -179.5),
    "Antarctica": (-80, 20),
    "Antarctica, towards the antimeridian": (-79, 145),
}

SEA = {
    "the Atlantic": (42, -35),
    "the Norwegian Sea": (69, 4),
    "the Norwegian Sea, further south": (66.5, 4),
    "the Greenland Sea": (72, -8),
    "the Southern Ocean": (-57, 105),
    "the Pacific": (8, -172),
}

ISLANDS = {
    "Wrangel Island, west of the antimeridian": (71.2, 179.5),
    "Wrangel Island, east of the antimeridian": (71.2, -178.9),
    "Iceland": (64.9, -18.5),
    "Sicily": (37.5, 14.2),
    "Puerto Rico": (18.2, -66.4),
}
"""They are a few pixels large, and most of these are coast."""

COLOUR = """([latitude, longitude, around]) => {
  const tiles = [...document.querySelectorAll('canvas.leaflet-tile')];
  const north = Math.min(...tiles.map((tile) => tile.getBoundingClientRect().top));
  const south = 0.5 - Math.asinh(Math.tan(latitude * Math.PI / 180)) / (2 * Math.PI);
  const map = document.querySelector('#map').getBoundingClientRect();
  const [x, y] = [map.left + map.width / 2 + longitude / 360 * 1024, north + south * 1024];
  for (const tile of tiles) {
    const { left, top } = tile.getBoundingClientRect();
    if (x < left || y < top || x >= left + 256 || y >= top + 256) continue;
    const size = 2 * around + 1;
    const corner = [x - left - around, y - top - around];
    const { data } = tile.getContext('2d').getImageData(...corner, size, size);
    const seen = {};
    for (let at = 0; at < data.length; at += 4) {
      if (data[at + 3] === 0) continue; // beyond the tile
      const colour = [...data].slice(at, at + 3).map((each) => each.toString(16).padStart(2, '0'));
      seen[`#${colour.join('')}`] = (seen[`#${colour.join('')}`] ?? 0) + 1;
    }
    return Object.entries(seen).sort(([, a], [, b]) => b - a)[0][0];
  }
}"""
"""The colour around a place, whatever names are there, on a map that shows the whole world."""


@pytest.mark.parametrize("which", ["console", "share"])
async def test_the_map_says_where_its_data_comes_from(page: Page, which: str) -> None:
    plugins = {"console": {"enabled": True}, "sharing": URL}
    async with serving(plugins=plugins) as live, leaving(page):
        share = await shared(live, "v1")
        await moved(live, "v1")
        fragment = (
            f"/console#token={token()}" if which == "console" else f"/track/#{share['token']}"
        )
        await page.goto(f"{live.url}{fragment}")
        attribution = page.locator(".leaflet-control-attribution")
        await expect(attribution).to_contain_text("Natural Earth, GeoNames")
        async with page.expect_popup() as opened:
            await attribution.get_by_role("link", name="GeoNames").click()
        licenses = await opened.value
        await expect(licenses.locator("body")).to_contain_text("Creative Commons Attribution 4.0")


async def test_land_is_land_and_sea_is_sea(page: Page) -> None:
    async with serving(plugins={"console": {"enabled": True}}) as live, leaving(page):
        await page.set_viewport_size({"width": 1600, "height": 1300})
        await page.goto(f"{live.url}/console#token={token()}")
        await page.wait_for_function(f"place => ({COLOUR})(place) === '#d7e2ea'", arg=[42, -35, 4])
        for places, colour in ((LAND, "#f6f5f1"), (SEA, "#d7e2ea")):
            seen = {n: await page.evaluate(COLOUR, [*place, 4]) for n, place in places.items()}
            assert seen == dict.fromkeys(places, colour)
        seen = {n: await page.evaluate(COLOUR, [*place, 1]) for n, place in ISLANDS.items()}
        assert "#d7e2ea" not in seen.values(), seen
