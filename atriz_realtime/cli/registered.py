"""What plugins register, by name: for ``atriz-realtime check`` and ``plugins``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from atriz_realtime.cli import plugin_commands
from atriz_realtime.server import RealtimeServer

_NAMED_HOOKS = {
    "views": "register_views",
    "fanout_layers": "register_fanout_layers",
    "observers": "register_observers",
    "recorders": "register_recorders",
    "socket_events": "register_socket_events",
    "endpoints": "register_endpoints",
    "routes": "register_routes",
}
"""Kinds of records of which nothing but the name is shown, each with the hook that registers
them."""

Registered = dict[str, list[dict[str, Any]]]
"""Records by kind, such as ``entity_types``; each has at least ``name`` and ``plugin``."""


def registered(server: RealtimeServer) -> Registered:
    """The records that plugins registered, as the configuration changes them.

    :raises PluginError: when a plugin's commands cannot be loaded.
    """
    registry = server.registry

    def entries(records: Iterable[Any], chosen: Any = None) -> list[dict[str, Any]]:
        return [
            {"name": record.name, "plugin": registry.owner(record)}
            | ({"chosen": True} if record is chosen else {})
            for record in records
        ]

    def named(pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
        return [{"name": name, "plugin": plugin} for name, plugin in pairs]

    shown = ("name", "plugin", "throttle", "throttle_options", "cache_ttl")
    return {
        "entity_types": [
            {name: getattr(kind, name) for name in shown} for kind in registry.kinds.values()
        ],
        "authenticators": entries(registry.authenticators),
        "authorizers": entries(registry.authorizers),
        "filters": entries(registry.filters),
        "throttles": entries(registry.throttles.values()),
        "caches": entries(registry.caches.values(), registry.cache),
        "fanouts": entries(registry.fanouts.values(), registry.fanout),
        "journals": entries(registry.journals.values(), registry.journal),
        **{kind: named(registry.contributed(hook)) for kind, hook in _NAMED_HOOKS.items()},
        "commands": named(
            (name, plugin) for name, (plugin, _) in plugin_commands.owned(server.config).items()
        ),
        "checks": entries(registry.checks),
    }


def of_plugin(records: Registered, plugin: str) -> dict[str, list[str]]:
    """The names of one plugin's records, by kind."""
    names = {
        kind: [entry["name"] for entry in entries if entry["plugin"] == plugin]
        for kind, entries in records.items()
    }
    return {kind: those for kind, those in names.items() if those}


def singular(kind: str) -> str:
    """A kind of records as text, for one of them: ``entity type`` for ``entity_types``."""
    return kind.removesuffix("s").replace("_", " ")
