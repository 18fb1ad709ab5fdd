"""The limit on open files: at the limit, new connections are closed.

Nothing else says so, because libuv, which uvloop is made of, accepts and closes them by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
from collections.abc import Callable

from atriz_realtime.api.contracts import Report

if sys.platform != "win32":
    import resource

INTERVAL = 1.0
"""Seconds between two attempts to open a file."""


def watch(report: Report) -> Callable[[], None]:
    """Report each second in which the process can open no file; returns what ends that."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            said = f"{error.strerror} ({limit()} for this process): new connections fail"
            report("open files exhausted", said)
        timer = loop.call_later(INTERVAL, look)

    timer = loop.call_later(INTERVAL, look)

    def stop() -> None:
        timer.cancel()

    return stop


def limit() -> int:
    """How many files this process may have open; 0 where the system does not say."""
    return _limits()[0]


def most() -> int:
    """What :func:`raise_limit` raises that to; 0 where the system does not say."""
    return _limits()[1]


def raise_limit() -> None:
    """Let this process, and those that it starts, have as many files open as the system allows."""
    if sys.platform != "win32":
        with contextlib.suppress(ValueError, OSError):  # macOS refuses its own "unlimited"
            resource.setrlimit(resource.RLIMIT_NOFILE, (most(), most()))


def _limits() -> tuple[int, int]:
    if sys.platform == "win32":  # there is no limit
        return 0, 0
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def count() -> int:
    """How many files this process has open; 0 where the system does not say, as not on Linux."""
    try:
        if size := os.stat("/proc/self/fd").st_size:  # noqa: PTH116  # since Linux 6.2
            return size
        found = os.listdir("/proc/self/fd")  # noqa: PTH208  # a path for each is slow
        return len(found) - 1  # one of them is the listing
    except OSError as error:
        return limit() if error.errno == errno.EMFILE else 0
