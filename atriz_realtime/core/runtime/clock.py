"""The system's clock."""

from __future__ import annotations

import time


class SystemClock:
    """The operating system's time: see :class:`~atriz_realtime.api.Clock`."""

    now = staticmethod(time.time)
    """Seconds since the epoch."""
    monotonic = staticmethod(time.monotonic)
    """Seconds on a clock that never goes back."""
