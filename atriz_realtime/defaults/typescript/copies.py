"""Each fix once, although it comes twice.

A server of the TypeScript package sends a fix on the entity's channel and, to its room,
through its adapter.  Which of the two arrives first is open.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from atriz_realtime.api import Clock

REMEMBER_SECONDS = 10.0
"""How long the second copy of a fix may take."""

MAX_REMEMBERED = 50_000
"""Fixes whose second copy is waited for."""

Way = Literal["channel", "adapter"]


class Copies:
    """Tells a fix's first copy, which is delivered, from its second, which comes the other way.

    The same position sent again on the same way is not a copy but news.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead: OrderedDict[tuple[str, bytes], tuple[Way, int, float]] = OrderedDict()

    def is_first(self, room: str, event: bytes, way: Way) -> bool:
        """Note a copy, and say whether it is the first."""
        if self.is_second(room, event, way):
            return False
        now = self._clock.monotonic()
        _, count, _ = self._ahead.pop((room, event), (way, 0, 0.0))
        self._ahead[room, event] = (way, count + 1, now + REMEMBER_SECONDS)
        self._forget(now)
        return True

    def is_second(self, room: str, event: bytes, way: Way) -> bool:
        """Whether a first copy has come the other way; the two are forgotten then."""
        self._forget(self._clock.monotonic())
        ahead, count, until = self._ahead.get((room, event), (way, 0, 0.0))
        if ahead == way:
            return False
        if count > 1:
            self._ahead[room, event] = (ahead, count - 1, until)
        else:
            del self._ahead[room, event]
        return True

    def __len__(self) -> int:
        return len(self._ahead)

    def _forget(self, now: float) -> None:
        while self._ahead:
            oldest = next(iter(self._ahead))
            if self._ahead[oldest][2] >= now and len(self._ahead) <= MAX_REMEMBERED:
                break
            del self._ahead[oldest]
