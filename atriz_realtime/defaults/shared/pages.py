"""Serves the built pages in ``pages/dist``, with headers that restrict what they may do."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atriz_realtime.api import ConfigurationError, PluginConfig

DIST = files("atriz_realtime") / "pages" / "dist"

MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "html": "text/html; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "json": "application/json",
        "txt": "text/plain; charset=utf-8",
    }
)

MAP_FILES = ("streets.js", "names.json", "world-50m.json", "world-10m.json")
"""The files that a page's map loads when it needs them: what draws a basemap, and the offline
map."""

BASEMAP_PATH = "/basemap.pmtiles"
"""Where the plugin ``basemap`` serves the file of the setting ``basemap``."""

TILE_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>(?:\{s\}\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[0-9]+)?)/"
    r"[^\s\"';]*\{z\}[^\s\"';]*",
    re.IGNORECASE,
)
"""A tile server's address template, with ``{z}``, ``{x}``, ``{y}`` and optionally ``{s}.``."""


@attrs.frozen(kw_only=True)
class MapSettings:
    """The settings of a page's map, which are the same for each page.

    :raises ConfigurationError: for a malformed address template, with an example.
    """

    tile_url: str = ""
    """The address template of a tile server, with `{z}`, `{x}` and `{y}`, to use instead of the
    `basemap` or the offline map."""
    tile_url_dark: str = ""
    """The same for people whose system is set to dark; empty: `tile_url`."""
    tile_attribution: str = ""
    """The attribution that the map shows for the tiles."""

    def __attrs_post_init__(self) -> None:
        for field in ("tile_url", "tile_url_dark"):
            template = getattr(self, field)
            if template and not TILE_URL.fullmatch(template):
                raise ConfigurationError(
                    f"{field} must be an address such as "
                    "https://tiles.example.com/{z}/{x}/{y}.png",
                    field=field,
                )
        if self.tile_url_dark and not self.tile_url:
            raise ConfigurationError("tile_url_dark needs a tile_url", field="tile_url_dark")

    def headers(self) -> dict[str, str]:
        """The headers of the page and its files."""
        return security_headers(self.tile_url, self.tile_url_dark)

    def for_page(self, config: PluginConfig, root: str) -> dict[str, str]:
        """What the page's script is told about its map.

        :param root: leads from the page to the root of the server, such as ``../``, so that it
            works behind a proxy that adds a path.
        """
        settings = config.settings
        served = settings["basemap"] is not None and "basemap" not in settings["disabled_plugins"]
        return {
            "basemap": root + BASEMAP_PATH[1:] if served and not self.tile_url else "",
            "tileUrl": self.tile_url,
            "tileUrlDark": self.tile_url_dark,
            "tileAttribution": self.tile_attribution,
        }


@cache
def _read(name: str) -> tuple[bytes, bytes, str]:
    """A file's content, the content compressed, and its ETag."""
    body = (DIST / name).read_bytes()
    return body, gzip.compress(body, 6, mtime=0), f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def security_headers(*tile_urls: str) -> dict[str, str]:
    """Headers that allow a page its own scripts, and connections to its own server, alone.

    :param tile_urls: templates that :data:`TILE_URL` matches; images may come from their hosts.
    """
    images = "'self' data:"
    tiles = filter(None, map(TILE_URL.fullmatch, tile_urls))
    for host in dict.fromkeys(f"{each['scheme']}://{each['host']}" for each in tiles):
        images += f" {host.replace('{s}', '*')}"
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "content-security-policy": policy,
        "cross-origin-opener-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }


def accepts_gzip(request: Request) -> bool:
    """Whether an answer may be compressed."""
    accepted = request.headers.get("accept-encoding", "").split(",")
    return "gzip" in (each.partition(";")[0].strip() for each in accepted)


def file_routes(prefix: str, names: tuple[str, ...], headers: Mapping[str, str]) -> list[Route]:
    """Routes for built files below a path."""
    return [
        Route(f"{prefix}/{name}", file_endpoint(name, headers), methods=["GET"]) for name in names
    ]


def file_endpoint(
    name: str, headers: Mapping[str, str]
) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for one built file, compressed, with an ETag."""
    media_type = MEDIA_TYPES[name.rpartition(".")[2]]

    async def endpoint(request: Request) -> Response:
        body, packed, tag = await asyncio.to_thread(_read, name)
        sent = {**headers, "cache-control": "no-cache", "etag": tag, "vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=sent)
        if not accepts_gzip(request):
            return Response(body, media_type=media_type, headers=sent)
        sent["content-encoding"] = "gzip"
        return Response(packed, media_type=media_type, headers=sent)

    return endpoint
