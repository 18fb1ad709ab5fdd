"""An encoded fix on its way: into the cache, to the other servers, to the watchers here.

While the backends answer, that is one round trip.  While they do not, watchers of this
server are served from here (:mod:`~atriz_realtime.core.publish.in_flight`), and the newest fix of
each entity is sent on when they are back (:mod:`~atriz_realtime.core.publish.backlog`).  After a
gap in what this server heard, its watchers are brought up to date from the cache.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import attrs

from atriz_realtime.api.contracts import Cache, Clock, Fanout, Interruptible
from atriz_realtime.api.errors import Unavailable
from atriz_realtime.api.model import EntityRef
from atriz_realtime.api.wire import Payload, RedisChannels, event_json
from atriz_realtime.core.hub.broadcast import LocationBroadcaster
from atriz_realtime.core.hub.channels import ChannelSubscriptions
from atriz_realtime.core.publish.backlog import Backlog, Unsent
from atriz_realtime.core.publish.in_flight import InFlight
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.worker import Worker
from atriz_realtime.plugin_system.registry import EntityKind

RESYNC_CHUNK = 500
"""Current locations read at once after a gap."""

RESYNC_RETRY = 1.0
"""Seconds until the cache is asked again when it has failed, unless something says earlier
that it is back."""

Tap = Worker[tuple[str, bytes]]


@attrs.define(eq=False)
class Resync:
    """How often watchers were brought up to date after a gap, since the start."""

    runs: int = 0
    """Gaps after which everything that is watched here was looked up."""
    entities: int = 0
    """Entities whose watchers were behind, and were shown the current location."""

    def statistics(self) -> dict[str, float]:
        """Both numbers."""
        return {"runs": self.runs, "entities": self.entities}


class Delivery:
    """Sends encoded fixes, and keeps watchers whole when backends come and go."""

    def __init__(
        self,
        kinds: Mapping[str, EntityKind],
        broadcaster: LocationBroadcaster,
        channels: ChannelSubscriptions,
        clock: Clock,
        incidents: Incidents,
    ) -> None:
        self._kinds = kinds
        self._channels = channels
        self._broadcaster = broadcaster
        self._incidents = incidents
        self._in_flight = InFlight(self._deliver, clock)
        self.backlog = Backlog(self._send_again, incidents)
        self.resync = Resync()
        self._taps: list[Tap] = []
        self._resyncing: asyncio.Task[None] | None = None
        self._stale = False
        self._closed = False
        self.after_gap: Callable[[], None] | None = None

    def start(self, cache: Cache, fanout: Fanout, backend: Fanout) -> None:
        """Begin to work with open backends.

        :param backend: the fan-out below all layers, which knows of interruptions.
        """
        self.cache = cache
        self.fanout = fanout
        self._channels.start(fanout, self._in_flight.received, self._in_flight.forget)
        if isinstance(backend, Interruptible):
            backend.attach(self)

    async def aclose(self) -> None:
        """Make a last attempt to send what waits, and stop."""
        self._closed = True
        if self._resyncing is not None:
            self._resyncing.cancel()
        await self.backlog.aclose()
        for tap in self._taps:
            await tap.aclose()

    # -- on the way out --------------------------------------------------------------------

    def send(self, payload: Payload) -> Coroutine[Any, Any, None]:
        """Cache a fix and fan it out; never fails, and waits no longer than a backend may take.

        The cache comes first: whoever begins to watch subscribes before reading the
        cache, and so finds there whatever was published before.
        """
        self.backlog.begin(payload)
        return self._tried(payload, self._put(payload), self._publish(payload))

    def fan_out(self, payload: Payload) -> Coroutine[Any, Any, None]:
        """Fan out a fix that is cached already."""
        self.backlog.begin(payload)
        return self._tried(payload, None, self._publish(payload))

    async def _tried(
        self, payload: Payload, keeping: Awaitable[None] | None, sending: Awaitable[None]
    ) -> None:
        """Await what was queued, and leave to the backlog what has failed."""
        try:
            kept = keeping is None or await self._done(keeping, "cache unavailable")
            sent = await self._done(sending, "fan-out unavailable")
            if not sent:
                self._in_flight.bypass(payload.channel, payload.event)
        finally:
            newest = self.backlog.end(payload)
        if kept and sent:
            return
        if newest:
            self.backlog.add(Unsent(payload, publish=not sent, cache=not kept))
        else:
            self.backlog.supersede()

    async def keep(self, payload: Payload) -> None:
        """Cache a fix that is not fanned out; when that cannot be, it is lost and counted."""
        await self._done(self._put(payload), "cache unavailable")

    async def put(self, payload: Payload) -> None:
        """Cache a fix.

        :raises Unavailable: when the cache cannot be reached.
        """
        await self._put(payload)

    def _put(self, payload: Payload) -> Awaitable[None]:
        try:
            return self.cache.put(payload, self._kinds[payload.entity.type].cache_ttl)
        except Exception as error:  # as if it had been awaited
            return _failed(error)

    def _publish(self, payload: Payload) -> Awaitable[None]:
        if self._comes_back(payload):
            self._in_flight.sent(payload.channel, payload.event)
        return self._pass_on(payload)

    def _comes_back(self, payload: Payload) -> bool:
        """Whether somebody here is to have a fix that is sent on."""
        return bool(self._taps) or self._channels.is_subscribed(payload.channel)

    def _pass_on(self, payload: Payload) -> Awaitable[None]:
        try:
            return self.fanout.publish(payload.channel, payload.event)
        except Exception as error:  # likewise
            return _failed(error)

    async def _send_again(self, unsent: Unsent) -> Unsent | None:
        """Do what has not been done with a fix; watchers here have had it."""
        payload = unsent.payload
        keeping = self._put(payload) if unsent.cache else None
        sending = self._pass_on(payload) if unsent.publish else None
        kept = keeping is None or await self._done(keeping)
        sent = sending is None or await self._done(sending)
        return None if kept and sent else Unsent(payload, publish=not sent, cache=not kept)

    async def _done(self, work: Awaitable[None], incident: str = "") -> bool:
        try:
            await work
        except Exception as error:  # a plugin's backend may raise what it should not
            if incident:
                self._incidents.report(incident, _reason(error))
            error.__traceback__ = None  # it leads here, where the work is, which keeps the error
            return False
        return True

    # -- on the way in ---------------------------------------------------------------------

    def _deliver(self, channel: str, event: bytes) -> None:
        self._broadcaster.broadcast(RedisChannels.room(channel), event)
        for tap in self._taps:
            tap.put((channel, event))

    async def tap(self, tap: Tap) -> None:
        """Hand every event of every server to a worker, as (channel, bytes)."""
        self._taps.append(tap)
        await self._channels.subscribe_all()

    def untap(self, tap: Tap) -> None:
        """Stop doing so."""
        if tap in self._taps:
            self._taps.remove(tap)
            if not self._taps:
                self._channels.unsubscribe_all()

    # -- when backends come and go ---------------------------------------------------------

    def deaf(self) -> None:
        """The fan-out may be missing messages from now on."""
        self._stale = True
        self._in_flight.deaf()

    def hearing(self) -> None:
        """The fan-out hears everything again; what it missed is looked up in the cache."""
        self._in_flight.hears()
        self._catch_up()
        if self.after_gap is not None and not self._closed:
            self.after_gap()

    def reachable(self) -> None:
        """What could not be sent, or read, may be tried again."""
        self.backlog.flush()
        self._catch_up()

    def _catch_up(self) -> None:
        """Bring watchers up to date after a gap, unless that is being done, or must wait."""
        busy = self._resyncing is not None and not self._resyncing.done()
        if not self._closed and self._stale and self._in_flight.hearing and not busy:
            self._resyncing = asyncio.get_running_loop().create_task(self._resync())

    async def _resync(self) -> None:
        """Deliver the current location of every watched entity that is newer than the last."""
        while self._stale and self._in_flight.hearing:
            self._stale = False
            rooms = self._channels.watched_rooms()
            if rooms:
                self._incidents.report("resynchronised", f"{len(rooms)} entities, after a gap")
            try:
                for start in range(0, len(rooms), RESYNC_CHUNK):
                    await self._resync_rooms(rooms[start : start + RESYNC_CHUNK])
            except Exception as error:  # as above
                self._incidents.report("resync postponed", _reason(error), level=logging.INFO)
                self._stale = True
                # it may have come back before this was known, and will not say so again
                asyncio.get_running_loop().call_later(RESYNC_RETRY, self._catch_up)
                return
            self.resync.runs += bool(rooms)

    async def _resync_rooms(self, rooms: list[str]) -> None:
        entities = [entity for room in rooms if (entity := EntityRef.parse(room)) is not None]
        locations = await asyncio.gather(*map(self.cache.get, entities))
        for entity, location in zip(entities, locations, strict=True):
            if location is not None:
                shown = self._broadcaster.broadcast_current(
                    str(entity), event_json(entity, location)
                )
                self.resync.entities += shown


async def _failed(error: Exception) -> None:
    raise error


def _reason(error: Exception) -> str:
    if isinstance(error, Unavailable):
        return error.message
    return f"{type(error).__name__}: {error}"
