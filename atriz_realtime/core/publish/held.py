"""Fixes that the throttle holds: the newest of each entity, until its window ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import attrs

from atriz_realtime.api.contracts import Clock, Verdict
from atriz_realtime.api.errors import Unavailable
from atriz_realtime.api.model import EntityRef, LocationEvent
from atriz_realtime.api.wire import Payload
from atriz_realtime.core.publish.delivery import Delivery
from atriz_realtime.core.publish.observers import Observers
from atriz_realtime.core.runtime.incidents import Incidents

MAX_HELD = 100_000
"""Fixes that may be held until their throttling window ends; further fixes are not sent."""

FINISH_TIMEOUT = 1.0
"""Seconds in which held fixes may be published when the server closes."""


@attrs.define(eq=False)
class _HeldFix:
    """The newest fix of an entity, until its throttling window ends.

    :param due: when that is, on the monotonic clock.
    """

    due: float
    timer: asyncio.TimerHandle
    event: LocationEvent
    payload: Payload


class HeldFixes:
    """Holds fixes, and publishes each when its window ends."""

    _observers: Observers

    def __init__(self, delivery: Delivery, clock: Clock, incidents: Incidents) -> None:
        self._delivery = delivery
        self._clock = clock
        self._incidents = incidents
        self._held: dict[EntityRef, _HeldFix] = {}
        self._releasing: set[asyncio.Task[None]] = set()

    def start(self, observers: Observers) -> None:
        """Begin; nothing may be held before."""
        self._observers = observers

    def release_due(self, entity: EntityRef) -> bool:
        """Publish what is held of an entity if its time has passed: the event loop is busy."""
        late = self._held.get(entity)
        if late is None or late.due > self._clock.monotonic():
            return False
        late.timer.cancel()
        self._release(entity)
        return True

    async def aclose(self) -> None:
        """Publish what is held, now."""
        for entity in list(self._held):
            self._held[entity].timer.cancel()
            self._release(entity)
        if self._releasing:
            await asyncio.wait(self._releasing, timeout=FINISH_TIMEOUT)

    def hold(self, event: LocationEvent, payload: Payload, verdict: Verdict) -> bool:
        """Hold a fix, in place of an older one; returns whether it is held.

        A fix that the throttle drops replaces an older held one as well: the older one would not
        be published once this one is cached.
        """
        entity = payload.entity
        held = self._held.get(entity)
        if held is not None and held.payload.timestamp > payload.timestamp:
            return False
        if verdict.outcome == "drop":
            if held is not None:
                held.event, held.payload = event, payload
            return held is not None
        if held is not None:
            held.timer.cancel()
        elif len(self._held) >= MAX_HELD:
            self._incidents.report("held fixes dropped", f"more than {MAX_HELD} entities wait")
            return False
        timer = asyncio.get_running_loop().call_later(verdict.delay, self._release, entity)
        due = self._clock.monotonic() + verdict.delay
        self._held[entity] = _HeldFix(due, timer, event, payload)
        return True

    def discard(self, payload: Payload) -> None:
        """Discard what is held of the entity, unless it is newer than the fix."""
        held = self._held.get(payload.entity)
        if held is not None and held.payload.timestamp <= payload.timestamp:
            held.timer.cancel()
            del self._held[payload.entity]

    def _release(self, entity: EntityRef) -> None:
        """Publish an entity's held fix; it went to the cache when it was held."""
        held = self._held.pop(entity)
        publishing = self._delivery.publish(held.payload, held=True)
        task = asyncio.get_running_loop().create_task(self._released(publishing))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)
        self._observers.put(held.event)

    async def _released(self, publishing: Awaitable[None]) -> None:
        try:
            await publishing
        except Unavailable as error:
            self._incidents.report("held fixes dropped", error.message)
