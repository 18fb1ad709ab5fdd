"""Revocation of tokens, users and sessions, on every server.

A revocation reaches the other servers as a signal, and stays in Redis until it expires.  Each
server looks for new ones there twice a second, so that it also has those whose signal it missed,
that are older than itself, or that the command line wrote.  It reads only what has been added,
from a log; it reads all of them when the log does not tell: at its start, when it was cut off for
long, when Redis has lost data, and after a server of an earlier version, which keeps no log, has
written.  Revocations that Redis has lost are written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from atriz_realtime.api import (
    Check,
    ConfigurationError,
    PluginConfig,
    Resources,
    ServerHandle,
    Signals,
    as_id,
    hookimpl,
)
from atriz_realtime.defaults.revocations.known import Revocations, RevocationSettings, valid_until
from atriz_realtime.defaults.revocations.offline import revoke_in_redis
from atriz_realtime.defaults.revocations.stored import Kind, Revocation, trials
from atriz_realtime.defaults.shared.redis_rights import rights_check

if TYPE_CHECKING:
    import click

__all__ = ["revoke", "revoke_in_redis"]


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
    until = valid_until(expires, found[0].max_life)
    await found[0].revoke(Revocation.make(kind, as_id(value), until))


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
    # with the command comes click, which a server need not have
    from atriz_realtime.defaults.revocations.commands import command  # noqa: PLC0415

    return command(config, resources)


@hookimpl
def register_checks(config: PluginConfig, resources: Resources) -> Check | None:
    """Register the check of the rights that the plugin needs in Redis."""
    link = resources.redis
    if link is None:
        return None
    prefix = config.settings["redis_prefix"]

    return rights_check("revocations", link, lambda: trials(prefix))
