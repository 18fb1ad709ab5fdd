"""Counts the turns of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


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
