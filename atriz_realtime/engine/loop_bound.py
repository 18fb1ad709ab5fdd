"""The loop that something runs on."""

from __future__ import annotations

import asyncio
from functools import cached_property


class LoopBound:
    """Knows its loop.

    Before Python 3.12 ``asyncio.get_running_loop()`` asks the system each time whether the
    process has forked, which is a large part of a small step.
    """

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that was running when it was first asked for."""
        return asyncio.get_running_loop()
