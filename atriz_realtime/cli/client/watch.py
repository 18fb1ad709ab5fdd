"""``atriz-realtime watch``."""

from __future__ import annotations

import click

from atriz_realtime.cli.client.client import Api, Connection, connection_options
from atriz_realtime.cli.client.views import shown
from atriz_realtime.cli.client.watcher import Follower
from atriz_realtime.cli.interruption import run_interruptibly
from atriz_realtime.cli.options import json_option, type_option


@click.command(short_help="Show positions as they come.")
@type_option
@click.option(
    "--id",
    "ids",
    metavar="ID",
    multiple=True,
    help="The entity to watch; may be repeated.  [default: all, new ones included]",
)
@json_option
@connection_options
def watch(connection: Connection, kind: str, ids: tuple[str, ...], as_json: bool) -> None:
    """Show positions as they come, until Ctrl-C.

    On a terminal it is a table that is kept up to date; elsewhere it is one line for each
    position.  --json prints the events as they are, one a line.  When the connection is lost,
    it is made again.
    """

    async def show() -> None:
        async with Api(connection) as api:
            with shown(f"{kind} at {connection.url}", as_json=as_json) as view:
                await Follower(connection, api, kind, ids, view).run()

    run_interruptibly(show())
