"""The registry's records that need a server: observers, events, routes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from atriz_realtime.api import PluginError
from tests.support.plugins.files import Plugins, registry_of

SERVER: Any = lambda _: None  # noqa: E731
"""Makes the placeholder that the registry passes to hooks."""


@pytest.mark.parametrize(
    ("hook", "expression", "method"),
    [
        ("register_observers", "Observer('x', print)", "observers"),
        ("register_socket_events", "SocketEvent('x', print)", "socket_events"),
    ],
)
def test_conflicts_of_records_that_need_the_server(
    plugins: Plugins, hook: str, expression: str, method: str
) -> None:
    found = registry_of(
        plugins.returning("first", hook, expression),
        plugins.returning("second", hook, expression),
    )
    with pytest.raises(PluginError, match=r"plugins 'first' and 'second' both register the .* 'x'"):
        getattr(found, method)(SERVER)


# -- events and routes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "connect",
        "disconnect",
        "connect_error",
        "message",
        "authenticate",
        "authenticated",
        "error",
        "location:update",
        "track:vehicle",
        "untrack:delivery",
    ],
)
def test_the_events_of_the_protocol_are_reserved(plugins: Plugins, name: str) -> None:
    found = registry_of(
        plugins.returning("shop", "register_socket_events", f"SocketEvent({name!r}, print)")
    )
    with pytest.raises(PluginError) as error:
        found.socket_events(SERVER)
    assert error.value.message == (
        f"plugin 'shop' registers the event {name!r}, which the protocol has taken"
    )


def test_the_events_of_a_plugin_s_type_are_reserved(plugins: Plugins) -> None:
    plugins.module(
        "shop",
        """
        @hookimpl
        def register_entity_types():
            return EntityType("van")

        @hookimpl
        def register_socket_events():
            return SocketEvent("track:van", print)
        """,
    )
    with pytest.raises(PluginError, match=re.escape("'track:van', which the protocol has taken")):
        registry_of("shop").socket_events(SERVER)


ROUTE = """
from starlette.routing import Host, Mount, Route, WebSocketRoute

@hookimpl
def register_routes():
    return {}
"""


def test_a_path_that_two_plugins_serve_names_both(plugins: Plugins) -> None:
    first = plugins.module("first", ROUTE.format("Route('/x', print, methods=['GET'])"))
    second = plugins.module("second", ROUTE.format("Route('/x', print, methods=['GET', 'POST'])"))
    with pytest.raises(PluginError, match="plugins 'first' and 'second' both serve '/x'"):
        registry_of(first, second).routes(SERVER)


def test_a_path_may_be_shared_by_method_and_within_a_plugin(plugins: Plugins) -> None:
    names = [
        plugins.module(
            "first", ROUTE.format("[Route('/x', lambda r: r), Route('/x', lambda r: r)]")
        ),
        plugins.module("second", ROUTE.format("Route('/x', print, methods=['POST'])")),
    ]
    found = registry_of(*names, disabled_plugins=["http_api", "health"])
    assert len(found.routes(SERVER)) == 3


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ("Mount('/x', print)", "Route('/x', print)"),
        ("Route('/x', print)", "Mount('/x', print)"),
        ("WebSocketRoute('/x', print)", "WebSocketRoute('/x', print)"),
    ],
)
def test_a_route_for_every_method_shares_its_path_with_no_plugin(
    plugins: Plugins, mine: str, theirs: str
) -> None:
    found = registry_of(
        plugins.module("first", ROUTE.format(mine)), plugins.module("second", ROUTE.format(theirs))
    )
    with pytest.raises(PluginError, match="plugins 'first' and 'second' both serve '/x'"):
        found.routes(SERVER)


def test_websockets_have_paths_of_their_own(plugins: Plugins) -> None:
    found = registry_of(
        plugins.module("first", ROUTE.format("WebSocketRoute('/x', print)")),
        plugins.module("second", ROUTE.format("[Route('/x', print), Host('x', print)]")),
        disabled_plugins=["http_api", "health"],
    )
    assert len(found.routes(SERVER)) == 3


def test_the_paths_of_defaults_are_reserved(plugins: Plugins) -> None:
    name = plugins.module("mine", ROUTE.format("Route('/health/realtime', print)"))
    with pytest.raises(PluginError, match="'health' and 'mine' both serve '/health/realtime'"):
        registry_of(name).routes(SERVER)


def test_a_route_that_a_pattern_of_another_plugin_takes_stops_the_start(plugins: Plugins) -> None:
    route = "Route('/api/tracking/boats/{id}', print, methods=['GET'])"
    with pytest.raises(PluginError) as error:
        registry_of(plugins.module("boats", ROUTE.format(route))).routes(SERVER)
    assert error.value.message == (
        "plugin 'boats': register_routes: route '/api/tracking/boats/{id}' is never reached, "
        "because '/api/tracking/{type}/{id:path}' of plugin 'http_api' comes first"
    )


@pytest.mark.parametrize(
    ("route", "first", "owner"),
    [
        ("Route('/fleet/near', lambda request: None)", "/fleet", "plugin 'fleet'"),
        ("WebSocketRoute('/fleet/near', lambda websocket: None)", "/fleet", "plugin 'fleet'"),
        ("Mount('/fleet/boats', print)", "/fleet", "plugin 'fleet'"),
        ("WebSocketRoute('/live/one', lambda websocket: None)", "/live/{id}", "plugin 'fleet'"),
        ("Route('/socket.io/x', lambda request: None)", "/socket.io", "the server"),
        ("Mount('/socket.io', print)", "/socket.io", "the server"),
    ],
)
def test_a_route_behind_a_mount_or_socket_io_stops_the_start(
    plugins: Plugins, route: str, first: str, owner: str
) -> None:
    mounts = "[Mount('/fleet', print), WebSocketRoute('/live/{id}', lambda websocket: None)]"
    names = [plugins.module("fleet", ROUTE.format(mounts))]
    names.append(plugins.module("near", ROUTE.format(route)))
    with pytest.raises(PluginError) as error:
        registry_of(*names).routes(SERVER)
    path = route.split("'")[1]
    assert error.value.message == (
        f"plugin 'near': register_routes: route {path!r} is never reached, "
        f"because {first!r} of {owner} comes first"
    )


@pytest.mark.parametrize(
    "route",
    [
        "Route('/api/tracking/boats/{id}', print, methods=['GET', 'PUT'])",
        "Mount('/api/boats', print)",
        "Route('/socket.io', print)",
        "Route('/api/{one}/{two}/{three}', print)",
        "Route('/api/boats/{rest:path}', print)",
        "WebSocketRoute('/api/tracking/boats/{id}', print)",
        "[Route('/boats/{id}', print), Route('/boats/all', print)]",
    ],
)
def test_a_route_that_is_reached_is_accepted(plugins: Plugins, route: str) -> None:
    names = [
        plugins.module("first", ROUTE.format("Route('/api/boats/{id}', print)")),
        plugins.module("fleet", ROUTE.format("Mount('/fleet', print)")),
        plugins.module("boats", ROUTE.format(route)),
    ]
    assert registry_of(*names).routes(SERVER)
