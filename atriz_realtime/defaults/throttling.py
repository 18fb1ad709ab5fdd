"""The throttling policies ``interval``, ``latest`` and ``none``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from atriz_realtime.api import (
    DROP,
    PASS,
    Clock,
    EntityRef,
    Location,
    Resources,
    Throttle,
    ThrottlePolicy,
    Verdict,
    hookimpl,
)

MAX_ENTITIES = 100_000
"""Entities whose last update is remembered; beyond, the longest silent is forgotten."""


@attrs.frozen(kw_only=True)
class IntervalOptions:
    """Options of ``interval`` and ``latest``."""

    interval: float = attrs.field(default=1_000.0, validator=attrs.validators.ge(0))
    """Milliseconds between two updates of one entity; 0: no limit."""


class _Windows:
    """When each entity's throttling window ends, for those whose has not long ended.

    An entity that opens a window moves to the end of the dictionary, so the front
    holds those that ended first, and forgetting them costs nothing extra.
    """

    def __init__(self, options: IntervalOptions, clock: Clock) -> None:
        self._seconds = options.interval / 1000
        self._clock = clock
        self._ends: dict[str, float] = {}
        self._holding: set[str] = set()

    def remaining(self, entity_id: str) -> float:
        """Seconds left of the entity's window; 0: there was none, and one begins now."""
        now = self._clock.monotonic()
        end = self._ends.get(entity_id)
        if end is not None and end <= now and entity_id in self._holding:
            self._holding.discard(entity_id)
            end += self._seconds  # the held fix went out then, and began a window
            self._open(entity_id, end, now)
        if end is not None and end > now:
            return end - now
        self._open(entity_id, now + self._seconds, now)
        return 0.0

    def hold(self, entity_id: str) -> None:
        """Note that a fix goes out when the entity's window ends."""
        self._holding.add(entity_id)

    def _open(self, entity_id: str, end: float, now: float) -> None:
        ends = self._ends
        ends.pop(entity_id, None)
        while ends:
            oldest = next(iter(ends))
            if ends[oldest] + self._seconds > now and len(ends) < MAX_ENTITIES:
                break
            del ends[oldest]
            self._holding.discard(oldest)
        ends[entity_id] = end


class Interval:
    """At most one update per entity and interval; later ones in the window are dropped."""

    def __init__(self, windows: _Windows) -> None:
        self._windows = windows

    async def admit(self, entity: EntityRef, _: Location) -> Verdict:
        """Pass the first of a window, drop the rest."""
        return DROP if self._windows.remaining(entity.id) else PASS


class Latest:
    """The same limit, but the newest fix of a window goes out when it ends."""

    def __init__(self, windows: _Windows) -> None:
        self._windows = windows

    async def admit(self, entity: EntityRef, _: Location) -> Verdict:
        """Pass the first of a window, hold the rest until it ends."""
        remaining = self._windows.remaining(entity.id)
        if not remaining:
            return PASS
        self._windows.hold(entity.id)
        return Verdict("hold", remaining)


class Unlimited:
    """Every fix passes."""

    async def admit(self, _: EntityRef, __: Location) -> Verdict:
        """Pass."""
        return PASS


def _interval(options: IntervalOptions, resources: Resources) -> ThrottlePolicy:
    return Interval(_Windows(options, resources.clock)) if options.interval else Unlimited()


def _latest(options: IntervalOptions, resources: Resources) -> ThrottlePolicy:
    return Latest(_Windows(options, resources.clock)) if options.interval else Unlimited()


def _none(_: Mapping[str, Any], __: Resources) -> ThrottlePolicy:
    return Unlimited()


@hookimpl
def register_throttles() -> list[Throttle]:
    """Register the three policies."""
    return [
        Throttle("interval", _interval, options=IntervalOptions),
        Throttle("latest", _latest, options=IntervalOptions),
        Throttle("none", _none),
    ]
