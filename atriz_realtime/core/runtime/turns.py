"""Work that is bounded for all who ask for it together, and done in the order they came."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """A number of places, which are given to those who wait for them in order.

    :param places: how many there are; nobody may take more at once.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, places: int) -> None:
        """Wait until there are so many free places, and take them."""
        if places <= self._free and not self._waiting:
            self._free -= places
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((places, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it has its places already
                self.give_back(places)
            raise

    def give_back(self, places: int) -> None:
        """Free places, for those who wait."""
        self._free += places
        while self._waiting and self._waiting[0][0] <= self._free:
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)
