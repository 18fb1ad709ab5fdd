"""Python's garbage collector, for a process that holds many sockets and makes few cycles."""

from __future__ import annotations

import gc

YOUNG = 50_000
"""New objects after which the youngest are looked through, which takes two milliseconds at most;
Python's own 700 are what some twenty connections take."""

MIDDLE, OLD = 10, 2
"""How many such looks lie between two that look at older objects as well, and how many of
those between two that look at all of them: with 10,000 sockets that takes tens of milliseconds.
Together they bound the cycles that can wait to be freed at a million objects; ours make none."""


def settle() -> None:
    """Take what is there for good: call it when a server has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)


def release() -> None:
    """Undo it: the process goes on with something else."""
    gc.unfreeze()
    gc.set_threshold(*_BEFORE)


_BEFORE = gc.get_threshold()
