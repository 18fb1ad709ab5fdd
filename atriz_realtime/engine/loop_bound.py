"""Access to the event loop that an object runs on."""

from __future__ import annotations

import asyncio
from functools import cached_property


class LoopBound:
    """Caches its event loop.

    Before Python 3.12 each ``asyncio.get_running_loop()`` makes a system call, to find out
    whether the process has forked.
    """

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that ran when it was first asked for."""
        return asyncio.get_running_loop()
