"""Whose cancellation a ``CancelledError`` is."""

from __future__ import annotations

import asyncio


def is_own(error: BaseException) -> bool:
    """Whether an error cancels the current task, and not only something that the task awaits.

    A plugin may await a future that another part of it cancels; that is a failure of the plugin.
    """
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
