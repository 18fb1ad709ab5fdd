"""Revocation of tokens, users and sessions, on every server.

A revocation reaches the other servers as a signal, and stays in Redis until it expires.  Each
server looks for new ones there twice a second, so that it also has those whose signal it missed,
that are older than itself, or that the command line wrote.  It reads only what has been added,
from a log; it reads all of them when the log does not tell: at its start, when it was cut off for
long, when Redis has lost data, and after a server of an earlier version, which keeps no log, has
written.  Revocations that Redis has lost are written again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from redis.exceptions import RedisError

from atriz_realtime.api import (
    Check,
    ConfigurationError,
    PluginConfig,
    RedisLink,
    Resources,
    RevocationLimit,
    ServerHandle,
    Signals,
    Unavailable,
    as_id,
    hookimpl,
)
from atriz_realtime.defaults.revocations.known import EXPIRY_MARGIN, Revocations, RevocationSettings
from atriz_realtime.defaults.revocations.stored import (
    ADD,
    Kind,
    Revocation,
    arguments,
    keys,
    trials,
)
from atriz_realtime.defaults.shared.redis_rights import rights_check

if TYPE_CHECKING:
    import click


async def revoke(
    signals: Signals, kind: Kind, value: str | int, *, expires: float | None = None
) -> None:
    """Revoke a token, a user or a session on every server of the cluster.

    When this returns, this server refuses it and Redis has stored it; the others follow within a
    second.  Revoking again what is revoked changes nothing.

    :param signals: the ``signals`` of a server, or of a plugin's ``ServerHandle``.
    :param kind: ``token`` (the claim ``jti``), ``user``, or ``session`` (a Socket.IO
        session id, or the claim ``sid``).
    :param value: an integer means what a token with this integer has.
    :param expires: the time when the token expires, in seconds since the epoch, if known.
    :raises InvalidRequest: when the value is empty or longer than 256 characters.
    :raises TypeError: when the value is neither a string nor an integer.
    :raises ConfigurationError: when the plugin is off on this server; nothing is revoked then.
    :raises RevocationLimit: when 100,000 revocations are in force; nothing is revoked then.
    :raises Unavailable: when Redis has not stored it.  This server refuses it and goes on trying
        to store it; if it ends before, the revocation is lost.
    """
    found = [running for server, running in _RUNNING.items() if server.signals is signals]
    if not found:
        raise ConfigurationError(
            "nothing is revoked: the plugin revocations is disabled, or the server is not running",
            field="disabled_plugins",
        )
    until = _until(expires, found[0].max_life)
    await found[0].revoke(Revocation.make(kind, as_id(value), until))


def _until(expires: float | None, max_life: int) -> int:
    return int(time.time()) + max_life if expires is None else int(expires) + EXPIRY_MARGIN


_RUNNING: WeakKeyDictionary[ServerHandle, Revocations] = WeakKeyDictionary()
"""The revocations of each server in this process."""


@hookimpl
def register_settings() -> type[RevocationSettings]:
    """Return the settings class."""
    return RevocationSettings


@hookimpl
async def server_started(config: PluginConfig, server: ServerHandle, resources: Resources) -> None:
    """Read the revocations, and start watching for new ones."""
    settings = config.load(RevocationSettings)
    running = Revocations(server, resources, settings)
    _RUNNING[server] = running
    await running.start()


@hookimpl
def server_stopping(server: ServerHandle) -> None:
    """Revoke nothing more from here."""
    _RUNNING.pop(server, None)


@hookimpl
def register_commands(config: PluginConfig, resources: Resources) -> click.Command:
    """Register ``atriz-realtime revoke``."""
    import click  # noqa: PLC0415  # a server need not have it

    settings = config.load(RevocationSettings)

    @click.command("revoke", short_help="Revoke a token, a user or a session.")
    @click.argument("kind", type=click.Choice(["token", "user", "session"]))
    @click.argument("value")
    @click.option(
        "--expires", type=int, metavar="SECONDS", help="When the token expires, since the epoch."
    )
    def command(kind: Kind, value: str, expires: int | None) -> None:
        """Revoke a token (its jti), a user, or a session (its Socket.IO id or claim sid).

        Every server on the same Redis refuses it, and closes its sockets, within a second.
        """
        if resources.redis is None:
            raise ConfigurationError("revoke needs a redis_url (REDIS_URL)", field="redis_url")
        prefix = config.settings["redis_prefix"]
        asyncio.run(
            revoke_in_redis(resources.redis, prefix, kind, value, expires, settings.max_life)
        )
        click.echo(f"revoked {kind} {value}")

    return command


@hookimpl
def register_checks(config: PluginConfig, resources: Resources) -> Check | None:
    """Register the check of the rights that the plugin needs in Redis."""
    link = resources.redis
    if link is None:
        return None
    prefix = config.settings["redis_prefix"]

    return rights_check("revocations", link, lambda: trials(prefix))


async def revoke_in_redis(
    link: RedisLink, prefix: str, kind: Kind, value: str, expires: float | None, max_life: int
) -> None:
    """Revoke from a process without a server; the servers read it from Redis within a second.

    :param expires: the time when the token expires, in seconds since the epoch; ``None``: in
        ``max_life`` seconds.

    :raises InvalidRequest: when the value is empty or too long.
    :raises RevocationLimit: when too many are in force.
    :raises Unavailable: when Redis does not accept it.
    """
    made = Revocation.make(kind, value, _until(expires, max_life))
    client: Any = link.client
    try:
        stored = await client.eval(ADD, 3, *keys(prefix), *arguments([made]))
    except RedisError as error:
        raise Unavailable(f"Redis: {error}") from error
    finally:
        await client.aclose()
    if not stored:
        raise RevocationLimit
