"""``atriz-realtime check``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from atriz_realtime.api.errors import ConfigurationError
from atriz_realtime.api.wire import encode_json
from atriz_realtime.asgi import create_app
from atriz_realtime.cli import logs
from atriz_realtime.cli.addresses import beyond_loopback
from atriz_realtime.cli.options import config_option, json_option
from atriz_realtime.cli.output import print_json, print_table
from atriz_realtime.cli.plugin_settings import shown
from atriz_realtime.cli.registered import registered, singular
from atriz_realtime.cli.verdict import verdict, warnings_collected
from atriz_realtime.plugin_system import settings_file
from atriz_realtime.plugin_system.config import LoadedConfig, load_config
from atriz_realtime.plugin_system.published_secrets import PUBLISHED_SECRETS
from atriz_realtime.plugin_system.settings_view import describe
from atriz_realtime.server import RealtimeServer


def require_strength(server: RealtimeServer, host: str | None = None) -> None:
    """Refuse weak authentication on an address that other machines can reach.

    :param host: the address; default: the configured one.
    :raises ConfigurationError: when the documentation prints the JWT secret, or when an
        authenticator reports a weakness and ``allow_weak_secret`` is not set.
    """
    config = server.config
    host = config.host if host is None else host
    if not beyond_loopback(host):
        return
    if config.jwt_secret in PUBLISHED_SECRETS:
        raise ConfigurationError(
            "the JWT secret is printed in the documentation, so anybody can sign tokens with it; "
            f"choose another before listening beyond loopback ({host})"
        )
    if config.allow_weak_secret:
        return
    for authenticator in server.registry.authenticators:
        if authenticator.weakness is not None:
            raise ConfigurationError(
                f"{authenticator.weakness}; fix that before listening beyond loopback "
                f"({host}), or set allow_weak_secret"
            )


@click.command(short_help="Check the configuration without starting a server.")
@click.option("--strict", is_flag=True, help="Exit with status 1 for warnings, too.")
@click.option("--offline", is_flag=True, help="Do not ask Redis, or anybody else over the network.")
@click.option("--running", is_flag=True, help="Do not try the port: the server runs already.")
@click.option("--quiet", is_flag=True, help="Print only the verdict.")
@json_option
@config_option
def check(
    as_json: bool, file: str | None, strict: bool, offline: bool, running: bool, quiet: bool
) -> int:
    """Check whether a server would work; show its settings and what the plugins register.

    Secrets are masked.  Redis is asked for its time, the port is tried, and the plugins run their
    checks: those of the default plugins try what a server does in Redis, on keys and channels that
    no server uses, and read the JWK set.  The last lines say "ok", or what is wrong; for a problem
    the exit status is 1.  When a server would not even start, one line says why.
    """
    logs.configure()
    with warnings_collected() as advice:
        loaded = load_config(file)
    with warnings_collected() as warned:
        server: RealtimeServer = create_app(loaded.config).state.realtime
    require_strength(server)
    for kind in server.registry.kinds.values():
        server.registry.policy(kind)
    settings = {
        name: {"value": value, "source": loaded.sources.get(name, "default")}
        for name, value in (
            describe(loaded.config) | shown(loaded.config, server.registry.plugin_settings)
        ).items()
    }
    records = registered(server)
    found = verdict(server, warned, offline=offline, running=running)
    found.warnings += advice
    if folder := settings_file.missing_in(loaded, server.registry):
        found.warnings.append(
            f"no atriz.toml in {folder}, so every user may track and publish everything; set "
            "ATRIZ_REALTIME_CONFIG to the path of the file, or to none if that is meant"
        )
    status = 0 if found.is_ok(strict=strict) else 1
    if as_json:
        read = None if loaded.file is None else loaded.file.path
        path = None if read is None else str(read.absolute())
        said = {"ok": not status, "problems": found.problems, "warnings": found.warnings}
        print_json(
            {"verdict": said}
            if quiet
            else {"file": path, "settings": settings, "registered": records, "verdict": said}
        )
        return status
    if not quiet:
        _print_tables(loaded, settings, records)
    for line in found.lines():
        click.echo(line)
    return status


def _print_tables(
    loaded: LoadedConfig,
    settings: Mapping[str, Mapping[str, Any]],
    records: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """Print the settings, and what the plugins register."""
    click.echo(f"settings: {settings_file.described(loaded)}\n")
    print_table(
        ("setting", "value", "from"),
        [
            (name, _text(entry["value"]), entry["source"])
            for name, entry in settings.items()
            if name != "plugins" or not loaded.config.plugins  # whose settings follow one by one
        ],
        title="Settings",
    )
    click.echo()
    print_table(
        ("kind", "name", "plugin", ""),
        [
            (singular(kind), entry["name"], entry["plugin"], _details(entry))
            for kind, entries in records.items()
            for entry in entries
        ],
        title="Registered",
    )
    click.echo()


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
