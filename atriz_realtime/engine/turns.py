"""Limits how long the packets of clients keep the event loop from everybody else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter

from atriz_realtime.engine.loop_bound import LoopBound

TURN_SECONDS = 0.001
"""Seconds that the packets of all clients may keep the event loop, and as many for messages and
requests that have waited for a turn; those that are left are handled in later turns, in order."""

SHARE = 0.25
"""The part of the time that the rest of the turn before took, which each of the two gets if it is
more than ``TURN_SECONDS``: other work that makes turns long does not starve them."""

TASKS_PER_TURN = 16
"""The most tasks that continue in one turn.  Those that find no time left in it wait for the
next."""


class TurnQueue(LoopBound):
    """Calls functions in order, for :data:`TURN_SECONDS` in each turn of the event loop.

    What many clients ask for at once then keeps the loop no longer than what one client asks for.
    Tasks that wait have as much time in each turn as the functions.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._tasks: deque[asyncio.Future[None]] = deque()
        self._ends: float | None = None  # of this turn, once it has begun
        self._seconds = 0.0  # what it is given
        self._tasks_end: float | None = None  # once a task has gone on in this turn
        self._late = 0  # tasks that had no time in this turn

    @property
    def is_over(self) -> bool:
        """Whether no time is left in this turn: what is unfinished has to wait for another."""
        ends = self._ends or self._begin()
        return perf_counter() >= ends

    def call(self, function: Callable[[], None]) -> None:
        """Call a function: now, or in a later turn when no time is left in this one."""
        if self._ends is None:
            self._begin()
        elif self._waiting or self.is_over:
            self._waiting.append(function)
            return
        function()

    def defer(self, function: Callable[[], None]) -> None:
        """Call a function in a later turn."""
        if self._ends is None:
            self._begin()
        self._waiting.append(function)

    async def next(self) -> None:
        """Wait for another turn, after the tasks that wait already."""
        if self._ends is None:
            self._begin()
        place = len(self._tasks)
        while True:
            begins = self.loop.create_future()
            self._tasks.insert(place, begins)
            await begins
            now = perf_counter()
            if self._tasks_end is None:
                self._tasks_end = now + self._seconds
                return
            if now < self._tasks_end:
                return
            place = self._late
            self._late += 1

    def _begin(self, share: float = 0.0) -> float:
        self._seconds = max(TURN_SECONDS, share)
        ends = self._ends = perf_counter() + self._seconds
        self.loop.call_soon(self._next, ends)
        return ends

    def _next(self, ended: float) -> None:
        self._ends = None
        if not (self._waiting or self._tasks):
            return
        self._tasks_end, self._late = None, 0
        resumed = 0
        while self._tasks and resumed < TASKS_PER_TURN:
            task = self._tasks.popleft()
            if not task.done():  # it was not cancelled
                task.set_result(None)
                resumed += 1
        self._begin(SHARE * (perf_counter() - ended))  # after the tasks: its end follows theirs
        while self._waiting:
            self._waiting.popleft()()
            if self.is_over:
                return
