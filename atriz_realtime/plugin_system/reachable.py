"""Finds routes of plugins that no request reaches."""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.routing import Mount, Route, Router, WebSocketRoute

from atriz_realtime.api.errors import PluginError
from atriz_realtime.api.wire import SOCKET_PATH

Patterned = Mount | Route | WebSocketRoute
"""The kinds of routes that tell which paths they are for."""

SOCKET_IO = ("the server", Mount(SOCKET_PATH, app=Router()))
"""What serves Socket.IO, before all routes of plugins."""


def check_reached(plugin: str, route: Patterned, earlier: Iterable[tuple[str, Patterned]]) -> None:
    """Refuse a route if another plugin's, which comes first, takes all its requests.

    :param earlier: the routes before it, each with what it belongs to.
    """
    pattern = f"{route.path}/{{rest:path}}" if isinstance(route, Mount) else route.path
    paths = [re.sub(r"\{\w+:path\}", rest, pattern) for rest in ("one", "one/two/three")]
    for owner, other in earlier:
        matches = _covers(other, route) and all(map(other.path_regex.match, paths))
        if matches and owner != f"plugin {plugin!r}":
            raise PluginError(
                f"plugin {plugin!r}: register_routes: route {route.path!r} is never reached, "
                f"because {other.path!r} of {owner} comes first"
            )


def _covers(other: Patterned, route: Patterned) -> bool:
    """Whether a route takes all kinds of requests that another one is for."""
    if isinstance(other, Route) and isinstance(route, Route):
        return not other.methods or bool(route.methods and route.methods <= other.methods)
    return isinstance(other, Mount) or (
        isinstance(other, WebSocketRoute) and isinstance(route, WebSocketRoute)
    )
