"""Publishes late fixes: those that the throttle has held, and those that are sent again.

Meanwhile another server may have published a newer fix, which no older one may follow.  Or it may
hold a newer one, which is then published in the place of the late fix: watchers would otherwise
wait while each server's fix gives way to the one that the other holds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable

from atriz_realtime.api.contracts import Cache, Conditional, Fanout, Holding
from atriz_realtime.api.wire import Payload, event_json
from atriz_realtime.core.publish.reads import in_time, location_time


class LatePublisher:
    """Publishes a late fix, a newer one that is held in its place, or nothing."""

    def __init__(self, cache: Cache, fanout: Fanout) -> None:
        self._cache = cache
        self._fanout = fanout
        self.holding = cache if isinstance(cache, Holding) else None
        """The cache, if it knows which locations are held."""
        self.compared: dict[str, Payload] = {}
        """Late fixes that are being compared with the cache, by channel."""

    def publish(self, payload: Payload) -> Awaitable[bool]:
        """Compare a fix with the cache and publish what is due; the comparison is queued at once.

        :returns: whether the fix itself was published.
        :raises Unavailable: when the cache cannot be read, or nothing can be published.
        """
        publishing = self._unless_newer(payload)
        if publishing is None:
            return self._in_two_steps(payload)
        return self._or_newer(payload, publishing)

    def overtake(self, payload: Payload) -> None:
        """Drop a late fix that is being compared, unless it is newer than this one."""
        compared = self.compared.get(payload.channel)
        if compared is not None and compared.timestamp <= payload.timestamp:
            del self.compared[payload.channel]

    def _unless_newer(self, payload: Payload) -> Awaitable[bool] | None:
        if isinstance(self._fanout, Conditional):
            return self._fanout.publish_unless_newer(payload, self._cache)
        return None

    async def _or_newer(self, payload: Payload, publishing: Awaitable[bool]) -> bool:
        """Await a conditional publish; if it refuses, publish the newer location that is held."""
        if await publishing:
            return True
        if self.holding is None:
            return False
        location = await in_time(self.holding.to_send(payload))
        if location is None:
            return False
        due = _due(payload, location)
        again = self._unless_newer(due)
        return again is not None and await again and due is payload

    async def _in_two_steps(self, payload: Payload) -> bool:
        """Read what is due, then publish it.

        A newer fix that is published here between the two must not be followed by this one.
        """
        self.overtake(payload)
        if payload.channel in self.compared:
            return False
        self.compared[payload.channel] = payload
        try:
            location = await self._to_send(payload)
        finally:
            is_newest = self.compared.get(payload.channel) is payload
            if is_newest:
                del self.compared[payload.channel]
        if not is_newest or location is None:
            return False
        due = _due(payload, location)
        await self._fanout.publish(due.channel, due.event)
        if self.holding is not None:
            with contextlib.suppress(Exception):  # at worst it is published again
                await self.holding.mark_sent(due)
        return due is payload

    async def _to_send(self, payload: Payload) -> bytes | None:
        """The location that is due; ``None`` if a newer one is cached, unless that is held."""
        if self.holding is not None:
            return await in_time(self.holding.to_send(payload))
        cached = await in_time(self._cache.get(payload.entity))
        is_newer = (
            cached is not None
            and cached != payload.location
            and location_time(payload.entity, cached) >= payload.timestamp
        )
        return None if is_newer else payload.location


def _due(payload: Payload, location: bytes) -> Payload:
    """A late fix itself, or the newer one that is held, encoded as its own server does."""
    if location == payload.location:
        return payload
    return Payload(
        entity=payload.entity,
        channel=payload.channel,
        event=event_json(payload.entity, location),
        location=location,
        timestamp=location_time(payload.entity, location),
    )
