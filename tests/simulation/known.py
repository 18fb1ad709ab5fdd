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


_KEEP = (
    "The cache write of a throttled or held fix is tried once: `Delivery` leaves no "
    "failure of it to the backlog."
)
_STOP = (
    "A server that closes publishes the fixes that it holds, and does not cache them again "
    "where that had failed."
)
_LATEST = (
    "A held fix is sent when its window ends, although another server has sent a newer "
    "one meanwhile."
)
_RETRY = (
    "The backlog sends a fix again although another server has sent a newer one, or Redis "
    "has taken it."
)
_SEVERAL = (
    "What is held, or waits in the backlog, is replaced by what comes later, with an "
    "older timestamp too."
)
_KICK = "A `track` whose permission is revoked while it waits for Redis answers success."
_SAVED = (
    "A revocation is written to Redis half a second later; a server that stops before forgets it."
)
_SHARES = "Ending a share again adds another member to the set of revocations."

KNOWN: tuple[Known, ...] = (
    Known("lost: answered by a server that was stopping", (57, 610, 966), _STOP),
    Known("no snapshot: answered by a server that was stopping", (553, 966, 1084), _STOP),
    Known("newest missed: answered by a server that was stopping", (553, 910, 966), _STOP),
    Known("lost: throttled", (25, 630, 657), _KEEP),
    Known("lost: held", (349, 380, 414), _KEEP),
    Known("lost: held, and the filter dropped the next", (2599, 2964), _KEEP),
    Known("lost: held, of several devices", (405, 983, 1262), _KEEP),
    Known("no snapshot: throttled", (2005, 2507, 2835), _KEEP),
    Known("no snapshot: held", (507, 2005, 2856), _KEEP),
    Known("no snapshot: held, of several devices", (1743,), _KEEP),
    Known("newest missed: held", (349, 507, 1774), _KEEP),
    Known("newest missed: held, of several devices", (78, 1446, 1500), _SEVERAL),
    Known("older after newer, released by the throttle", (2, 83, 95), _LATEST),
    Known("two orders", (266, 301, 740), _LATEST),
    Known("older after newer, sent on after a fault", (217, 307, 2029), _RETRY),
    Known("tracked after tracking:revoked", (19, 197, 208), _KICK),
    Known("revoked before, still served", (951,), _SAVED),
    Known("revoked before, still connected", (453, 1510, 1687), _SAVED),
    Known("revocation set grows", (12, 20, 30), _SHARES),
)

KINDS = frozenset(known.kind for known in KNOWN)
