"""What commands that write to Redis say on standard error."""

from __future__ import annotations

import click

SETTINGS = "atriz_realtime.settings"
"""The key of click's ``Context.meta`` with the line that says which settings a command has."""


def say_settings() -> None:
    """Say on standard error which settings a command has used."""
    click.echo(click.get_current_context().meta[SETTINGS], err=True)


def say_where(servers: int | None) -> None:
    """Say which settings a revocation was made with, and warn when no server has received it.

    :param servers: how many have received its signal; ``None``: unknown.
    """
    say_settings()
    if servers == 0:
        click.echo(
            "warning: no server on this Redis and prefix was listening: compare redis_url and "
            "redis_prefix with those of the servers, or name their file with --config; "
            "a server that starts there later applies the revocation",
            err=True,
        )
