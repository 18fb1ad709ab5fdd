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


_GAP = (
    "After a gap the current location is compared with the last live fix, not with what "
    "was sent from the cache."
)
_AGAIN = (
    "Who leaves and tracks again while messages are late is sent the current location, and "
    "then a fix that is older."
)

KNOWN: tuple[Known, ...] = (
    Known("older after newer, on tracking again", (1622,), _AGAIN),
    Known("twice", (307, 1772, 2038), _GAP),
    Known("twice, of several devices", (496, 740, 1107), _GAP),
)

KINDS = frozenset(known.kind for known in KNOWN)
