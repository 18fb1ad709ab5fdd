"""Ctrl-C and SIGTERM in commands that run until then."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


def run_interruptibly(work: Coroutine[Any, Any, None]) -> bool:
    """Run until it is done, or a signal cancels it; returns whether it was done.

    Either way the work cleans up after itself: a terminal gets its cursor back.
    """

    async def run() -> None:
        task = asyncio.ensure_future(work)

        def interrupt() -> None:
            if not task.cancelling():  # a second signal does not disturb the cleaning up
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, interrupt)
        await task

    try:
        asyncio.run(run())
    except asyncio.CancelledError:
        return False
    return True
