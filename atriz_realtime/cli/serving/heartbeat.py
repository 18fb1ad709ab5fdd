"""Shows the parent of the workers that their event loops run.

A worker whose loop stands still, for example because a plugin blocks for ever, keeps its clients
and its share of new connections, and serves none of them.  Only another process can notice that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select

BEATS = 6
"""Heartbeats of a worker in its ``worker_timeout``."""

READY = b"+"
_BEAT = b"."


class Heartbeat:
    """Writes to a pipe once the worker is ready, and again and again while its loop runs.

    :param descriptor: the writing end of the pipe.
    :param timeout: the ``worker_timeout``; 0: the worker writes only that it is ready.
    """

    def __init__(self, descriptor: int, timeout: float) -> None:
        self._descriptor = descriptor
        self._interval = timeout / BEATS
        self._next: asyncio.TimerHandle | None = None
        os.set_blocking(descriptor, False)  # the parent may be stopped for days

    def start(self) -> None:
        """Say that the worker is ready."""
        os.write(self._descriptor, READY)
        self._schedule()

    def close(self) -> None:
        """Say that the worker no longer accepts connections."""
        if self._next is not None:
            self._next.cancel()
        os.close(self._descriptor)

    def _schedule(self) -> None:
        if self._interval:
            loop = asyncio.get_running_loop()
            self._next = loop.call_later(self._interval, self._beat)

    def _beat(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._descriptor, _BEAT)
        self._schedule()


def has_beaten(descriptor: int) -> bool:
    """Whether the worker has written since the last call, or has closed the pipe."""
    if not select.select([descriptor], [], [], 0)[0]:
        return False
    os.read(descriptor, 4_096)
    return True


def closes(descriptor: int, timeout: float) -> bool:
    """Wait until the worker closes the pipe, for some seconds after its last heartbeat at most."""
    while select.select([descriptor], [], [], timeout)[0]:
        if not os.read(descriptor, 4_096):
            return True
    return False
