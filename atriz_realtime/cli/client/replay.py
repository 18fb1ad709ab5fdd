"""``atriz-realtime replay``."""

from __future__ import annotations

import asyncio
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from atriz_realtime.api.model import format_timestamp
from atriz_realtime.cli.client.connection import (
    Api,
    Refused,
    Target,
    Unreachable,
    run_interruptibly,
    target_options,
)
from atriz_realtime.cli.client.tracks import RecordedFix, read_track, spacing
from atriz_realtime.cli.options import type_option
from atriz_realtime.cli.output import console

RETRY_FOR = 60.0
"""Seconds after which a run gives up on a server that does not answer."""

BACKOFF_FIRST = 0.1
BACKOFF_MOST = 5.0
"""Seconds before another attempt: the first, doubled each time up to the most."""

FATAL = frozenset(
    {"not_authenticated", "invalid_token", "unauthorized", "unknown_type", "invalid_entity_id"}
)
"""Codes of refusals that would meet every fix of the run; they end it."""


@attrs.define
class Tally:
    """How many fixes the server took, and how many it refused."""

    accepted: int = 0
    throttled: int = 0
    """Accepted too, but not sent to watchers, since an earlier fix had just been."""
    refused: int = 0

    @property
    def answered(self) -> int:
        """All fixes that the server answered."""
        return self.accepted + self.throttled + self.refused

    def __str__(self) -> str:
        return f"{self.accepted:,} accepted, {self.throttled:,} throttled, {self.refused:,} refused"


@attrs.frozen
class Replay:
    """Sends the fixes of a track in order, each when it is due and the one before is confirmed."""

    _api: Api
    _tally: Tally
    _kind: str
    _entity_id: str
    _speed: float
    """The spacing of the fixes is divided by it."""
    _keep_times: bool
    """Whether to send the recorded times instead of the current time."""
    _report: Callable[[str], None]
    """Called with one line for each fix that the server refuses."""
    _progress: Callable[[Tally], None]
    """Called after each answer."""
    _retry_for: float = RETRY_FOR
    """Seconds for which it tries to reach a server that does not answer."""

    async def run(self, fixes: Sequence[RecordedFix], *, loop: bool) -> None:
        """Send all fixes, once or in an endless loop.

        Due times count from the start, so that delays do not add up; an overdue fix is sent
        at once.

        :raises Refused: for a refusal that would meet every fix.
        :raises Unreachable: when the server does not answer for ``retry_for`` seconds.
        """
        offsets = spacing(fixes)
        last_gap = offsets[-1] - offsets[-2] if len(offsets) > 1 else 0.0
        lap = offsets[-1] + (last_gap or 1.0)
        clock = asyncio.get_running_loop().time
        start = clock()
        for number in itertools.count() if loop else range(1):
            for index, (fix, offset) in enumerate(zip(fixes, offsets, strict=True), 1):
                due = start + (number * lap + offset) / self._speed
                await asyncio.sleep(max(0.0, due - clock()))
                await self._send(index, fix)

    async def _send(self, index: int, fix: RecordedFix) -> None:
        try:
            throttled = await self._confirmed(fix)
        except Refused as refusal:
            if refusal.temporary or refusal.code in FATAL or refusal.code.startswith("http_"):
                raise
            self._tally.refused += 1
            field = f" {refusal.field}" if refusal.field else ""
            self._report(f"fix {index} refused: {refusal.code}{field}: {refusal.reason}")
        else:
            self._tally.throttled += throttled
            self._tally.accepted += not throttled
        self._progress(self._tally)

    async def _confirmed(self, fix: RecordedFix) -> bool:
        """Send one fix until the server answers; returns whether it was throttled."""
        clock = asyncio.get_running_loop().time
        give_up = math.inf
        pause = BACKOFF_FIRST
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = await self._api.publish(self._update(fix))
            except (Refused, Unreachable) as error:
                if isinstance(error, Refused) and not error.temporary:
                    raise
                if attempt == 1:  # usually just a keep-alive connection that the server closed
                    give_up = clock() + self._retry_for
                elif attempt == 2:
                    self._report(f"{error.message}; trying again for {self._retry_for:g} s")
                if clock() + pause > give_up:
                    raise
            else:
                return bool(answer.get("throttled"))
            await asyncio.sleep(pause)
            pause = min(pause * 2, BACKOFF_MOST)

    def _update(self, fix: RecordedFix) -> dict[str, Any]:
        moment = fix.time if self._keep_times and fix.time is not None else datetime.now(UTC)
        return {
            "type": self._kind,
            "entityId": self._entity_id,
            **fix.values,
            "timestamp": format_timestamp(moment),
        }


@contextmanager
def _progress(
    title: str, total: int | None
) -> Iterator[tuple[Callable[[str], None], Callable[[Tally], None]]]:
    """Functions that show reports and progress: a bar on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield lambda line: click.echo(line, err=True), lambda _: None
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[tally]}", markup=False),
        console=console(stderr=True),
    )
    with bar:
        task = bar.add_task(title, total=total, tally=Tally())
        yield (
            bar.console.print,
            lambda tally: bar.update(task, completed=tally.answered, tally=tally),
        )


def read_speed(_: click.Context, __: click.Parameter, value: float) -> float:
    """Check that a factor is over zero."""
    if not 0 < value < math.inf:  # false for NaN as well
        raise click.BadParameter("must be over 0")
    return value


@click.command(short_help="Send a recorded track, as the device that recorded it would.")
@click.argument("track", type=click.Path(path_type=Path), metavar="FILE")
@type_option
@click.option("--id", "entity_id", metavar="ID", help="The entity's id.  [default: FILE's name]")
@click.option(
    "--speed",
    type=float,
    default=1.0,
    show_default=True,
    callback=read_speed,
    help="Factor by which to speed up the track.",
)
@click.option("--loop", is_flag=True, help="Start again at the end, until Ctrl-C.")
@click.option(
    "--keep-times", is_flag=True, help="Send the recorded times instead of the current time."
)
@target_options
def replay(
    target: Target,
    track: Path,
    kind: str,
    entity_id: str | None,
    speed: float,
    loop: bool,
    keep_times: bool,
) -> None:
    """Send the fixes of FILE in order, with their recorded spacing divided by --speed.

    FILE is GPX, GeoJSON (LineString, MultiLineString or Point features; times in coordTimes,
    times or time) or CSV with a header: lat, lon, and optionally time, speed (km/h), heading,
    accuracy and altitude.  Fixes without times are sent a second apart.

    Each fix is confirmed before the next is sent.  A fix that the server refuses is reported,
    and the run goes on; the exit status is 0 only if all were accepted.
    """
    fixes = read_track(track)
    if keep_times and all(fix.time is None for fix in fixes):
        raise click.UsageError(f"--keep-times: {track} has no times")
    entity_id = track.stem if entity_id is None else entity_id
    tally = Tally()

    async def send() -> None:
        async with Api(target) as api:
            run = Replay(
                api, tally, kind, entity_id, speed, keep_times, report=report, progress=progress
            )
            await run.run(fixes, loop=loop)

    started = time.monotonic()
    try:
        total = None if loop else len(fixes)
        with _progress(f"{kind}:{entity_id}", total) as (report, progress):
            done = run_interruptibly(send())
    finally:
        if tally.answered:
            seconds = time.monotonic() - started
            rate = tally.answered / seconds
            click.echo(f"{tally.answered:,} fixes in {seconds:.1f} s ({rate:,.0f}/s): {tally}")
    if tally.refused:
        raise click.exceptions.Exit(1)
    if not done and not loop:
        raise KeyboardInterrupt
