"""The page of the live map: off by default, and restricted by its headers."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from atriz_realtime import RealtimeConfig, create_app
from atriz_realtime.api import ConfigurationError
from tests.support.servers.serving import Live, serving

ON = {"console": {"enabled": True}}

POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
}


async def fetched(live: Live, path: str, **headers: str) -> tuple[int, Any, bytes]:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(live.url + path, headers=headers) as response,
    ):
        return response.status, response.headers, await response.read()


def policy_of(headers: Any) -> set[str]:
    return set(headers["content-security-policy"].split("; "))


async def test_it_is_off_by_default() -> None:
    async with serving() as live:
        for path in ("/console", "/console/console.js", "/console/settings.json"):
            assert (await fetched(live, path))[0] == 404


async def test_its_headers_restrict_the_page() -> None:
    async with serving(plugins=ON) as live:
        for name, kind in (
            ("", "text/html; charset=utf-8"),
            ("/console.js", "text/javascript; charset=utf-8"),
            ("/console.css", "text/css; charset=utf-8"),
            ("/settings.json", "application/json"),
            ("/world-50m.json", "application/json"),
            ("/LICENSES.txt", "text/plain; charset=utf-8"),
        ):
            status, headers, _ = await fetched(live, f"/console{name}")
            assert (status, headers["content-type"]) == (200, kind)
            assert policy_of(headers) == POLICY
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-opener-policy"] == "same-origin"
        assert (await fetched(live, "/console/package.json"))[0] == 404
        assert (await fetched(live, "/console/..%2Fpackage.json"))[0] == 404


async def test_files_are_compressed_and_cached() -> None:
    async with serving(plugins=ON) as live:
        _, plain, body = await fetched(live, "/console/console.js", **{"Accept-Encoding": "br"})
        assert "content-encoding" not in plain
        _, headers, packed = await fetched(
            live, "/console/console.js", **{"Accept-Encoding": "br, gzip;q=0.5"}
        )
        assert headers["content-encoding"] == "gzip"
        assert len(packed) < len(body) / 2
        known = {"If-None-Match": headers["etag"]}
        assert (await fetched(live, "/console/console.js", **known))[::2] == (304, b"")


OPENSTREETMAP = (
    "https://www.openstreetmap.org/?mlat={latitude}&mlon={longitude}#map=16/{latitude}/{longitude}"
)


async def test_the_page_gets_its_settings() -> None:
    async with serving(
        plugins={"console": {"enabled": True, "stale_after": 12.5}},
        max_subscriptions=7,
        disabled_plugins=("delivery",),
    ) as live:
        status, told = await live.get("/console/settings.json", headers={})
        assert told.pop("memory")
        assert (status, told) == (
            200,
            {
                "types": ["vehicle"],
                "lastKnown": ["vehicle"],
                "maxSubscriptions": 7,
                "staleAfter": 12.5,
                "offlineAfter": 300.0,
                "fields": {key: key for key in ("name", "plate", "driver", "group", "destination")},
                "externalMap": OPENSTREETMAP,
                "sharing": False,
                "basemap": "",
                "tileUrl": "",
                "tileUrlDark": "",
                "tileAttribution": "",
            },
        )


async def test_the_page_gets_the_settings_that_are_made() -> None:
    table = {
        "enabled": True,
        "stale_after": 60,
        "offline_after": 50,
        "fields": {"name": "label", "group": ""},
        "external_map": "http://10.0.0.7:8080/#{latitude},{longitude}",
    }
    plugins = {"console": table, "sharing": {"url": "https://live.example.com"}}
    async with serving(plugins=plugins) as live:
        _, told = await live.get("/console/settings.json", headers={})
        assert told["offlineAfter"] == 60
        assert told["fields"] == {
            "name": "label",
            "plate": "plate",
            "driver": "driver",
            "group": "",
            "destination": "destination",
        }
        assert told["externalMap"] == "http://10.0.0.7:8080/#{latitude},{longitude}"
        assert told["sharing"] is True
        assert await live.get("/track/settings.json", headers={}) == (200, {"maxLife": 86_400})


async def test_the_page_learns_what_the_server_remembers(redis_url: str) -> None:
    none: dict[str, Any] = {"delivery": {"last_known_ttl": 0}}
    memories = set()
    for _ in range(2):
        async with serving(plugins=ON, entities=none) as live:
            _, told = await live.get("/console/settings.json", headers={})
            assert told["lastKnown"] == ["vehicle"]
            memories.add(told["memory"])
    assert len(memories) == 2
    async with serving(plugins=ON, redis_url=redis_url) as live:
        _, told = await live.get("/console/settings.json", headers={})
        assert told["memory"] == "redis"


@pytest.mark.parametrize(
    ("tile_url", "source"),
    [
        ("https://tiles.example.com/{z}/{x}/{y}.png", "https://tiles.example.com"),
        ("https://{s}.tiles.example.com/{z}/{x}/{y}.png?key=a", "https://*.tiles.example.com"),
        ("http://10.0.0.7:8080/styles/{z}/{x}/{y}.webp", "http://10.0.0.7:8080"),
    ],
)
async def test_the_headers_allow_images_of_the_tile_server_alone(
    tile_url: str, source: str
) -> None:
    table = {"enabled": True, "tile_url": tile_url, "tile_attribution": "© Somebody"}
    async with serving(plugins={"console": table}) as live:
        _, headers, _ = await fetched(live, "/console")
        assert policy_of(headers) - POLICY == {f"img-src 'self' data: {source}"}
        _, told = await live.get("/console/settings.json")
        assert (told["tileUrl"], told["tileAttribution"]) == (tile_url, "© Somebody")


@pytest.mark.parametrize(
    "table",
    [
        {"tile_url": "tiles.example.com/{z}/{x}/{y}.png"},
        {"tile_url": "javascript:alert(1)//{z}"},
        {"tile_url": "https://tiles.example.com/all.png"},
        {"tile_url": "https://a.example; script-src */{z}/{x}/{y}"},
        {"tile_url": "https://*/{z}/{x}/{y}"},
        {"tile_url": "https://tiles.example.com'/{z}/{x}/{y}"},
        {"stale_after": 0},
        {"offline_after": 0},
        {"fields": {"colour": "paint"}},
        {"external_map": "https://maps.example.com/"},
        {"external_map": "https://maps.example.com/{latitude}"},
        {"external_map": "https://maps.example.com/{latitude},{longitude},{id}"},
        {"external_map": "javascript:alert({latitude},{longitude})"},
        {"external_map": "https://a.example/{latitude} {longitude}"},
    ],
)
def test_an_invalid_table_stops_the_start(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(table))):
        create_app(RealtimeConfig(plugins={"console": {"enabled": True, **table}}))
