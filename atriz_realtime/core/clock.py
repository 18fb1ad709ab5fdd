"""The real clock."""

from __future__ import annotations

import time


class SystemClock:
    """The operating system's time: see :class:`~atriz_realtime.api.Clock`."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()
