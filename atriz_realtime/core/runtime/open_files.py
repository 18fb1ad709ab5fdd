"""The limit on open files.  At the limit, new connections are closed, and nothing else says so:
libuv, which uvloop is made of, accepts and closes them by itself."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable

from atriz_realtime.api.contracts import Report

INTERVAL = 1.0
"""Seconds between two attempts to open a file."""

KIND = "open files exhausted"


def watch(report: Report) -> Callable[[], None]:
    """Report each second in which the process can open no file; returns what ends that."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        nonlocal timer
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            report(KIND, f"{error.strerror} ({limit()} for this process): new connections fail")
        timer = loop.call_later(INTERVAL, look)

    timer = loop.call_later(INTERVAL, look)
    return lambda: timer.cancel()


def limit() -> int:
    """How many files this process may have open; 0 where the system does not say."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # on Windows there is no limit
        import resource  # noqa: PLC0415

        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 0


def count() -> int:
    """How many files this process has open; 0 where the system does not say, as not on Linux."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # one of them is the listing
    except OSError as error:
        return limit() if error.errno == errno.EMFILE else 0
