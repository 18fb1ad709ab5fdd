"""``atriz-realtime demo``."""

from __future__ import annotations

import secrets
import shlex
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from atriz_realtime.asgi import create_app
from atriz_realtime.cli import logs
from atriz_realtime.cli.addresses import bind, local_url, port_of
from atriz_realtime.cli.main import NAME
from atriz_realtime.cli.serving import uvicorn_server
from atriz_realtime.cli.token import minter
from atriz_realtime.demo import basemap, country, town
from atriz_realtime.demo.fleet import SHARED, USER, Fleet
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.server import RealtimeServer

TOKEN_TTL = 86_400
"""Seconds for which the printed token is valid; its secret ends with the process."""

BRAND = {"brand_name": "Shannon Parcels", "brand_colour": "#0b5d52"}
"""What the page of a shared link has at its top."""


@click.command(short_help="Run a server with a simulated fleet, on a live map.")
@click.option(
    "--host", metavar="HOST", default="127.0.0.1", show_default=True, help="Address to listen on."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    metavar="PORT",
    default=3001,
    show_default=True,
    help="Port to listen on; 0: any free port.",
)
@click.option(
    "--entities",
    type=click.IntRange(1, 10_000),
    metavar="N",
    default=200,
    show_default=True,
    help="Number of vehicles and deliveries.",
)
def demo(host: str, port: int, entities: int) -> None:
    """Run a server with simulated vehicles and deliveries, which drive in a town that resembles
    Limerick and on the roads to the towns around it.  A live map shows them, with streets.

    It needs no Redis and no configuration, and leaves nothing behind.  It makes its own secret,
    and pages of any origin may connect.  Each entity reports about once a second.
    """
    logs.configure()
    with TemporaryDirectory(prefix=f"{NAME}-") as folder:
        _run(host, port, entities, Path(folder) / "demo.pmtiles")


def _run(host: str, port: int, entities: int, streets: Path) -> None:
    """Run the demo.

    :param streets: the file of the map, which does not exist yet.
    """
    sockets = bind(host, port)
    port = port_of(sockets)
    url = local_url(host, port)
    town_streets, roads = town.build(), country.build(town.SEED)
    basemap.write(streets, town_streets, roads, town.SEED)
    config = RealtimeConfig(
        basemap=str(streets),
        host=host,
        port=port,
        jwt_secret=secrets.token_urlsafe(48),
        cors_origin="*",
        throttle_interval=0,
        plugins={
            "console": {"enabled": True},
            "sharing": {"url": url, "fields": {key: key for key in SHARED}} | BRAND,
        },
    )
    app = create_app(config)
    server: RealtimeServer = app.state.realtime
    fleet = Fleet(entities, town_streets, town.SEED, roads)
    token = minter(config, USER, TOKEN_TTL)()

    def ready() -> None:
        uvicorn_server.announce(server, url, "made for the demo")
        click.echo(
            f"\nlive map:\n  {url}/console#token={token}\n\n"
            f"{len(fleet.entities):,} vehicles and deliveries at {url}\n\n"
            f"token:\n  {token}\n\n"
            f"watch them:\n  {_program()} watch --type vehicle --url {url} --token {token}\n\n"
            f"share one:\n  {_program()} share delivery d1 --for 2h --url {url} --token {token}\n"
        )

    uvicorn_server.run(
        app,
        sockets,
        ready=ready,
        companion=lambda: fleet.run(server.tracking.publish_location_update),
    )


def _program() -> str:
    """What to type in another terminal to run this program: its name, if that finds it."""
    script = Path(sys.executable).with_name(NAME)
    found = shutil.which(NAME)
    if not script.exists() or (found is not None and script.samefile(found)):
        return NAME
    return shlex.quote(str(script))
