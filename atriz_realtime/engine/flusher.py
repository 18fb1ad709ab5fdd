"""When frames leave: together, at the end of a turn of the loop, and not too often.

Whatever is sent to a socket within one turn leaves in one write.  After a flush the next
waits as long as the last one took, so that a server that is busy writing gathers more for
each write instead of writing more often: the delay is nothing while there is little to do,
and never more than doubles what the writing itself costs.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Protocol

from atriz_realtime.engine.loops import OnLoop

MAX_PAUSE = 0.02
"""Seconds that a flush is put off at most because the last one took long."""


class Flushable(Protocol):
    """Something with packets to write."""

    def flush(self) -> None:
        """Write them; must not raise."""


class Flusher(OnLoop):
    """Flushes whatever asks for it.

    :param interval: seconds between two flushes at least; 0: only what the pacing above adds.
    """

    def __init__(self, interval: float = 0.0) -> None:
        self._interval = interval
        self._waiting: list[Flushable] = []
        self._not_before = 0.0
        self._handle: asyncio.Handle | None = None

    def add(self, one: Flushable) -> None:
        """Flush it soon; it asks once until it has been flushed."""
        self._waiting.append(one)
        if self._handle is None:
            pause = self._not_before - perf_counter()
            if pause > 0:
                self._handle = self.loop.call_later(pause, self._flush)
            else:
                self._handle = self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._handle = None
        waiting, self._waiting = self._waiting, []
        begun = perf_counter()
        for one in waiting:
            one.flush()
        ended = perf_counter()
        self._not_before = ended + max(self._interval, min(ended - begun, MAX_PAUSE))
