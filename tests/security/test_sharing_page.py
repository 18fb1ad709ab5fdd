"""The page of a share over HTTP: the same for every link, with a strict security policy."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from atriz_realtime.api import ConfigurationError
from atriz_realtime.asgi import create_app
from tests.support.servers.serving import Live, config, serving, token

URL = {"url": "https://live.example.com"}
TILES = "https://{s}.tiles.example.com/{z}/{x}/{y}.png"


async def fetched(live: Live, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(live.url + path, headers=headers, allow_redirects=False) as response,
    ):
        found = {name.lower(): value for name, value in response.headers.items()}
        return response.status, await response.read(), found


async def test_every_link_is_answered_alike() -> None:
    async with serving(plugins={"sharing": URL}) as live:
        body = {"type": "vehicle", "entityId": "v1", "seconds": 60}
        _, share = await live.post("/api/tracking/shares", body)
        status, page, headers = await fetched(live, "/track/")
        assert status == 200
        assert headers["content-type"] == "text/html; charset=utf-8"
        for token_in_path in (share["token"], share["token"][:-1], token(), "x"):
            other = await fetched(live, f"/track/{token_in_path}")
            assert other[:2] == (200, page)
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["x-robots-tag"] == "noindex, nofollow"
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        status, _, headers = await fetched(live, "/track")
        assert (status, headers["location"]) == (308, "track/")


async def test_its_files_are_cached_by_browsers() -> None:
    async with serving(plugins={"sharing": URL}) as live:
        for name in ("share.js", "share.css", "world-50m.json", "world-10m.json", "LICENSES.txt"):
            status, content, headers = await fetched(live, f"/track/files/{name}")
            assert (status, len(content) > 1_000) == (200, True)
            assert headers["x-robots-tag"] == "noindex, nofollow"
            known = {"If-None-Match": headers["etag"]}
            assert (await fetched(live, f"/track/files/{name}", **known))[:2] == (304, b"")
        assert (await fetched(live, "/track/files/console.js"))[0] == 404


async def test_tiles_may_come_from_the_configured_host() -> None:
    table = URL | {"tile_url": TILES, "tile_attribution": 'The "tile" people'}
    async with serving(plugins={"sharing": table}) as live:
        _, page, headers = await fetched(live, "/track/")
        assert (
            "img-src 'self' data: https://*.tiles.example.com;"
            in (headers["content-security-policy"])
        )
        assert f'data-tile-url="{TILES}"'.encode() in page
        assert b'data-tile-attribution="The &quot;tile&quot; people"' in page


@pytest.mark.parametrize("tile_url", ["tiles", "https://x.example/'; script-src *; {z}", "{z}"])
def test_an_invalid_tile_url_stops_the_start(tile_url: str) -> None:
    table: dict[str, Any] = URL | {"tile_url": tile_url}
    with pytest.raises(ConfigurationError, match="tile_url must be an address"):
        create_app(config(plugins={"sharing": table}))


async def test_there_is_no_page_without_sharing() -> None:
    async with serving() as live:
        for path in ("/track", "/track/", "/track/x", "/track/files/share.js"):
            assert (await fetched(live, path))[0] == 404
