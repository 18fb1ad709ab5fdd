"""``atriz-realtime check``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from atriz_realtime.api.errors import ConfigurationError
from atriz_realtime.api.wire import encode_json
from atriz_realtime.asgi import create_app
from atriz_realtime.cli import logs
from atriz_realtime.cli.addresses import beyond_loopback
from atriz_realtime.cli.options import config_option, json_option
from atriz_realtime.cli.output import print_json, print_table
from atriz_realtime.cli.verdict import PUBLISHED_SECRETS, verdict, warnings_collected
from atriz_realtime.plugin_system.config import describe, load_config
from atriz_realtime.plugin_system.plugins import PluginInfo
from atriz_realtime.plugin_system.registry import Registry
from atriz_realtime.server import RealtimeServer

_NAMED_HOOKS = {
    "fanout_layers": "register_fanout_layers",
    "socket_events": "register_socket_events",
    "endpoints": "register_endpoints",
    "routes": "register_routes",
}
"""Kinds of records that are shown by name alone, each with the hook that registers them."""

_LATE_HOOKS = {"observers": "register_observers", "commands": "register_commands"}
"""Hooks that `check` does not call, so that it shows the hooks instead of their records."""


def require_strength(server: RealtimeServer) -> None:
    """Refuse weak authentication on an address that other machines can reach.

    :raises ConfigurationError: when the documentation prints the JWT secret, or when an
        authenticator reports a weakness and ``allow_weak_secret`` is not set.
    """
    config = server.config
    if not beyond_loopback(config.host):
        return
    if config.jwt_secret in PUBLISHED_SECRETS:
        raise ConfigurationError(
            "the JWT secret is printed in the documentation, so anybody can sign tokens with it; "
            f"choose another before listening beyond loopback ({config.host})"
        )
    if config.allow_weak_secret:
        return
    for authenticator in server.registry.authenticators:
        if authenticator.weakness is not None:
            raise ConfigurationError(
                f"{authenticator.weakness}; fix that before listening beyond loopback "
                f"({config.host}), or set allow_weak_secret"
            )


@click.command(short_help="Check the configuration without starting a server.")
@click.option("--strict", is_flag=True, help="Exit with status 1 for warnings, too.")
@click.option("--offline", is_flag=True, help="Do not ask Redis.")
@json_option
@config_option
def check(as_json: bool, file: str | None, strict: bool, offline: bool) -> int:
    """Check whether a server would work; show its settings and what the plugins register.

    Secrets are masked.  Redis is asked for its time, and the port is tried.  The last lines say
    "ok", or what is wrong; for a problem the exit status is 1.  When a server would not even
    start, one line says why.
    """
    logs.configure()
    loaded = load_config(file)
    with warnings_collected() as warned:
        server: RealtimeServer = create_app(loaded.config).state.realtime
    require_strength(server)
    for kind in server.registry.kinds.values():
        server.registry.policy(kind)
    settings = {
        name: {"value": value, "source": loaded.sources.get(name, "default")}
        for name, value in describe(loaded.config).items()
    }
    registered = _registered(server.registry, server.plugins())
    found = verdict(server, warned, offline=offline)
    status = 0 if found.is_ok(strict=strict) else 1
    if as_json:
        said = {"ok": not status, "problems": found.problems, "warnings": found.warnings}
        print_json({"settings": settings, "registered": registered, "verdict": said})
        return status
    print_table(
        ("setting", "value", "from"),
        [(name, _text(entry["value"]), entry["source"]) for name, entry in settings.items()],
        title="Settings",
    )
    click.echo()
    print_table(
        ("kind", "name", "plugin", ""),
        [
            (kind[:-1].replace("_", " "), entry["name"], entry["plugin"], _details(entry))
            for kind, entries in registered.items()
            for entry in entries
        ],
        title="Registered",
    )
    click.echo()
    for line in found.lines():
        click.echo(line)
    return status


def _registered(
    registry: Registry, plugins: Sequence[PluginInfo]
) -> dict[str, list[dict[str, Any]]]:
    """The records that plugins registered, by kind, as the configuration changes them."""

    def entries(records: Iterable[Any], chosen: Any = None) -> list[dict[str, Any]]:
        return [
            {"name": record.name, "plugin": registry.owner(record)}
            | ({"chosen": True} if record is chosen else {})
            for record in records
        ]

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
        **{
            kind: [{"name": name, "plugin": plugin} for name, plugin in registry.contributed(hook)]
            for kind, hook in _NAMED_HOOKS.items()
        },
        **{
            kind: [
                {"name": hook, "plugin": plugin.name} for plugin in plugins if hook in plugin.hooks
            ]
            for kind, hook in _LATE_HOOKS.items()
        },
    }


def _text(value: Any) -> str:
    if value is None or value in ("", (), [], {}):
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return encode_json(value).decode()


def _details(entry: Mapping[str, Any]) -> str:
    """The rest of an entry as text."""
    if "throttle" in entry:
        options = entry["throttle_options"].items()
        named = "".join(f" {name}={_text(value)}" for name, value in options)
        return f"throttle {entry['throttle']}{named}, cached for {entry['cache_ttl']:g} s"
    return "chosen" if entry.get("chosen") else ""
