"""Limits how long the packets of clients keep the event loop from everybody else."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from atriz_realtime.engine.loop_bound import LoopBound

TURN_SECONDS = 0.001
"""Seconds that the packets of one client may keep the event loop; those that are left are handled
in a later turn of it, in order."""


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

    What many clients send at once then keeps the loop no longer than what one client sends.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._turn: Turn | None = None

    def call(self, function: Callable[[], None]) -> None:
        """Call a function: now, or in a later turn when no time is left in this one."""
        if self._turn is None:
            self._begin()
        elif self._waiting or self._turn.is_over:
            self._waiting.append(function)
            return
        function()

    def _begin(self) -> Turn:
        turn = self._turn = Turn()
        self.loop.call_soon(self._next)
        return turn

    def _next(self) -> None:
        self._turn = None
        if self._waiting:
            turn = self._begin()
            self._waiting.popleft()()
            while self._waiting and not turn.is_over:
                self._waiting.popleft()()
