"""The throttling policies ``interval``, ``latest`` and ``none``."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from atriz_realtime.api import (
    DROP,
    PASS,
    EntityRef,
    Location,
    Resources,
    Throttle,
    ThrottlePolicy,
    Verdict,
    hookimpl,
    limit_reached,
)

MAX_ENTITIES = 100_000
"""Entities with a window; beyond, the window that ends first is dropped."""


@attrs.frozen(kw_only=True)
class IntervalOptions:
    """Options of ``interval`` and ``latest``."""

    interval: float = attrs.field(default=1_000.0, validator=attrs.validators.ge(0))
    """Milliseconds between two updates of one entity; 0: no limit."""


class _Windows:
    """The end of each entity's throttling window.

    An entity whose window opens moves to the end of the dictionary, so windows that ended first
    are at the front, where dropping them is cheap.
    """

    def __init__(self, options: IntervalOptions, resources: Resources) -> None:
        self._seconds = options.interval / 1000
        self._clock = resources.clock
        self._report = resources.report
        self._ends: dict[str, float] = {}
        self._holding: set[str] = set()

    def remaining(self, entity_id: str) -> float:
        """Seconds until the entity's window ends; 0: it had none, and one opens now."""
        now = self._clock.monotonic()
        end = self._ends.get(entity_id)
        if end is not None and end <= now and entity_id in self._holding:
            self._holding.discard(entity_id)
            end += self._seconds  # the held fix went out then, and opened a window
            self._open(entity_id, end, now)
        if end is not None and end > now:
            return end - now
        self._open(entity_id, now + self._seconds, now)
        return 0.0

    def hold(self, entity_id: str) -> None:
        """Record that a fix goes out when the entity's window ends."""
        self._holding.add(entity_id)

    def _open(self, entity_id: str, end: float, now: float) -> None:
        ends = self._ends
        ends.pop(entity_id, None)
        while ends:
            oldest = next(iter(ends))
            if ends[oldest] + self._seconds > now:  # or a held fix has opened another one
                if len(ends) < MAX_ENTITIES:
                    break
                if ends[oldest] > now or oldest in self._holding:
                    message = f"more than {MAX_ENTITIES} windows: one ended early"
                    limit_reached(self._report, f"{__name__}.MAX_ENTITIES", message)
            del ends[oldest]
            self._holding.discard(oldest)
        ends[entity_id] = end


class Interval:
    """At most one update per entity and interval; later ones in the window are dropped."""

    def __init__(self, windows: _Windows) -> None:
        self._windows = windows

    async def admit(self, entity: EntityRef, _: Location) -> Verdict:
        """Pass the first fix of a window; drop the others."""
        return DROP if self._windows.remaining(entity.id) else PASS


class Latest:
    """Like :class:`Interval`, but the newest fix of a window goes out when it ends."""

    def __init__(self, windows: _Windows) -> None:
        self._windows = windows

    async def admit(self, entity: EntityRef, _: Location) -> Verdict:
        """Pass the first fix of a window; hold the others until it ends."""
        remaining = self._windows.remaining(entity.id)
        if not remaining:
            return PASS
        self._windows.hold(entity.id)
        return Verdict("hold", remaining)


class Unlimited:
    """No limit."""

    async def admit(self, _: EntityRef, __: Location) -> Verdict:
        """Pass every fix."""
        return PASS


def _limited(
    policy: type[Interval | Latest],
) -> Callable[[IntervalOptions, Resources], ThrottlePolicy]:
    def create(options: IntervalOptions, resources: Resources) -> ThrottlePolicy:
        return policy(_Windows(options, resources)) if options.interval else Unlimited()

    return create


@hookimpl
def register_throttles() -> list[Throttle]:
    """Register the three policies."""
    return [
        Throttle("interval", _limited(Interval), options=IntervalOptions),
        Throttle("latest", _limited(Latest), options=IntervalOptions),
        Throttle("none", lambda *_: Unlimited()),
    ]
