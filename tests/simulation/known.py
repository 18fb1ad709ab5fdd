"""Violations that the code is known to commit, until they are mended.

Each names seeds that show it.  The tests fail for a violation that is not listed, and for
one that is listed and does not occur any more.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Known:
    """One of them."""

    kind: str
    """The :attr:`~tests.simulation.oracle.Violation.kind`."""
    seeds: tuple[int, ...]
    """Runs that commit it; which do changes with every detail of the code, one is enough."""
    why: str
    """What the code does."""


_GIVEN_UP = (
    "Redis stands still and then carries out commands whose server has given them up, after "
    "those of another server: the order of the two is that in which Redis took them."
)

KNOWN: tuple[Known, ...] = (Known("older after newer, sent on after a fault", (18002,), _GIVEN_UP),)

KINDS = frozenset(known.kind for known in KNOWN)
