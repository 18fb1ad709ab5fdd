"""Filters out the second copy of a fix.

A server of the TypeScript package sends each fix twice: on the entity's channel, and through its
adapter to the entity's room.  Either copy may arrive first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from atriz_realtime.api import Clock

REMEMBER_SECONDS = 10.0
"""Seconds that a fix is remembered while its second copy is missing."""

MAX_REMEMBERED = 50_000
"""Fixes that are remembered while their second copy is missing."""

Source = Literal["channel", "adapter"]


class DuplicateFilter:
    """Recognises the second copy of a fix: the same event from the other source.

    The same event from the same source again is not a copy but a new fix.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._unmatched: OrderedDict[tuple[str, bytes], tuple[Source, int, float]] = OrderedDict()

    def is_new(self, room: str, event: bytes, source: Source) -> bool:
        """Whether this is the first copy of a fix, which is then remembered."""
        if self.is_duplicate(room, event, source):
            return False
        now = self._clock.monotonic()
        _, count, _ = self._unmatched.pop((room, event), (source, 0, 0.0))
        self._unmatched[room, event] = (source, count + 1, now + REMEMBER_SECONDS)
        self._forget(now)
        return True

    def is_duplicate(self, room: str, event: bytes, source: Source) -> bool:
        """Whether the other source has delivered this fix, which is then forgotten."""
        self._forget(self._clock.monotonic())
        first, count, until = self._unmatched.get((room, event), (source, 0, 0.0))
        if first == source:
            return False
        if count > 1:
            self._unmatched[room, event] = (first, count - 1, until)
        else:
            del self._unmatched[room, event]
        return True

    def __len__(self) -> int:
        return len(self._unmatched)

    def _forget(self, now: float) -> None:
        while self._unmatched:
            oldest = next(iter(self._unmatched))
            if self._unmatched[oldest][2] >= now and len(self._unmatched) <= MAX_REMEMBERED:
                break
            del self._unmatched[oldest]
