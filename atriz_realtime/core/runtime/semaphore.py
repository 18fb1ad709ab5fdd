"""Limits on what happens at once, or in a turn of the loop, with weights."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from atriz_realtime.engine.loop_bound import LoopBound


class WeightedSemaphore:
    """Grants permits in the order in which they are asked for: nobody overtakes a larger request.

    :param permits: how many there are; no request may be larger.
    """

    def __init__(self, permits: int) -> None:
        self._free = permits
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def acquire(self, permits: int) -> None:
        """Take permits, as soon as so many are free."""
        if permits <= self._free and not self._waiting:
            self._free -= permits
            return
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append((permits, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if not granted.cancelled():  # it has its permits already
                self.release(permits)
            raise

    def release(self, permits: int) -> None:
        """Give permits back."""
        self._free += permits
        while self._waiting and self._waiting[0][0] <= self._free:
            wanted, granted = self._waiting.popleft()
            if not granted.done():
                self._free -= wanted
                granted.set_result(None)


SHORT_TURN = 0.004
"""Seconds of a turn of the event loop up to which it has the steps of :class:`TurnLimit`, and a
longer one proportionally more: otherwise those who fill the turns would starve the others."""


class TurnLimit(LoopBound):
    """Lets so many steps happen in each turn of the event loop; further ones wait, in order.

    :param steps: how many, in a turn of up to :data:`SHORT_TURN`.
    """

    def __init__(self, steps: int) -> None:
        self._steps = self._allowed = steps
        self._taken = 0
        self._began = 0.0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def step(self, weight: int = 1) -> None:
        """Wait until the event loop has time for one more step.

        :param weight: how many steps it counts as: no more than all of a turn.
        """
        if not self._taken:
            self._begin(self._steps)
        if not self._waiting and self._taken + weight <= self._allowed:
            self._taken += weight
            return
        granted = self.loop.create_future()
        self._waiting.append((weight, granted))
        await granted

    def _begin(self, allowed: int) -> None:
        self._allowed = allowed
        self._began = time.perf_counter()
        self.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        lasted = time.perf_counter() - self._began
        allowed = round(self._steps * max(1.0, lasted / SHORT_TURN))
        self._taken = 0
        while self._waiting and self._taken + self._waiting[0][0] <= allowed:
            weight, granted = self._waiting.popleft()
            if not granted.done():
                granted.set_result(None)
                self._taken += weight
        if self._taken:
            self._begin(allowed)
