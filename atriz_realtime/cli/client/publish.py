"""``atriz-realtime publish``."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from atriz_realtime.cli.client.connection import Api, Target, target_options
from atriz_realtime.cli.options import type_option


def read_metadata(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parse a JSON object."""
    if value is None:
        return None
    try:
        metadata = json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise click.BadParameter('must be a JSON object such as \'{"driver": "Ann"}\'')
    return metadata


@click.command(
    short_help="Publish one position.",
    epilog="\b\nExample:\n  atriz-realtime publish --id v1 --lat 52.6638 --lon -8.6267 --speed 42",
)
@type_option
@click.option("--id", "entity_id", metavar="ID", required=True, help="The entity's id.")
@click.option("--lat", "latitude", type=float, required=True, help="Degrees north.")
@click.option("--lon", "longitude", type=float, required=True, help="Degrees east.")
@click.option("--speed", type=float, help="km/h.")
@click.option("--heading", type=float, help="Degrees clockwise from north.")
@click.option("--accuracy", type=float, help="Metres.")
@click.option("--altitude", type=float, help="Metres.")
@click.option("--timestamp", help="ISO 8601 with a time zone.  [default: now]")
@click.option("--metadata", metavar="JSON", callback=read_metadata, help="A JSON object.")
@target_options
def publish(target: Target, kind: str, entity_id: str, **fields: Any) -> None:
    """Publish one position of an entity, as its device would."""
    update = {"type": kind, "entityId": entity_id}
    update |= {name: value for name, value in fields.items() if value is not None}

    async def send() -> str:
        async with Api(target) as api:
            answer = await api.publish(update)
        outcome = "throttled" if answer.get("throttled") else "published"
        return f"{outcome} {kind}:{entity_id} {answer['timestamp']}"

    click.echo(asyncio.run(send()))
