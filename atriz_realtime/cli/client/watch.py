"""``atriz-realtime watch``, and its displays: a live table, lines of text, or lines of JSON."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self

import click
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from atriz_realtime.cli.client.connection import Api, Target, run_interruptibly, target_options
from atriz_realtime.cli.client.watcher import Display, EntityWatcher
from atriz_realtime.cli.options import json_option, type_option
from atriz_realtime.cli.output import console, print_json

REFRESH_INTERVAL = 0.25
"""Seconds between two refreshes of the table."""

RATE_SAMPLES = 20
"""Refreshes over which updates per second are counted."""

_FRAME_LINES = 7
"""Lines that are not rows of the table, and one for the prompt."""


@click.command(short_help="Show positions as they arrive.")
@type_option
@click.option(
    "--id",
    "ids",
    metavar="ID",
    multiple=True,
    help="Entity to watch; may be repeated.  [default: all, new ones included]",
)
@json_option
@target_options
def watch(target: Target, kind: str, ids: tuple[str, ...], as_json: bool) -> None:
    """Show positions as they arrive, until Ctrl-C.

    A terminal shows a table that is updated in place; elsewhere each position is one line.
    With --json each event is printed as it is, one per line.  A lost connection is opened again.
    """

    async def show() -> None:
        async with Api(target) as api:
            with display(f"{kind} at {target.url}", as_json=as_json) as shown:
                await EntityWatcher(target, api, kind, ids, shown).run()

    run_interruptibly(show())


@contextmanager
def display(title: str, *, as_json: bool) -> Iterator[Display]:
    """The display for standard output, open for as long as the context lasts."""
    if not as_json and sys.stdout.isatty():
        with LiveTable(title) as table:
            yield table
    else:
        yield Lines(as_json=as_json)


class Lines:
    """Prints each event as a line of text or JSON, and the state to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._state = ""

    def update(self, event: dict[str, Any]) -> None:
        """Print an event as it is, or its time, entity, position, speed and heading."""
        if self._as_json:
            print_json(event)
            return
        location = event["location"]
        entity = f"{event['type']}:{event['entityId']}"
        click.echo(" ".join([location["timestamp"], entity, *_cells(location)]))

    def revoked(self, kind: str, entity_id: str) -> None:
        """Print that an entity may not be watched any longer."""
        click.echo(f"no longer allowed: {kind} {entity_id}", err=True)

    def state(self, text: str) -> None:
        """Print the state of the connection, if it has changed."""
        if text != self._state:
            self._state = text
            click.echo(text, err=True)


class LiveTable:
    """A table with a row for each entity, updated in place."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._state = "connecting"
        self._revoked = ""
        self._locations: dict[str, dict[str, Any]] = {}
        self._received = 0
        self._samples = deque([(time.monotonic(), 0)], maxlen=RATE_SAMPLES)
        self._console = console()
        self._live = Live(console=self._console, auto_refresh=False, get_renderable=self._table)

    def update(self, event: dict[str, Any]) -> None:
        """Show an event with the next refresh."""
        self._received += 1
        self._locations[event["entityId"]] = event["location"]

    def revoked(self, kind: str, entity_id: str) -> None:
        """Remove an entity with the next refresh, and say which was removed last."""
        self._locations.pop(entity_id, None)
        self._revoked = f"no longer allowed: {kind} {entity_id}"

    def state(self, text: str) -> None:
        """Show the state of the connection with the next refresh."""
        self._state = text

    def __enter__(self) -> Self:
        self._live.start()
        self._schedule()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._live.stop()

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(REFRESH_INTERVAL, self._refresh)

    def _refresh(self) -> None:
        self._samples.append((time.monotonic(), self._received))
        self._live.refresh()
        self._schedule()

    def _table(self) -> RenderableType:
        table = Table(box=SIMPLE_HEAD)
        table.add_column("entity")
        for column in ("latitude", "longitude", "km/h", "heading", "age"):
            table.add_column(column, justify="right")
        ids = sorted(self._locations, key=_natural)
        rows = max(1, self._console.height - _FRAME_LINES)
        now = datetime.now(UTC)
        for entity_id in ids[:rows]:
            location = self._locations[entity_id]
            table.add_row(Text(entity_id), *_cells(location), _age(location, now))
        below = [f"{len(ids) - rows:,} more"] if len(ids) > rows else []
        below += [self._state, f"{self._rate():,.1f} updates/s"]
        if self._revoked:
            below.append(self._revoked)
        return Group(
            Text(self._title, "bold"),
            table,
            Text("  ·  ".join(below), "dim", no_wrap=True, overflow="ellipsis"),
        )

    def _rate(self) -> float:
        (since, before), (now, total) = self._samples[0], self._samples[-1]
        return (total - before) / (now - since) if now > since else 0.0


def _cells(location: dict[str, Any]) -> list[str]:
    """Latitude, longitude, speed and heading as text."""
    speed, heading = location.get("speed"), location.get("heading")
    return [
        f"{location['latitude']:.5f}",
        f"{location['longitude']:.5f}",
        "-" if speed is None else f"{speed:.1f}",
        "-" if heading is None else f"{heading:.0f}°",
    ]


def _age(location: dict[str, Any], now: datetime) -> str:
    """The age of a fix, by the clocks of its device and of this machine."""
    seconds = max(0.0, (now - datetime.fromisoformat(location["timestamp"])).total_seconds())
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _natural(entity_id: str) -> list[tuple[int, str]]:
    """A sort key that puts ``v2`` before ``v10``."""
    return [
        (int(part[:18]), "") if part.isascii() and part.isdecimal() else (-1, part)
        for part in re.split(r"([0-9]+)", entity_id)
    ]
