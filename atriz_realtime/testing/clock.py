"""A clock that only tests advance."""

from __future__ import annotations

import pytest

START = 1_769_860_800.0
"""The initial time of a :class:`FakeClock`: 2026-01-31T12:00:00Z, in seconds since the epoch."""


class FakeClock:
    """A :class:`~atriz_realtime.api.Clock` that stands still except for :meth:`advance`.

    The wall clock and the monotonic clock differ, as real ones do, so that a test fails when
    code mixes them up.

    :param now: the initial wall-clock time, in seconds since the epoch.
    """

    def __init__(self, now: float = START) -> None:
        self._now = now
        self._monotonic = 1_000.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Seconds on a clock that never goes backwards."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward.

        :raises ValueError: for a negative number of seconds.
        """
        if seconds < 0:
            raise ValueError("time does not go backwards")
        self._now += seconds
        self._monotonic += seconds


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that stands still except for :meth:`~FakeClock.advance`."""
    return FakeClock()
