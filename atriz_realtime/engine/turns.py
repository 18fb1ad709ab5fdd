"""Limits how long the packets of one client keep the event loop from everybody else."""

from __future__ import annotations

import asyncio
import time

TURN_SECONDS = 0.002
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
