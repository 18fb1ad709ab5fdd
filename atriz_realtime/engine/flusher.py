"""When frames leave: together, and not too often.

Whatever is sent to a socket within one turn of the loop leaves in one write.  A server that
is busy gathers more for each write instead of writing more often: after a flush the next
waits as long as the last one took, and from then on for a turn of the loop that has nothing
else to do, up to a few times as long.  The delay is nothing while there is little to do.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Protocol

from atriz_realtime.engine.loop_bound import LoopBound

PATIENCE = 4
"""Times as long as a flush took that the next is put off at most, while there is something
else to do: a busy server writes for a fifth of its time."""

MAX_PAUSE = 0.02
"""Seconds that a flush is put off at most because the last one took long."""

IDLE_TURN = 10e-6
"""Seconds that a turn of the loop may take in which there is nothing to do: on uvloop it takes
a millionth."""


class Flushable(Protocol):
    """Something with packets to write."""

    def flush(self) -> None:
        """Write them; must not raise."""


class Flusher(LoopBound):
    """Flushes whatever asks for it.

    :param interval: seconds between two flushes at least; 0: only what the pacing above adds.
    """

    def __init__(self, interval: float = 0.0) -> None:
        self._interval = interval
        self._waiting: list[Flushable] = []
        self._not_before = 0.0
        self._no_later_than = 0.0
        self._looked = 0.0
        self._handle: asyncio.Handle | None = None

    def add(self, one: Flushable) -> None:
        """Flush it soon; it asks once until it has been flushed."""
        self._waiting.append(one)
        if self._handle is None:
            pause = self._not_before - perf_counter()
            if pause > 0:
                self._handle = self.loop.call_later(pause, self._look)
            else:
                self._handle = self.loop.call_soon(self._look)

    def _look(self) -> None:
        """Flush, unless the loop has something else to do, and time for it."""
        now = perf_counter()
        is_busy = now - self._looked > IDLE_TURN
        self._looked = now
        if is_busy and now < self._no_later_than:
            self._handle = self.loop.call_soon(self._look)
        else:
            self._flush(now)

    def _flush(self, begun: float) -> None:
        self._handle = None
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.flush()
        ended = perf_counter()
        took = ended - begun
        self._not_before = ended + max(self._interval, min(took, MAX_PAUSE))
        self._no_later_than = ended + min(PATIENCE * took, MAX_PAUSE)
