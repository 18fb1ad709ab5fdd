"""A process that takes half of the servers' core, 4 ms at a time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.measure import ROOT, SERVER_CORE, on_core

BURST = 0.004
"""Seconds that it computes, and then sleeps."""


@contextmanager
def running() -> Iterator[None]:
    """Run the process."""
    with on_core(SERVER_CORE):
        process = subprocess.Popen((sys.executable, "-m", __name__), cwd=ROOT)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Compute and sleep in turns until killed."""
    while True:
        end = time.perf_counter() + BURST
        while time.perf_counter() < end:
            pass
        time.sleep(BURST)


if __name__ == "__main__":
    main()
