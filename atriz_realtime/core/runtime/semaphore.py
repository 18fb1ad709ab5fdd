"""Limits on what happens at once, or in a turn of the loop, with weights."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from atriz_realtime.engine.loop_bound import LoopBound


class Rows:
    """Requests that wait: those of one owner in order, and the owners take turns."""

    def __init__(self) -> None:
        self._by_owner: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}
        """The first one has waited longest for its turn."""

    def __bool__(self) -> bool:
        return bool(self._by_owner)

    def add(self, owner: str, weight: int) -> asyncio.Future[None]:
        """Add a request; returns the future that is done when it is granted."""
        granted = asyncio.get_running_loop().create_future()
        self._by_owner.setdefault(owner, deque()).append((weight, granted))
        return granted

    def grant(self, most: int) -> int:
        """Grant the next request, if it weighs no more than so much.

        :returns: its weight; 0 when there is none, or it has to wait.
        """
        while self._by_owner:
            owner, row = next(iter(self._by_owner.items()))
            weight, granted = row[0]
            if weight > most and not granted.done():
                return 0
            row.popleft()
            del self._by_owner[owner]
            if row:
                self._by_owner[owner] = row  # after the others
            if not granted.done():  # it has not been cancelled
                granted.set_result(None)
                return weight
        return 0


class WeightedSemaphore:
    """Grants permits in the order in which they are asked for, by owners in turn.

    Nobody overtakes a larger request.

    :param permits: how many there are; no request may be larger.
    """

    def __init__(self, permits: int) -> None:
        self._free = permits
        self._waiting = Rows()

    async def acquire(self, permits: int, owner: str = "") -> None:
        """Take permits, as soon as so many are free.

        :param owner: whom the work is for.
        """
        if permits <= self._free and not self._waiting:
            self._free -= permits
            return
        granted = self._waiting.add(owner, permits)
        try:
            await granted
        except asyncio.CancelledError:
            if not granted.cancelled():  # it has its permits already
                self.release(permits)
            raise

    def release(self, permits: int) -> None:
        """Give permits back."""
        self._free += permits
        while taken := self._waiting.grant(self._free):
            self._free -= taken


SHORT_TURN = 0.004
"""Seconds that other work may take in a turn of the event loop before the turn has more steps of
:class:`TurnLimit`, in proportion: otherwise those who fill the turns would starve the others."""

MAX_STRETCH = 4
"""How many times as many steps a turn has at most, however long other work takes."""


class TurnLimit(LoopBound):
    """Lets so many steps happen in each turn of the event loop.

    Further ones wait, and their owners take turns, one step each.

    :param steps: how many, in a turn with up to :data:`SHORT_TURN` of other work.
    """

    def __init__(self, steps: int) -> None:
        self._steps = self._allowed = steps
        self._taken = 0
        self._began = 0.0
        self._first_step = 0.0
        self._waiting = Rows()

    async def step(self, weight: int = 1, owner: str = "") -> None:
        """Wait until the event loop has time for one more step.

        :param weight: how many steps it counts as: no more than all of a turn.
        :param owner: whom the work is for.
        """
        if not self._taken:
            self._begin(self._steps)
        if not self._waiting and self._taken + weight <= self._allowed:
            self._taken += weight
        else:
            await self._waiting.add(owner, weight)
        self._first_step = self._first_step or time.perf_counter()

    def _begin(self, allowed: int) -> None:
        self._allowed = allowed
        self._began, self._first_step = time.perf_counter(), 0.0
        self.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        # what came after the first step were steps: their time must not make for more of them
        others = (self._first_step or time.perf_counter()) - self._began
        allowed = round(self._steps * min(max(1.0, others / SHORT_TURN), MAX_STRETCH))
        self._taken = 0
        while weight := self._waiting.grant(allowed - self._taken):
            self._taken += weight
        if self._taken:
            self._begin(allowed)
