"""A semaphore of which one caller may need several permits."""

from __future__ import annotations

import asyncio
from collections import deque


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
