"""A real server on a real port, in the test's own event loop: as plugin authors have it."""

from atriz_realtime.testing import (
    SECRET,
    TIMEOUT,
    Live,
    Watcher,
    config,
    serving,
    token,
    until,
    watching,
)

__all__ = [
    "SECRET",
    "TIMEOUT",
    "Live",
    "Watcher",
    "config",
    "serving",
    "token",
    "until",
    "watching",
]
