"""Counts the turns of the event loop, and keeps the turns of packets from coming."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from atriz_realtime.engine.turns import TurnQueue


@asynccontextmanager
async def counting_turns() -> AsyncIterator[list[int]]:
    """Count the turns; yields a list with their number so far."""
    turn = [0]

    async def count() -> None:
        while True:
            await asyncio.sleep(0)
            turn[0] += 1

    counting = asyncio.create_task(count())
    try:
        yield turn
    finally:
        counting.cancel()


class HeldTurns(TurnQueue):
    """Turns that do not come before the test calls what it finds in ``held``."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Callable[[], None]] = []

    @property
    def is_over(self) -> bool:
        """No time is left."""
        return True

    def call(self, function: Callable[[], None]) -> None:
        """Hold a function."""
        self.held.append(function)

    def defer(self, function: Callable[[], None]) -> None:
        """Hold a function."""
        self.held.append(function)
