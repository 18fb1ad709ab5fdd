"""Limits how long the packets of clients keep the event loop from everybody else."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from atriz_realtime.engine.loop_bound import LoopBound

TURN_SECONDS = 0.001
"""Seconds that the packets of one client may keep the event loop, or what all clients post; those
that are left are handled in a later turn of it, in order."""


TASKS_PER_TURN = 16
"""Clients of whose waiting messages at least one is handled in each turn of the event loop, even
when no time is left in it."""


class Turn:
    """The time that one client has in a turn of the event loop."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends = time.perf_counter() + TURN_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether others have to run first."""
        return time.perf_counter() >= self._ends

    async def next(self) -> None:
        """Let others run, and begin the next turn."""
        await asyncio.sleep(0)
        self._ends = time.perf_counter() + TURN_SECONDS


class TurnQueue(LoopBound):
    """Calls functions in order, for :data:`TURN_SECONDS` in each turn of the event loop.

    What many clients ask for at once then keeps the loop no longer than what one client asks for.
    Tasks share the turns with the functions.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._tasks: deque[asyncio.Future[None]] = deque()
        self._turn: Turn | None = None

    @property
    def is_over(self) -> bool:
        """Whether no time is left in this turn: what is unfinished has to wait for another."""
        return (self._turn or self._begin()).is_over

    def call(self, function: Callable[[], None]) -> None:
        """Call a function: now, or in a later turn when no time is left in this one."""
        if self._turn is None:
            self._begin()
        elif self._waiting or self._turn.is_over:
            self._waiting.append(function)
            return
        function()

    async def next(self) -> None:
        """Wait for another turn, after the tasks that wait already."""
        begins = self.loop.create_future()
        self._tasks.append(begins)
        await begins

    def _begin(self) -> Turn:
        turn = self._turn = Turn()
        self.loop.call_soon(self._next)
        return turn

    def _next(self) -> None:
        self._turn = None
        if self._waiting or self._tasks:
            turn = self._begin()
            for _ in range(min(len(self._tasks), TASKS_PER_TURN)):
                task = self._tasks.popleft()
                if not task.done():
                    task.set_result(None)
            while self._waiting:
                self._waiting.popleft()()
                if turn.is_over:
                    return
