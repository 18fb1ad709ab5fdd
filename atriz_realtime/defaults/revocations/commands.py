"""``atriz-realtime revoke``."""

from __future__ import annotations

import asyncio

import click

from atriz_realtime.api import ConfigurationError, PluginConfig, Resources
from atriz_realtime.defaults.revocations.known import RevocationSettings
from atriz_realtime.defaults.revocations.offline import revoke_in_redis
from atriz_realtime.defaults.revocations.stored import Kind
from atriz_realtime.defaults.shared.commands import say_where


def command(config: PluginConfig, resources: Resources) -> click.Command:
    """The command."""
    settings = config.load(RevocationSettings)

    @click.command("revoke", short_help="Revoke a token, a user or a session.")
    @click.argument("kind", type=click.Choice(["token", "user", "session"]))
    @click.argument("value")
    @click.option(
        "--expires", type=int, metavar="SECONDS", help="When the token expires, since the epoch."
    )
    def revoke(kind: Kind, value: str, expires: int | None) -> None:
        """Revoke a token (its jti), a user, or a session (its Socket.IO id or claim sid).

        Every server with the same redis_url and redis_prefix refuses it, and closes its sockets,
        within a second.  Standard error says which settings are used, and warns when no such
        server is running; one that starts later refuses it, too.
        """
        if resources.redis is None:
            raise ConfigurationError("revoke needs a redis_url (REDIS_URL)", field="redis_url")
        revoking = revoke_in_redis(
            resources.redis, config.settings, kind, value, expires, settings.max_life
        )
        say_where(asyncio.run(revoking))
        click.echo(f"revoked {kind} {value}")

    return revoke
