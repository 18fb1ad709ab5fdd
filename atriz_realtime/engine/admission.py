"""New sessions a few in each turn of the loop, so that a storm of them starves nobody.

When every client of a server that went away comes at once, each turn would otherwise be as
long as all their handshakes together, and whoever is connected would wait as long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from atriz_realtime.engine.loop_bound import LoopBound

ADMITTED_PER_TURN = 16
"""Handshakes in one turn of the loop: about a millisecond's worth."""

MAX_WAITING = 20_000
"""Handshakes that may wait; beyond, further ones are told to come back later."""


class Admission(LoopBound):
    """Lets handshakes in, first come first."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._left = ADMITTED_PER_TURN
        self._turn: asyncio.Handle | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def ask(self, admit: Callable[[], None]) -> bool:
        """Call ``admit`` now, or in its turn; whether it will be called at all."""
        if self._turn is None:
            self._turn = self.loop.call_soon(self._next_turn)
        if self._left:
            self._left -= 1
            admit()
            return True
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append(admit)
        return True

    def _next_turn(self) -> None:
        self._turn = None
        self._left = ADMITTED_PER_TURN
        if self._waiting:
            self._turn = self.loop.call_soon(self._next_turn)
        while self._left and self._waiting:
            self._left -= 1
            self._waiting.popleft()()
