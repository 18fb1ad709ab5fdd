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
    "`track` of what is tracked sends what the cache holds, however old, though newer "
    "fixes went out."
)
_VIEWS = (
    "A new token's views are shown the room's last live fix, though a newer one was sent "
    "from the cache."
)
_KICK = "A `track` whose permission is revoked while it waits for Redis answers success."
_SAVED = (
    "A revocation is written to Redis half a second later; a server that stops before forgets it."
)
_SHARES = "Ending a share again adds another member to the set of revocations."

KNOWN: tuple[Known, ...] = (
    Known("older after newer, on tracking again", (145, 167, 276), _AGAIN),
    Known("older after newer, on authenticating again", (779, 1012, 1388), _VIEWS),
    Known("twice", (307, 1772, 2038), _GAP),
    Known("twice, of several devices", (496, 740, 1107), _GAP),
    Known("tracked after tracking:revoked", (19, 197, 208), _KICK),
    Known("revoked before, still served", (951,), _SAVED),
    Known("revoked before, still connected", (453, 1510, 1687), _SAVED),
    Known("revocation set grows", (12, 20, 30), _SHARES),
)

KINDS = frozenset(known.kind for known in KNOWN)
