"""Pings for all sessions, with two timers: for the next ping, and the next missing pong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atriz_realtime.engine.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable

    from atriz_realtime.engine.session import Session


class Heartbeat:
    """Pings sessions, and tells of those that do not answer.

    :param interval: seconds from the opening, or the last pong, to the next ping.
    :param timeout: seconds that a pong may take.
    :param expired: called with a session whose pong has not come.
    """

    def __init__(self, interval: float, timeout: float, expired: Callable[[Session], None]) -> None:
        self._pings = Deadlines(interval, self._ping)
        self._pongs = Deadlines(timeout, expired)

    def start(self, session: Session) -> None:
        """Ping a session an interval from now."""
        self._pings.begin(session)

    def pong(self, session: Session) -> None:
        """Take a session's pong; one that was not asked for is nothing."""
        if self._pongs.end(session):
            self._pings.begin(session)

    def check(self, session: Session) -> None:
        """Tell now of a session whose pong has not come, rather than in a moment."""
        self._pongs.check(session)

    def stop(self, session: Session) -> None:
        """Forget a session."""
        self._pings.end(session)
        self._pongs.end(session)

    def close(self) -> None:
        """Stop."""
        self._pings.close()
        self._pongs.close()

    def _ping(self, session: Session) -> None:
        self._pongs.begin(session)
        session.ping()
