"""Time that stands still until a test moves it."""

from __future__ import annotations

START = 1_769_860_800.0
"""When a :class:`FakeClock` begins: 2026-01-31T12:00:00Z, in seconds since the epoch."""


class FakeClock:
    """A :class:`~atriz_realtime.api.Clock` that only :meth:`advance` moves.

    The two clocks differ, as real ones do, so that whoever mixes them up is found out.

    :param now: where the wall clock begins, in seconds since the epoch.
    """

    def __init__(self, now: float = START) -> None:
        self._now = now
        self._monotonic = 1_000.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass.

        :raises ValueError: for a negative time.
        """
        if seconds < 0:
            raise ValueError("time does not go back")
        self._now += seconds
        self._monotonic += seconds
