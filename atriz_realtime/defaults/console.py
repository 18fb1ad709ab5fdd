"""The live map at ``/console``, a page of the server; off by default."""

from __future__ import annotations

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atriz_realtime.api import PluginConfig, ServerHandle, hookimpl
from atriz_realtime.defaults.shared.pages import (
    WORLD,
    check_tile_url,
    file_endpoint,
    file_routes,
    security_headers,
)

PATH = "/console"

FILES = ("console.js", "console.css", "LICENSES.txt", *WORLD)


@attrs.frozen(kw_only=True)
class ConsoleSettings:
    """The table ``[realtime.plugins.console]``."""

    enabled: bool = False
    """Serve the live map at `/console`."""
    stale_after: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
    """Seconds after which a position counts as stale and fades."""
    tile_url: str = ""
    """The address template of a tile server, with `{z}`, `{x}` and `{y}`; empty: the offline map
    that comes with the package."""
    tile_attribution: str = ""
    """The attribution that the map shows for the tiles."""

    def __attrs_post_init__(self) -> None:
        check_tile_url(self.tile_url)


@hookimpl
def register_settings() -> type[ConsoleSettings]:
    """Return the settings class."""
    return ConsoleSettings


@hookimpl
def register_routes(config: PluginConfig, server: ServerHandle) -> list[Route]:
    """Register the page, its files and its settings, when it is enabled."""
    settings = config.load(ConsoleSettings)
    if not settings.enabled:
        return []
    headers = security_headers(settings.tile_url)
    types: list[str] = []

    async def page_settings(_: Request) -> Response:
        if not types:
            types.extend(await server.tracking.counts())
        return JSONResponse(
            {
                "types": types,
                "maxSubscriptions": config.settings["max_subscriptions"],
                "staleAfter": settings.stale_after,
                "tileUrl": settings.tile_url,
                "tileAttribution": settings.tile_attribution,
            },
            headers={**headers, "cache-control": "no-cache"},
        )

    return [
        Route(PATH, file_endpoint("console.html", headers), methods=["GET"]),
        Route(f"{PATH}/settings.json", page_settings, methods=["GET"]),
        *file_routes(PATH, FILES, headers),
    ]
