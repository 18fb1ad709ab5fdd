"""The live map at ``/console``, a page of the server; off by default."""

from __future__ import annotations

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atriz_realtime.api import PluginConfig, ServerHandle, hookimpl
from atriz_realtime.defaults.shared.pages import (
    MAP_FILES,
    MapSettings,
    file_endpoint,
    file_routes,
)

PATH = "/console"

FILES = ("console.js", "console.css", "LICENSES.txt", *MAP_FILES)


@attrs.frozen(kw_only=True)
class ConsoleSettings(MapSettings):
    """The table ``[realtime.plugins.console]``."""

    enabled: bool = False
    """Serve the live map at `/console`."""
    stale_after: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
    """Seconds after which a position counts as stale and fades."""


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
    headers = settings.headers()
    types: list[str] = []

    async def page_settings(_: Request) -> Response:
        if not types:
            types.extend(await server.tracking.counts())
        return JSONResponse(
            {
                "types": types,
                "maxSubscriptions": config.settings["max_subscriptions"],
                "staleAfter": settings.stale_after,
                **settings.for_page(config, root=""),
            },
            headers={**headers, "cache-control": "no-cache"},
        )

    return [
        Route(PATH, file_endpoint("console.html", headers), methods=["GET"]),
        Route(f"{PATH}/settings.json", page_settings, methods=["GET"]),
        *file_routes(PATH, FILES, headers),
    ]
