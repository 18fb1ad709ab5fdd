"""Sessions that have yet to connect to a namespace, and how long they may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Unconnected:
    """The sessions that are in no namespace.

    :param timeout: seconds that each has; 0: forever.
    :param overdue: called with the id of one whose time is over.
    """

    def __init__(self, timeout: float, overdue: Callable[[str], None]) -> None:
        self._timeout = timeout
        self._overdue = overdue
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def began(self, eio_sid: str) -> None:
        """Give a session its time, unless it runs already."""
        if self._timeout and eio_sid not in self._timers:
            self._timers[eio_sid] = asyncio.get_running_loop().call_later(
                self._timeout, self._over, eio_sid
            )

    def arrived(self, eio_sid: str) -> None:
        """Wait no longer for a session: it is connected, or gone."""
        timer = self._timers.pop(eio_sid, None)
        if timer is not None:
            timer.cancel()

    def _over(self, eio_sid: str) -> None:
        if self._timers.pop(eio_sid, None) is not None:
            self._overdue(eio_sid)
