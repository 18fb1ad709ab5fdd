"""What became of the fixes that ``bench`` published: deliveries, latencies, losses and refusals."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from atriz_realtime.api.errors import InvalidLocation, RateLimited, SubscriptionLimit
from atriz_realtime.cli.client.connection import Refused, Unreachable

UNREACHABLE = "unreachable"
"""Stands for a code where the server did not answer."""

DECIDED_BY: Mapping[tuple[str, str], str] = {
    ("connect", RateLimited.code): "max_connections_per_address, or max_connections_per_user,",
    ("track", RateLimited.code): "max_user_events_per_second",
    ("track", SubscriptionLimit.code): "max_subscriptions",
    ("publish", RateLimited.code): "max_auth_failures",
    ("publish", InvalidLocation.code): "max_clock_skew, if the clocks of the machines differ,",
}
"""The setting of the server that decides, by the step that was refused and the code."""


@attrs.define(eq=False)
class SentFix:
    """A fix that was published, until all of its watchers have it."""

    due: float
    """The time of the event loop from which its latencies count."""
    waiting: set[int]
    """The watchers that have not had it."""
    latencies: list[float]
    """Seconds until each of the others had it."""
    published: bool = False
    """Whether the server has said that it sends the fix to its watchers."""


@attrs.define(eq=False)
class Measurement:
    """What is counted while a load runs."""

    watchers: dict[str, set[int]] = attrs.field(factory=dict)
    """The connected watchers of each entity."""
    asked: int = 0
    """Watchers that tried to connect."""
    connected: int = 0
    connecting: float = 0.0
    """Seconds until all had connected and tracked, or had been refused."""
    disconnected: int = 0
    """Watchers whose connection ended before the load did."""
    deserted: bool = False
    """Whether the load ended early because no watcher was left."""
    planned: int = 0
    """Fixes that were due while the load ran."""
    sent: int = 0
    published: int = 0
    throttled: int = 0
    """Fixes that the server took, but did not send to watchers."""
    seconds: float = 0.0
    """How long fixes were published."""
    cpu: float = 0.0
    """Seconds of processor time that this process used meanwhile."""
    expected: int = 0
    """Deliveries of the published fixes to the watchers that were connected."""
    refusals: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    """By the step that was refused (``connect``, ``track``, ``publish``) and the code."""
    latencies: array[float] = attrs.field(factory=lambda: array("d"))
    progress: asyncio.Event = attrs.field(factory=asyncio.Event)
    """Set by each delivery."""
    _open: dict[tuple[str, str], SentFix] = attrs.field(factory=dict, init=False)
    """Fixes that are not complete, by entity and timestamp."""

    def join(self, watcher: int, ids: Iterable[str]) -> None:
        """Count a watcher that has connected, and tracks these entities."""
        self.connected += 1
        for entity_id in ids:
            self.watchers.setdefault(entity_id, set()).add(watcher)

    def send(self, entity_id: str, timestamp: str, due: float) -> None:
        """Count a fix that is sent now."""
        self.sent += 1
        waiting = set(self.watchers.get(entity_id, ()))
        self._open[entity_id, timestamp] = SentFix(due, waiting, [])

    def answer(self, entity_id: str, timestamp: str, *, throttled: bool) -> None:
        """Count a fix that the server took."""
        if throttled:
            self.throttled += 1
            del self._open[entity_id, timestamp]  # it is sent late, or never
            return
        self.published += 1
        fix = self._open[entity_id, timestamp]
        fix.published = True
        self.expected += len(fix.waiting) + len(fix.latencies)
        self._end_if_complete((entity_id, timestamp), fix)

    def refuse(
        self, step: str, error: Refused | Unreachable, fix: tuple[str, str] | None = None
    ) -> None:
        """Count a refusal, and forget the fix that was refused."""
        self.refusals[step, error.code if isinstance(error, Refused) else UNREACHABLE] += 1
        if fix is not None:
            del self._open[fix]

    def deliver(self, watcher: int, event: Mapping[str, Any], now: float) -> None:
        """Count a fix that a watcher was sent."""
        key = event["entityId"], event["location"]["timestamp"]
        fix = self._open.get(key)
        if fix is None or watcher not in fix.waiting:
            return  # a throttled fix that was held, or one whose answer was lost
        fix.waiting.remove(watcher)
        fix.latencies.append(now - fix.due)
        self.progress.set()
        self._end_if_complete(key, fix)

    def _end_if_complete(self, key: tuple[str, str], fix: SentFix) -> None:
        if fix.published and not fix.waiting:
            self.latencies.extend(fix.latencies)
            del self._open[key]

    @property
    def missing(self) -> int:
        """Deliveries of published fixes that have not arrived."""
        return sum(len(fix.waiting) for fix in self._open.values() if fix.published)

    def all_latencies(self) -> list[float]:
        """The latencies of all deliveries of published fixes, in order of size."""
        late = (fix.latencies for fix in self._open.values() if fix.published)
        return sorted([*self.latencies, *(each for some in late for each in some)])

    @property
    def flawless(self) -> bool:
        """Whether nothing was lost, refused or cut off."""
        return not (self.missing or self.refusals or self.disconnected)

    def by_code(self) -> dict[str, int]:
        """Refusals by code."""
        codes: Counter[str] = Counter()
        for (_, code), count in self.refusals.items():
            codes[code] += count
        return dict(codes)


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The value that so many percent of the ordered values do not exceed; ``None`` without any."""
    if not ordered:
        return None
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]
