"""How ``watch`` shows what it receives: a live table, lines of text, or lines of JSON."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import click
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from atriz_realtime.cli.client.watcher import View
from atriz_realtime.cli.output import console, print_json

REFRESH = 0.25
"""Seconds between two looks of the table."""

RATE_SAMPLES = 20
"""Looks over which updates per second are counted."""

_AROUND_THE_ROWS = 7
"""Lines of the table that are no rows, and one for the prompt."""


@contextmanager
def shown(title: str, *, as_json: bool) -> Iterator[View]:
    """The view that suits standard output, for as long as the context lasts."""
    if as_json:
        yield JsonLines()
    elif sys.stdout.isatty():
        with LiveTable(title) as table:
            yield table
    else:
        yield TextLines()


class _Lines:
    """Views that write lines; the connection's state goes to standard error."""

    def __init__(self) -> None:
        self._state = ""

    def state(self, text: str) -> None:
        """Print it when it is news."""
        if text != self._state:
            self._state = text
            click.echo(text, err=True)


class JsonLines(_Lines):
    """One event a line, as it came."""

    def update(self, event: dict[str, Any]) -> None:
        """Print it."""
        print_json(event)


class TextLines(_Lines):
    """One event a line, for readers."""

    def update(self, event: dict[str, Any]) -> None:
        """Print it."""
        cells = _cells(event["location"])
        sys.stdout.write(
            f"{event['location']['timestamp']} {event['type']}:{event['entityId']} "
            f"{' '.join(cells).rstrip()}\n"
        )
        sys.stdout.flush()


class LiveTable:
    """A row for each entity, kept up to date in place."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._state = "connecting"
        self._locations: dict[str, dict[str, Any]] = {}
        self._received = 0
        self._samples = deque([(time.monotonic(), 0)], maxlen=RATE_SAMPLES)
        self._console = console()
        self._live = Live(console=self._console, auto_refresh=False, get_renderable=self._table)
        self._timer: asyncio.TimerHandle | None = None

    def update(self, event: dict[str, Any]) -> None:
        """Keep it for the next look."""
        self._received += 1
        self._locations[event["entityId"]] = event["location"]

    def state(self, text: str) -> None:
        """Keep it for the next look."""
        self._state = text

    def __enter__(self) -> Self:
        self._live.start()
        self._timer = asyncio.get_running_loop().call_later(REFRESH, self._refresh)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._live.stop()

    def _refresh(self) -> None:
        self._samples.append((time.monotonic(), self._received))
        self._live.refresh()
        self._timer = asyncio.get_running_loop().call_later(REFRESH, self._refresh)

    def _table(self) -> RenderableType:
        table = Table(box=SIMPLE_HEAD)
        table.add_column("entity")
        for column in ("latitude", "longitude", "km/h", "heading", "age"):
            table.add_column(column, justify="right")
        ids = sorted(self._locations, key=_natural)
        room = max(1, self._console.height - _AROUND_THE_ROWS)
        now = datetime.now(UTC)
        for entity_id in ids[:room]:
            location = self._locations[entity_id]
            table.add_row(Text(entity_id), *_cells(location), _age(location, now))
        below = [f"{len(ids) - room:,} more"] if len(ids) > room else []
        below += [self._state, f"{self._rate():,.1f} updates/s"]
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
    """How long ago the fix was, by the clocks of its device and of this machine."""
    seconds = max(0.0, (now - datetime.fromisoformat(location["timestamp"])).total_seconds())
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _natural(entity_id: str) -> list[tuple[int, str]]:
    """Sorts ``v2`` before ``v10``."""
    return [
        (int(part[:18]), "") if part.isascii() and part.isdecimal() else (-1, part)
        for part in re.split(r"([0-9]+)", entity_id)
    ]
