"""Brings watchers up to date after the fan-out was interrupted, from the cache."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from atriz_realtime.api.model import EntityRef
from atriz_realtime.api.wire import event_json
from atriz_realtime.core.hub.broadcast import LocationBroadcaster
from atriz_realtime.core.hub.channels import ChannelSubscriptions
from atriz_realtime.core.publish.in_flight import InFlight
from atriz_realtime.core.runtime.incidents import Incidents, reason

RESYNC_CHUNK = 500
"""Current locations that a resync reads at once."""

RESYNC_RETRY = 1.0
"""Seconds until a resync that could not read the cache is retried, unless a backend reports
earlier that it is back."""


class Resync:
    """Delivers the current location of every watched entity if it is newer than the last fix.

    :param current: reads an entity's current location JSON.
    """

    def __init__(
        self,
        broadcaster: LocationBroadcaster,
        channels: ChannelSubscriptions,
        in_flight: InFlight,
        current: Callable[[EntityRef], Awaitable[bytes | None]],
        incidents: Incidents,
    ) -> None:
        self._broadcaster = broadcaster
        self._channels = channels
        self._in_flight = in_flight
        self._current = current
        self._incidents = incidents
        self._stale = self._is_postponed = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._runs = self._entities = 0

    def statistics(self) -> dict[str, float]:
        """Resyncs since the start (``runs``), and ``entities`` whose watchers were behind."""
        return {"runs": self._runs, "entities": self._entities}

    def mark_stale(self) -> None:
        """Record that watchers may miss fixes from now on."""
        self._stale = True

    def start(self) -> None:
        """Start a resync if watchers may be behind, the fan-out is connected and none runs."""
        running = self._task is not None and not self._task.done()
        if self._stale and self._in_flight.connected and not running:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Cancel a resync that runs or is scheduled."""
        self._stale = False
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._stale and self._in_flight.connected:
            self._stale = False
            rooms = self._channels.watched_rooms()
            try:
                for start in range(0, len(rooms), RESYNC_CHUNK):
                    await self._update(rooms[start : start + RESYNC_CHUNK])
            except Exception as error:  # a plugin's cache may raise anything
                if not self._is_postponed:
                    self._is_postponed = True
                    self._incidents.report("resync postponed", reason(error), level=logging.INFO)
                self._stale = True
                # a cache that recovered before this failure was seen reports no recovery
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(RESYNC_RETRY, self.start)
                return
            cause = "postponed" if self._is_postponed else ""  # the end of that is logged, too
            self._is_postponed = False
            if rooms:
                self._runs += 1
                count = "1 entity" if len(rooms) == 1 else f"{len(rooms)} entities"
                self._incidents.report("resynchronised", f"{count}, after a gap", cause=cause)

    async def _update(self, rooms: list[str]) -> None:
        entities = [entity for room in rooms if (entity := EntityRef.parse(room)) is not None]
        locations = await asyncio.gather(*map(self._current, entities))
        for entity, location in zip(entities, locations, strict=True):
            if location is not None:
                event = event_json(entity, location)
                self._entities += self._broadcaster.broadcast_current(str(entity), event)
