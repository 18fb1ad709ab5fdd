"""Revocation: tokens, users and sessions that are no longer good, on every server.

A revocation reaches the other servers as a signal, and stands in Redis until it expires.
Each server looks twice a second whether there is anything new, so one that missed
the signal, that starts later, or that the command line did not know of, has it too; and
what Redis has lost, the servers write again.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from weakref import WeakKeyDictionary

import attrs
import click
from redis.exceptions import RedisError

from atriz_realtime.api import (
    ConfigurationError,
    PluginConfig,
    RedisLink,
    Resources,
    ServerHandle,
    Signals,
    Unavailable,
    hookimpl,
)
from atriz_realtime.defaults.revocations.known import Revocations, RevocationSettings
from atriz_realtime.defaults.revocations.records import (
    ADD,
    EXPIRY_MARGIN,
    KEY,
    SIGNAL,
    VERSION_KEY,
    Kind,
    Revocation,
    arguments,
    revocation,
)


async def revoke(signals: Signals, kind: Kind, value: str, *, expires: float | None = None) -> None:
    """Revoke a token, a user or a session on every server of the cluster.

    This server refuses it when this returns, or raises :class:`Unavailable`; the others
    within a second, or when Redis is back.

    :param signals: the ``signals`` of a server, or of a plugin's ``ServerHandle``.
    :param kind: ``token`` (the claim ``jti``), ``user``, or ``session`` (a Socket.IO
        session id, or the claim ``sid``).
    :param expires: when the token expires, in seconds since the epoch, if that is known.
    :raises InvalidRequest: when the value is empty or longer than 256 characters.
    :raises ConfigurationError: when this plugin does not run on the server: nothing is revoked.
    :raises Unavailable: when only this server knows so far.
    """
    if not any(server.signals is signals for server in _RUNNING):
        raise ConfigurationError(
            "nothing is revoked: the plugin revocations is disabled, or the server is not running",
            field="disabled_plugins",
        )
    until = 0 if expires is None else int(expires) + EXPIRY_MARGIN
    made = Revocation.read([kind, value, int(time.time()), until])
    await signals.send(SIGNAL, list(attrs.astuple(made)))


_RUNNING: WeakKeyDictionary[ServerHandle, Revocations] = WeakKeyDictionary()
"""What each server of this process started."""


@hookimpl
def register_settings() -> type[RevocationSettings]:
    """The plugin's own table."""
    return RevocationSettings


@hookimpl
async def server_started(config: PluginConfig, server: ServerHandle, resources: Resources) -> None:
    """Begin to refuse what is revoked."""
    settings = config.load(RevocationSettings)
    running = Revocations(server, resources, settings)
    _RUNNING[server] = running
    await running.start()


@hookimpl
async def server_stopping(server: ServerHandle) -> None:
    """Stop looking for more."""
    running = _RUNNING.pop(server, None)
    if running is not None:
        await running.aclose()


@hookimpl
def register_commands(config: PluginConfig, resources: Resources) -> click.Command:
    """Offer ``atriz-realtime revoke``."""
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
        made = revocation(kind, value, expires, settings.max_life)
        prefix = config.settings["redis_prefix"]
        asyncio.run(write(resources.redis, prefix, made))
        click.echo(f"revoked {kind} {value}")

    return command


async def write(link: RedisLink, prefix: str, made: Revocation) -> None:
    """Write a revocation where no server runs; the servers read it within a second.

    :raises Unavailable: when Redis does not take it.
    """
    client: Any = link.client
    try:
        await client.eval(ADD, 2, prefix + KEY, prefix + VERSION_KEY, *arguments([made]))
    except RedisError as error:
        raise Unavailable(f"Redis: {error}") from error
    finally:
        await client.aclose()
