"""Pings for all sessions with two timers: one for the next ping, one for the next late pong."""

from __future__ import annotations

from collections.abc import Callable

from atriz_realtime.engine.deadlines import Deadlines
from atriz_realtime.engine.session import Session


class Heartbeat:
    """Pings sessions, and calls back for those that do not answer.

    :param interval: seconds from the opening, or from the last pong, to the next ping.
    :param timeout: seconds that a pong may take.
    :param expired: called with a session whose pong is late.
    """

    def __init__(self, interval: float, timeout: float, expired: Callable[[Session], None]) -> None:
        self._pings = Deadlines(interval, self._ping)
        self._pongs = Deadlines(timeout, expired)

    def start(self, session: Session) -> None:
        """Ping a session from now on, the first time an interval from now."""
        self._pings.begin(session)

    def pong(self, session: Session) -> None:
        """Accept a session's pong; one that answers no ping is ignored."""
        if self._pongs.end(session):
            self._pings.begin(session)

    def check(self, session: Session) -> None:
        """Expire a session now if its pong is late, without waiting for the timer."""
        self._pongs.check(session)

    def stop(self, session: Session) -> None:
        """Ping a session no more."""
        self._pings.end(session)
        self._pongs.end(session)

    def close(self) -> None:
        """Ping no session any more."""
        self._pings.close()
        self._pongs.close()

    def _ping(self, session: Session) -> None:
        self._pongs.begin(session)
        session.ping()
