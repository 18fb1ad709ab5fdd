"""``atriz-realtime apikey``: issue, list and revoke keys."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeVar

import attrs
import click
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from atriz_realtime.api import Clock, ConfigurationError, format_timestamp
from atriz_realtime_apikey.keys import KEY_FORM, ApiKey, hash_key, new_key
from atriz_realtime_apikey.store import KeyStore

T = TypeVar("T")

SETTINGS = "atriz_realtime.settings"
"""The key of click's ``Context.meta`` with the line that says which settings a command has."""

MAX_DAYS = 3_650
"""Longest life of a key that expires; a longer one is probably a typing error."""

_UNITS = MappingProxyType({"s": 1, "m": 60, "h": 3_600, "d": 86_400})


@attrs.frozen(kw_only=True)
class Administration:
    """The keys that the commands administer."""

    configured: Mapping[str, ApiKey]
    """The keys of the configuration, by id."""
    client: Redis | RedisCluster | None = attrs.field(repr=False)
    """The client; ``None`` when no Redis is configured."""
    prefix: str
    """The prefix of every Redis key."""
    clock: Clock

    def on_redis(self, work: Callable[[KeyStore], Awaitable[T]]) -> T:
        """Run a coroutine on the keys in Redis.

        :raises click.ClickException: when there is no Redis, or it fails.
        """
        if self.client is None:
            raise click.ClickException("no redis_url is configured (REDIS_URL)")
        client = self.client

        async def session() -> T:
            async with client:
                return await work(KeyStore(client, self.prefix))

        try:
            done = asyncio.run(session())
        except TimeoutError:
            raise click.ClickException("Redis does not answer") from None
        except (RedisError, RedisClusterException, OSError) as error:
            # one line; a message about a Sentinel would contain the whole connection pool
            reason = str(error).partition("\n")[0].partition(" : ")[0]
            raise click.ClickException(f"Redis: {reason or type(error).__name__}") from error
        meta = click.get_current_context().meta
        if SETTINGS in meta:  # keys under another prefix are those of other servers
            click.echo(meta[SETTINGS], err=True)
        return done


def read_duration(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | None:
    """Parse a duration such as ``90d``, ``12h`` or ``1h30m``."""
    if value is None:
        return None
    if not re.fullmatch(r"([0-9]{1,9}[smhd])+", value):
        raise click.BadParameter(f"{value!r} is no duration such as 90d, 12h or 1h30m")
    seconds = sum(
        int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)([smhd])", value)
    )
    if not 0 < seconds <= MAX_DAYS * _UNITS["d"]:
        raise click.BadParameter(f"{value!r} is not between 1s and {MAX_DAYS}d")
    return timedelta(seconds=seconds)


def command_group(administration: Administration) -> click.Group:
    """The group ``apikey`` with its commands."""

    @click.group("apikey", short_help="Issue, list and revoke API keys.")
    @click.pass_context
    def apikey(context: click.Context) -> None:
        """API keys of devices: issue, list, revoke."""
        context.obj = administration

    for command in (issue, list_keys, revoke):
        apikey.add_command(command)
    return apikey


@click.command("issue", short_help="Make a key and print it, alone.")
@click.option(
    "--publish",
    metavar="TYPE:ID",
    multiple=True,
    help="What it may publish; * ? [...] are patterns.  May be repeated.",
)
@click.option(
    "--track",
    metavar="TYPE:ID",
    multiple=True,
    help="What it may watch and read; nothing unless given.  May be repeated.",
)
@click.option("--label", default="", help="A name for people.")
@click.option("--user", metavar="ID", help="The user it acts for.  [default: device:<key id>]")
@click.option("--ttl", callback=read_duration, help="How long it is valid: 90d, 12h, 1h30m.")
@click.option(
    "--print-config",
    is_flag=True,
    help="Print the table for the configuration file instead of storing the hash in Redis.",
)
@click.pass_obj
def issue(
    administration: Administration,
    publish: tuple[str, ...],
    track: tuple[str, ...],
    label: str,
    user: str | None,
    ttl: timedelta | None,
    print_config: bool,
) -> None:
    """Make a key and print it, alone, on standard output.

    It cannot be shown again: only its hash is stored, in Redis or, with --print-config, in the
    table for the configuration file, which goes to standard error.
    """
    now = administration.clock.now()
    key_id, secret = new_key()
    table: dict[str, Any] = {"publish": publish, "track": track, "label": label}
    if user is not None:
        table["user"] = user
    if ttl is not None:
        table["expires"] = datetime.fromtimestamp(now, UTC) + ttl
    try:
        key = ApiKey(id=key_id, hash=hash_key(secret), **table)
    except ConfigurationError as error:
        raise click.UsageError(error.message) from error
    if print_config:
        click.echo(as_toml(key), err=True)
    else:
        administration.on_redis(lambda store: store.add(key, now))
    click.echo(secret)


@click.command("list", short_help="List the keys, never their hashes.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.pass_obj
def list_keys(administration: Administration, as_json: bool) -> None:
    """List the keys of the configuration, and those in Redis that have not expired."""
    now = administration.clock.now()
    rows = [_row(key, "config", now) for key in administration.configured.values()]
    if administration.client is not None:
        stored = administration.on_redis(lambda store: store.all(now))
        for key_id, key in stored.items():
            if isinstance(key, ConfigurationError):
                click.echo(f"warning: key {key_id} in Redis: {key.message}", err=True)
            else:
                rows.append(_row(key, "redis", now))
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
    else:
        _print_table(rows)


@click.command("revoke", short_help="Remove a key from Redis.")
@click.argument("key_id", metavar="ID")
@click.pass_obj
def revoke(administration: Administration, key_id: str) -> None:
    """Remove a key from Redis; ID may also be the key itself.

    Servers refuse it once their cached copy expires, within the setting cache_seconds (5 by
    default).
    """
    form = KEY_FORM.fullmatch(key_id)
    if form is not None:
        key_id = form["id"]
    if key_id in administration.configured:
        raise click.ClickException(
            f"key {key_id} is in the configuration: remove [realtime.plugins.apikey.keys.{key_id}]"
            " there, and restart the servers"
        )
    if not administration.on_redis(lambda store: store.remove(key_id)):
        raise click.ClickException("there is no such key in Redis")
    click.echo(f"revoked {key_id}")


def as_toml(key: ApiKey) -> str:
    """The table of a key for the configuration file."""
    lines = [f"[realtime.plugins.apikey.keys.{key.id}]"]
    for field, value in key.to_table().items():
        # JSON's strings and lists are TOML's, for text that is printable; times stand bare
        text = value if field == "expires" else json.dumps(value, ensure_ascii=False)
        lines.append(f"{field} = {text}")
    return "\n".join(lines)


def _row(key: ApiKey, source: str, now: float) -> dict[str, Any]:
    """A key as it is listed, without the hash."""
    return {
        "id": key.id,
        "label": key.label,
        "user": key.user,
        "publish": list(key.publish),
        "track": list(key.track),
        "expires": None if key.expires is None else format_timestamp(key.expires),
        "expired": key.expired(now),
        "source": source,
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    heading = ("ID", "LABEL", "USER", "PUBLISH", "TRACK", "EXPIRES", "SOURCE")
    cells = [heading] + [
        (
            row["id"],
            row["label"] or "-",
            row["user"],
            ",".join(row["publish"]) or "-",
            ",".join(row["track"]) or "-",
            "expired" if row["expired"] else row["expires"] or "never",
            row["source"],
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heading))]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())
