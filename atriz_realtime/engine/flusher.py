"""Decides when packets are written: together, and not too often.

Everything sent to a session within one turn of the event loop leaves in one write.  A busy
server gathers more for each write instead of writing more often: the next flush waits as long
as the last one took, then for a turn of the loop that has nothing else to do, up to
``MAX_DELAY_FACTOR`` times as long as the last one took.  An idle server flushes at once.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from atriz_realtime.engine.loop_bound import LoopBound
from atriz_realtime.engine.session import Session

MAX_DELAY_FACTOR = 4
"""A flush is delayed at most this many times as long as the last one took, while the loop has
other work: a busy server spends at least a fifth of its time on writing."""

MAX_PAUSE = 0.02
"""Seconds that a flush is delayed at most because the last one took long."""

IDLE_TURN = 10e-6
"""Seconds that a turn of the loop takes at most when it has nothing to do: on uvloop it takes
a millionth."""


class Flusher(LoopBound):
    """Flushes the sessions that ask for it.

    :param interval: seconds between two flushes at least, besides the pacing above.
    """

    def __init__(self, interval: float = 0.0) -> None:
        self._interval = interval
        self._waiting: list[Session] = []
        self._not_before = 0.0
        self._no_later_than = 0.0
        self._last_turn = 0.0
        self._handle: asyncio.Handle | None = None

    def add(self, session: Session) -> None:
        """Flush a session soon; it must not ask again before it is flushed."""
        self._waiting.append(session)
        if self._handle is None:
            pause = self._not_before - perf_counter()
            if pause > 0:
                self._handle = self.loop.call_later(pause, self._turn)
            else:
                self._handle = self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Flush, or wait one more turn of the loop while it is busy and there is time."""
        now = perf_counter()
        is_busy = now - self._last_turn > IDLE_TURN
        self._last_turn = now
        if is_busy and now < self._no_later_than:
            self._handle = self.loop.call_soon(self._turn)
            return
        self._handle = None
        waiting, self._waiting = self._waiting, []
        for session in waiting:
            session.flush()
        ended = perf_counter()
        took = ended - now
        self._not_before = ended + max(self._interval, min(took, MAX_PAUSE))
        self._no_later_than = ended + min(MAX_DELAY_FACTOR * took, MAX_PAUSE)
