"""Pings for all sessions, with one timer.

Every session has the same interval and the same timeout, so the next ping and the next
missing pong are always at the front of a queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from atriz_realtime.engine.loops import OnLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from atriz_realtime.engine.session import Session

LEAST_PAUSE = 0.01
"""Seconds between two looks at the queues at least, so that one look serves many sessions."""


class Heartbeat(OnLoop):
    """Pings sessions, and tells of those that do not answer.

    :param interval: seconds from the opening, or the last pong, to the next ping.
    :param timeout: seconds that a pong may take.
    :param expired: called with a session whose pong has not come.
    """

    def __init__(self, interval: float, timeout: float, expired: Callable[[Session], None]) -> None:
        self._interval = interval
        self._timeout = timeout
        self._expired = expired
        self._pings: deque[tuple[float, Session]] = deque()
        self._pongs: deque[tuple[float, Session]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._next_look = 0.0
        self._closed = False

    def start(self, session: Session) -> None:
        """Ping a session an interval from now."""
        due = self.loop.time() + self._interval
        self._pings.append((due, session))
        if self._timer is None or due < self._next_look:  # pongs may take longer than pings wait
            self._schedule()

    def pong(self, session: Session) -> None:
        """Take a session's pong; one that was not asked for is nothing."""
        if session.pong_due:
            session.pong_due = 0.0
            self.start(session)

    def check(self, session: Session) -> None:
        """Tell now of a session whose pong has not come, rather than in a moment."""
        if 0.0 < session.pong_due <= self.loop.time():
            self._expired(session)

    def close(self) -> None:
        """Stop."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._pings.clear()
        self._pongs.clear()

    def _schedule(self) -> None:
        due = [queue[0][0] for queue in (self._pings, self._pongs) if queue]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due and not self._closed:
            self._next_look = max(min(due), self.loop.time() + LEAST_PAUSE)
            self._timer = self.loop.call_at(self._next_look, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self.loop.time()
        pings, pongs = self._pings, self._pongs
        while pongs and pongs[0][0] <= now:
            due, session = pongs.popleft()
            if session.pong_due == due:
                self._expired(session)
        while pings and pings[0][0] <= now:
            due, session = pings.popleft()
            if session.is_open:
                session.pong_due = max(due, now - LEAST_PAUSE) + self._timeout
                session.ping()
                pongs.append((session.pong_due, session))
        self._schedule()
