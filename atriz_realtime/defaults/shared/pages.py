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

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atriz_realtime.api import ConfigurationError

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

WORLD = ("world-50m.json", "world-10m.json")
"""The files of the offline map."""

TILE_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>(?:\{s\}\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[0-9]+)?)/"
    r"[^\s\"';]*\{z\}[^\s\"';]*",
    re.IGNORECASE,
)
"""A tile server's address template, with ``{z}``, ``{x}``, ``{y}`` and optionally ``{s}.``."""


def check_tile_url(template: str) -> None:
    """Check a tile server's address template; an empty one stands for the offline map.

    :raises ConfigurationError: when it is malformed, with an example.
    """
    if template and not TILE_URL.fullmatch(template):
        raise ConfigurationError(
            "tile_url must be an address such as https://tiles.example.com/{z}/{x}/{y}.png",
            field="tile_url",
        )


@cache
def _read(name: str) -> tuple[bytes, bytes, str]:
    """A file's content, the content compressed, and its ETag."""
    body = (DIST / name).read_bytes()
    return body, gzip.compress(body, 6, mtime=0), f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def security_headers(tile_url: str = "") -> dict[str, str]:
    """Headers that allow a page its own scripts, and connections to its own server, alone.

    :param tile_url: a template that :data:`TILE_URL` matches; images may come from its host.
    """
    images = "'self' data:"
    if tile := TILE_URL.fullmatch(tile_url):
        images += f" {tile['scheme']}://{tile['host'].replace('{s}', '*')}"
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
        accepted = request.headers.get("accept-encoding", "").split(",")
        if "gzip" not in (each.partition(";")[0].strip() for each in accepted):
            return Response(body, media_type=media_type, headers=sent)
        sent["content-encoding"] = "gzip"
        return Response(packed, media_type=media_type, headers=sent)

    return endpoint
