"""Deadlines for many items that all have the same timeout, with one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from atriz_realtime.engine.loop_bound import LoopBound

Item = TypeVar("Item")

MIN_PAUSE = 0.01
"""Seconds between two checks of the deadlines at least, so that one check serves many items."""


class Deadlines(LoopBound, Generic[Item]):
    """Calls back for each item that is not ended within the timeout.

    :param timeout: seconds that each item has; 0: no limit.
    :param overdue: called with an item whose deadline has passed, and with that deadline, which
        the timer notices late; must not raise.
    """

    def __init__(self, timeout: float, overdue: Callable[[Item, float], None]) -> None:
        self._timeout = timeout
        self._overdue = overdue
        self._due: dict[Item, float] = {}  # in the order of their deadlines
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def begin(self, item: Item, since: float = 0.0) -> None:
        """Set an item's deadline, unless it has one.

        :param since: when its time began, in the loop's time, if that was earlier.  At least half
            of the timeout remains, so that a process that was suspended does not end all items.
        """
        if self._timeout and item not in self._due and not self._closed:
            now = self.loop.time()
            began = max(since, now - self._timeout / 2) if since else now
            due = self._due[item] = began + self._timeout
            if self._timer is None:
                self._timer = self.loop.call_at(due, self._check_all)

    def end(self, item: Item) -> bool:
        """Remove an item's deadline; returns whether it had one."""
        return self._due.pop(item, None) is not None

    def check(self, item: Item) -> None:
        """Call back for an item now if its deadline has passed, without waiting for the timer."""
        due = self._due.get(item)
        if due is not None and due <= self.loop.time():
            self._expire(item, due)

    def close(self) -> None:
        """Remove all deadlines, and set none from now on."""
        self._closed = True
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _check_all(self) -> None:
        self._timer = None
        now, overdue = self.loop.time(), []
        for item, due in self._due.items():
            if due > now:
                self._timer = self.loop.call_at(max(due, now + MIN_PAUSE), self._check_all)
                break
            overdue.append((item, due))
        for item, due in overdue:
            self._expire(item, due)

    def _expire(self, item: Item, due: float) -> None:
        if self.end(item):
            self._overdue(item, due)
