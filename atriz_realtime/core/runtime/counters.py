"""What the server counts of its own work: fixes by what became of them, refusals by code."""

from __future__ import annotations

from collections import Counter

import attrs

MAX_CODES = 100
"""Codes of refusals that are told apart; beyond, all are counted as ``other``."""


@attrs.define(eq=False)
class Fixes:
    """How many fixes of one entity type were taken on this server, by their outcome."""

    published: int = 0
    """Sent on."""
    throttled: int = 0
    """Cached, not sent."""
    held: int = 0
    """Cached, and sent at the end of the throttling window unless a newer one came."""
    dropped: int = 0
    """Dropped by a filter."""

    def statistics(self) -> dict[str, float]:
        """Each number."""
        return attrs.asdict(self)


class Refusals:
    """How often callers were refused, over HTTP and sockets, by the code they were given."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, code: str) -> None:
        """Count one."""
        if code not in self._counts and len(self._counts) >= MAX_CODES:
            code = "other"  # a plugin makes codes up
        self._counts[code] += 1

    def statistics(self) -> dict[str, float]:
        """The codes that were met, each with its number."""
        return dict(self._counts)
