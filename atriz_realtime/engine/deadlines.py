"""Deadlines of many who have the same time for something each, with one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from atriz_realtime.engine.loop_bound import LoopBound

Who = TypeVar("Who")

LEAST_PAUSE = 0.01
"""Seconds between two looks at the deadlines at least, so that one look serves many."""


class Deadlines(LoopBound, Generic[Who]):
    """Those whose time runs.

    :param timeout: seconds that each has; 0: forever.
    :param overdue: called with one whose time is over; must not raise.
    """

    def __init__(self, timeout: float, overdue: Callable[[Who], None]) -> None:
        self._timeout = timeout
        self._overdue = overdue
        self._due: dict[Who, float] = {}  # whoever began first is due first
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def begin(self, who: Who) -> None:
        """Let the time of one run, unless it runs already."""
        if self._timeout and who not in self._due and not self._closed:
            self._due[who] = self.loop.time() + self._timeout
            if self._timer is None:
                self._timer = self.loop.call_later(self._timeout, self._look)

    def end(self, who: Who) -> bool:
        """Wait no longer for one; whether its time ran."""
        return self._due.pop(who, None) is not None

    def check(self, who: Who) -> None:
        """Tell of one whose time is over now, rather than in a moment."""
        due = self._due.get(who)
        if due is not None and due <= self.loop.time():
            self._tell(who)

    def close(self) -> None:
        """Wait for nobody any more."""
        self._closed = True
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        now, overdue = self.loop.time(), []
        for who, due in self._due.items():
            if due > now:
                self._timer = self.loop.call_at(max(due, now + LEAST_PAUSE), self._look)
                break
            overdue.append(who)
        for who in overdue:
            self._tell(who)

    def _tell(self, who: Who) -> None:
        if self.end(who):
            self._overdue(who)
