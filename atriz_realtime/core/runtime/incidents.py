"""Failures the system survives: counted, logged once a burst, shown in the health report."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import RealtimeError
from atriz_realtime.core.runtime.counters import Refusals

logger = logging.getLogger("atriz_realtime")

QUIET_SECONDS = 60.0
"""How long a burst lasts: after an incident was logged, others of its kind are only counted."""

MAX_LINE = 500
"""Characters of a message that are logged: some of it may be a client's."""

MAX_KINDS = 1_000
"""Kinds that are told apart; beyond, all are counted as ``other``."""


class Incidents:
    """Counts of what went wrong, by kind."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.refusals = Refusals()
        self._counts: Counter[str] = Counter()
        self._logged: dict[str, tuple[float, int]] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each kind has happened since the start."""
        return MappingProxyType(self._counts)

    def report(self, kind: str, message: str, *, level: int = logging.WARNING) -> None:
        """Count an incident, and log it unless one of its kind was logged lately.

        :param kind: a short name out of a small set; becomes a metric's label.
        :param message: without tokens; what would break the line is escaped.
        """
        if kind not in self._counts and len(self._counts) >= MAX_KINDS:
            kind = "other"
        self._counts[kind] += 1
        now = self._clock.monotonic()
        since, count = self._logged.get(kind, (-QUIET_SECONDS, 0))
        if now - since < QUIET_SECONDS:
            return
        suppressed = self._counts[kind] - count - 1
        self._logged[kind] = (now, self._counts[kind])
        suffix = f" ({suppressed} more since the last such line)" if suppressed else ""
        logger.log(
            level,
            "%s: %s%s",
            kind,
            _one_line(message),
            suffix,
            extra={"incident": kind, "count": self._counts[kind]},
        )

    def refused(self, what: str, error: RealtimeError) -> None:
        """Count what a client was refused.

        :param what: what it wanted.
        """
        self.refusals.count(error.code)
        self.report(f"refused {error.code}", f"{what}: {error.message}", level=logging.INFO)


def _one_line(message: str) -> str:
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in message[:MAX_LINE])
    return f"{shown}…" if len(message) > MAX_LINE else shown
