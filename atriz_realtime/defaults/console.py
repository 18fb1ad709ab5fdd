"""The live map at ``/console``, a page of the server; off by default."""

from __future__ import annotations

import re
import secrets

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from atriz_realtime.api import ConfigurationError, PluginConfig, ServerHandle, hookimpl
from atriz_realtime.defaults.shared.pages import (
    MAP_FILES,
    MapSettings,
    file_endpoint,
    file_routes,
)

PATH = "/console"

FILES = ("console.js", "console.css", "LICENSES.txt", *MAP_FILES)

SHARE_FILE = "/track/files/share.js"
"""A file that only the plugin ``sharing`` serves, and only when it is on."""

OPENSTREETMAP = (
    "https://www.openstreetmap.org/?mlat={latitude}&mlon={longitude}#map=16/{latitude}/{longitude}"
)

EXTERNAL_MAP = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]+)?/[^\s\"'<>]*", re.IGNORECASE)


def _is_external_map(_: ConsoleSettings, __: attrs.Attribute[str], template: str) -> None:
    names = set(re.findall(r"\{([^}]*)\}", template))
    if not template or (names == {"latitude", "longitude"} and EXTERNAL_MAP.fullmatch(template)):
        return
    raise ConfigurationError(
        "external_map: must be an address such as "
        "https://maps.example.com/?q={latitude},{longitude}",
        field="external_map",
    )


@attrs.frozen(kw_only=True)
class MetadataFields:
    """The keys of ``metadata`` that the map shows as what an entity is called; an empty one: none.

    Other values than texts and numbers are not shown, except for the destination.
    """

    name: str = "name"
    """The name, which the list and the map show instead of the id."""
    plate: str = "plate"
    """The number plate."""
    driver: str = "driver"
    """Who drives."""
    group: str = "group"
    """A team, a depot or a customer."""
    destination: str = "destination"
    """Where it goes: an object with `latitude`, `longitude` and, if you like, `label`."""


@attrs.frozen(kw_only=True)
class ConsoleSettings(MapSettings):
    """The table ``[realtime.plugins.console]``."""

    enabled: bool = False
    """Serve the live map at `/console`."""
    stale_after: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
    """Seconds after which a position is no longer live."""
    offline_after: float = attrs.field(default=300.0, validator=attrs.validators.gt(0))
    """Seconds after which an entity counts as offline, if they are more than `stale_after`; it also
    does when the server has only its last known location."""
    fields: MetadataFields = attrs.field(factory=MetadataFields)
    """Which keys of `metadata` hold the name, the plate, the driver, the group and the
    destination."""
    external_map: str = attrs.field(default=OPENSTREETMAP, validator=_is_external_map)
    """The address template of a map elsewhere that the details of an entity link to, with
    `{latitude}` and `{longitude}`; empty: no link."""


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
    # with Redis, servers know together what each of them has known
    memory = "redis" if config.settings["redis_url"] else secrets.token_hex(8)

    async def page_settings(request: Request) -> Response:
        if not types:
            types.extend(await server.tracking.counts())
        return JSONResponse(
            {
                "types": types,
                "maxSubscriptions": config.settings["max_subscriptions"],
                "staleAfter": settings.stale_after,
                "offlineAfter": max(settings.stale_after, settings.offline_after),
                "lastKnown": [name for name in types if _keeps_last_known(config, name)],
                "memory": memory,
                "fields": attrs.asdict(settings.fields),
                "externalMap": settings.external_map,
                "sharing": _is_served(request, SHARE_FILE),
                **settings.for_page(config, root=""),
            },
            headers={**headers, "cache-control": "no-cache"},
        )

    return [
        Route(PATH, file_endpoint("console.html", headers), methods=["GET"]),
        Route(f"{PATH}/settings.json", page_settings, methods=["GET"]),
        *file_routes(PATH, FILES, headers),
    ]


def _keeps_last_known(config: PluginConfig, entity_type: str) -> bool:
    """Whether the configuration lets the server keep last known locations of a type."""
    own = config.settings["entities"].get(entity_type)
    kept = None if own is None else own.last_known_ttl
    default: float = config.settings["last_known_ttl"]
    return (default if kept is None else kept) > 0


def _is_served(request: Request, path: str) -> bool:
    """Whether the application that a request was sent to serves a path."""
    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes)
