"""Takes encoded fixes to the cache, to the other servers, and to the watchers on this one.

While the backends answer, that is one round trip.  While they do not, watchers of this server
are served directly (:mod:`~atriz_realtime.core.publish.in_flight`), and the newest fix of each
entity is retried (:mod:`~atriz_realtime.core.publish.backlog`).  After an interruption of the
fan-out, watchers are brought up to date (:mod:`~atriz_realtime.core.publish.resync`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import CoroutineType
from typing import Any, TypeVar

from redis.exceptions import RedisError

from atriz_realtime.api.contracts import Cache, Clock, Conditional, Fanout, Interruptible
from atriz_realtime.api.errors import Unavailable
from atriz_realtime.api.model import EntityRef
from atriz_realtime.api.wire import Payload, RedisChannels, event_json, is_json_object
from atriz_realtime.core.hub.broadcast import LocationBroadcaster
from atriz_realtime.core.hub.channels import ChannelSubscriptions
from atriz_realtime.core.hub.watermarks import event_time
from atriz_realtime.core.publish.backends import OpenBackends
from atriz_realtime.core.publish.backlog import Backlog, Unsent
from atriz_realtime.core.publish.in_flight import InFlight
from atriz_realtime.core.publish.last_known import LastKnownLocations
from atriz_realtime.core.publish.reading import in_time
from atriz_realtime.core.publish.resync import Resync
from atriz_realtime.core.runtime.incidents import Incidents, reason
from atriz_realtime.core.runtime.worker import Worker
from atriz_realtime.plugin_system.registry import EntityKind

T = TypeVar("T")

Listener = Worker[tuple[str, bytes]]
"""Takes every event of every server, as (channel, bytes)."""


class Delivery:
    """Publishes and caches encoded fixes; survives backends that come and go.

    An interruptible fan-out reports to it: see :class:`~atriz_realtime.api.FanoutEvents`.
    """

    _cache: Cache
    _fanout: Fanout
    _after_gap: Callable[[], None]

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
        self._in_flight = InFlight(self._deliver, self._is_behind, clock, incidents.report)
        self.backlog = Backlog(self.retry, incidents)
        self.resync = Resync(broadcaster, channels, self._in_flight, self.current, incidents)
        self.last_known_locations = LastKnownLocations(kinds, incidents)
        self.parts: dict[str, object] = {
            "backlog": self.backlog,
            "resync": self.resync,
            "last known": self.last_known_locations,
        }
        """Those that have numbers, by the names that these are listed under."""
        self._listeners: list[Listener] = []
        self._compared: dict[str, Payload] = {}  # by channel: late fixes whose cache is being read
        self._closed = False

    def start(self, backends: OpenBackends, after_gap: Callable[[], None]) -> None:
        """Connect to the open backends; nothing may be published before.

        :param after_gap: called when the fan-out is connected again.
        """
        self._cache = backends.cache
        self._fanout = backends.fanout
        self._after_gap = after_gap
        self.last_known_locations.start(backends.cache)
        self._channels.start(self._fanout, self._in_flight.received, self._in_flight.forget)
        if isinstance(backends.innermost, Interruptible):
            backends.innermost.attach(self)

    async def aclose(self) -> None:
        """Retry what waits a last time, and stop the listeners."""
        self._closed = True
        self.resync.close()
        await self.backlog.aclose()
        await self.last_known_locations.aclose()
        for listener in self._listeners:
            await listener.aclose()

    def publish(self, payload: Payload, *, held: bool = False) -> Coroutine[Any, Any, None]:
        """Cache a fix and fan it out; takes no longer than the backends may.

        The commands are queued before the result is awaited, the cache's first: a new watcher
        subscribes before it reads the cache, and so misses nothing.

        :param held: whether the fix was to be cached when it was held; it is fanned out only if
            no newer one is cached.
        :raises Unavailable: when a backend has failed and the server is closed: nobody retries.
        """
        self._in_flight.add(payload, comes_back=self._comes_back(payload), late=held)
        self.backlog.discard(payload)
        if self._compared:
            self._overtake(payload)
        returns = self._channels.is_confirmed(payload.channel)
        if held:
            waiting = self.backlog.get(payload.channel)
            uncached = waiting is not None and waiting.payload is payload and waiting.cache
            caching = self.put(payload) if uncached else None
            return self._finish(payload, caching, self._fan_out_late(payload), returns)
        return self._finish(payload, self.put(payload), self._fan_out(payload), returns)

    async def _finish(
        self,
        payload: Payload,
        caching: Awaitable[None] | None,
        publishing: Awaitable[None],
        returns: bool,
    ) -> None:
        """Await the backends' answers, and leave to the backlog what has failed.

        What nobody waits for any more goes on: a part of it may be done.

        :param returns: whether it comes back if it is published.  Before its channel is confirmed
            it may or may not; it is then expected only until it is published, or would be
            delivered after newer ones at the next failure.
        """
        try:
            cached = caching is None or await self._attempt(caching, "cache unavailable")
            published = await self._attempt(publishing, "fan-out unavailable")
        except asyncio.CancelledError:
            _abandon(publishing)
            if not returns:
                self._in_flight.withdraw(payload.channel, payload.event)
            with contextlib.suppress(Unavailable):
                self._leave(payload, publish=True, cache=caching is not None)
            raise
        if not published:
            self._in_flight.bypass(payload.channel, payload.event)
        elif not returns:
            self._in_flight.withdraw(payload.channel, payload.event)
        self._leave(payload, publish=not published, cache=not cached)

    async def cache(self, payload: Payload, *, held: bool) -> None:
        """Cache a fix without fanning it out, and leave it to the backlog if that fails.

        If an older fix waits to be published, this one is published in its place: the older one
        would not be once this one is cached.

        :param held: whether it is published later in any case.
        :raises Unavailable: as :meth:`publish` does.
        """
        cached = False
        try:
            cached = await self._attempt(self.put(payload), "cache unavailable")
        finally:  # also if nobody waits for it any more
            waiting = self.backlog.get(payload.channel)
            unpublished = not held and waiting is not None and waiting.publish
            self._leave(payload, publish=unpublished, cache=not cached)

    def _leave(self, payload: Payload, *, publish: bool, cache: bool) -> None:
        """Hand the failed steps of a fix to the backlog, or drop an older fix that waits there."""
        if publish or cache:
            if self._closed:
                raise Unavailable("the server is closing")
            self.backlog.add(Unsent(payload, publish=publish, cache=cache))
        else:
            self.backlog.discard(payload)

    async def retry(self, unsent: Unsent) -> Unsent | None:
        """Attempt the steps that have failed; returns what is still left to do.

        Watchers of this server have the fix already.
        """
        payload = unsent.payload
        caching = self.put(payload) if unsent.cache else None
        publishing = self._fan_out_late(payload) if unsent.publish else None
        cached = caching is None or await self._attempt(caching)
        published = publishing is None or await self._attempt(publishing)
        if cached and published:
            return None
        return Unsent(payload, publish=not published, cache=not cached)

    def put(self, payload: Payload) -> Awaitable[None]:
        """Queue the write of a fix to the cache."""
        self.last_known_locations.note(payload)
        try:
            return self._cache.put(payload, self._kinds[payload.entity.type].cache_ttl)
        except Exception as error:  # to be handled where the result is awaited
            return _failed(error)

    def _fan_out(self, payload: Payload) -> Awaitable[None]:
        try:
            return self._fanout.publish(payload.channel, payload.event)
        except Exception as error:  # likewise
            return _failed(error)

    def _fan_out_late(self, payload: Payload) -> Awaitable[None]:
        """Publish a fix that may have been overtaken, unless a newer one is cached.

        Nor is it if watchers of this server have had a newer one, which Redis may have lost.
        """
        publishing = None
        if self._is_behind(payload.channel, payload.event):
            self._in_flight.withdraw(payload.channel, payload.event)
            return _nothing()
        try:
            if isinstance(self._fanout, Conditional):
                publishing = self._fanout.publish_unless_newer(payload, self._cache)
        except Exception as error:  # likewise
            return _failed(error)
        return self._withdrawn(payload, publishing or self._publish_unless_newer(payload))

    async def _withdrawn(self, payload: Payload, publishing: Awaitable[bool]) -> None:
        """Stop expecting a fix back if it is not published."""
        if not await publishing:
            self._in_flight.withdraw(payload.channel, payload.event)

    async def _publish_unless_newer(self, payload: Payload) -> bool:
        """Do what a :class:`~atriz_realtime.api.Conditional` fan-out does, in two steps.

        A newer fix that is published here between the two must not be followed by this one.
        """
        self._overtake(payload)
        if payload.channel in self._compared:
            return False
        self._compared[payload.channel] = payload
        try:
            cached = await in_time(self._cache.get(payload.entity))
        finally:
            is_newest = self._compared.get(payload.channel) is payload
            if is_newest:
                del self._compared[payload.channel]
        if not is_newest or (
            cached is not None
            and cached != payload.location
            and _location_time(payload.entity, cached) >= payload.timestamp
        ):
            return False
        await self._fanout.publish(payload.channel, payload.event)
        return True

    def _overtake(self, payload: Payload) -> None:
        """Drop a late fix that is being compared, unless it is newer than this one."""
        compared = self._compared.get(payload.channel)
        if compared is not None and compared.timestamp <= payload.timestamp:
            del self._compared[payload.channel]

    async def _attempt(self, work: Awaitable[None], incident: str = "") -> bool:
        try:
            await work
        except Exception as error:  # a plugin's backend may raise anything
            if incident:
                self._incidents.report(incident, reason(error))
            if incident == "fan-out unavailable" and isinstance(error, RedisError):
                self.backlog.refusal = f"Redis: {error}"
            error.__traceback__ = None  # breaks a cycle: it refers to this frame, which has `work`
            return False
        return True

    def _comes_back(self, payload: Payload) -> bool:
        """Whether this server subscribes to a fix's channel."""
        return bool(self._listeners) or self._channels.is_subscribed(payload.channel)

    def current(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """The cached location JSON, or ``None``; the read is queued before it is awaited.

        A newer one that the cache could not take is returned instead.

        :raises Unavailable: when the cache takes longer than :data:`.READ_LIMIT`.
        """
        return self._readable(entity, self.unchecked(entity))

    async def last_known(self, entity: EntityRef) -> bytes | None:
        """The last known location JSON, or ``None``; see :meth:`.Tracking.last_known`."""
        if not self.last_known_locations.keeps(entity.type):
            return None
        return await self._readable(entity, self.last_known_locations.get(entity))

    def unchecked(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """The same, for those who ask :meth:`is_readable` and limit the time themselves.

        Where nothing waits for the cache it is what the cache returns: a future needs no task.
        """
        try:
            reading = self._cache.get(entity)
        except Exception as error:  # a plugin's may fail before there is anything to wait for
            reading = _failed(error)
        waiting = self.backlog.get(RedisChannels.entity(entity)) if self.backlog else None
        if waiting is None or not waiting.cache:
            return reading
        return self._newest(self._readable(entity, reading), waiting.payload)

    async def _readable(self, entity: EntityRef, reading: Awaitable[bytes | None]) -> bytes | None:
        location = await self.answered(in_time(reading))
        return location if location is None or self.is_readable(entity, location) else None

    async def answered(self, asking: Awaitable[T]) -> T:
        """What the cache answers.

        :raises Unavailable: when Redis refuses it, for example because the user lacks a right.
        """
        try:
            return await asking
        except RedisError as error:
            raise self._incidents.refused_by_redis("cache unavailable", error) from error

    def is_readable(self, entity: EntityRef, location: bytes) -> bool:
        """Whether a cached location can be shown: other programs write to these keys too.

        It is spliced into frames and answers, which anything but a JSON object would break.
        """
        if is_json_object(location):
            return True
        self.hidden(entity)
        return False

    def hidden(self, entity: EntityRef) -> None:
        """Count a cached location that is not shown because it cannot be read."""
        self._incidents.report("unreadable fix hidden", f"the current location of {entity}")

    async def _newest(self, reading: Awaitable[bytes | None], uncached: Payload) -> bytes:
        cached = await reading
        if cached is None or _location_time(uncached.entity, cached) < uncached.timestamp:
            return uncached.location
        return cached

    def _is_behind(self, channel: str, event: bytes) -> bool:
        """Whether watchers of this server have had a newer event."""
        return self._broadcaster.has_newer(RedisChannels.room(channel), event)

    def _deliver(self, channel: str, event: bytes) -> None:
        self._broadcaster.broadcast(RedisChannels.room(channel), event)
        for listener in self._listeners:
            listener.put((channel, event))

    async def subscribe(self, listener: Listener) -> None:
        """Pass every event to a listener, from the moment this returns."""
        listener.start()
        self._listeners.append(listener)
        await self._channels.subscribe_all()

    def unsubscribe(self, listener: Listener) -> None:
        """Pass it no more events; harmless when it gets none."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            if not self._listeners:
                self._channels.unsubscribe_all()

    def deaf(self) -> None:
        """Serve watchers directly: the fan-out is interrupted."""
        self.resync.mark_stale()
        self._in_flight.disconnected()

    def hearing(self) -> None:
        """Bring watchers up to date: the fan-out is connected again."""
        self._in_flight.reconnected()
        if not self._closed:
            self.resync.start()
            self._after_gap()

    def reachable(self) -> None:
        """Retry what has failed: a backend is back."""
        self.backlog.flush()
        if not self._closed:
            self.resync.start()


def _location_time(entity: EntityRef, location: bytes) -> str:
    """The timestamp of a cached location."""
    return event_time(event_json(entity, location)).decode(errors="replace")


async def _nothing() -> None:
    """Nothing is left to do."""


def _abandon(work: Awaitable[Any]) -> None:
    """Wait no longer for something that may have begun."""
    if isinstance(work, CoroutineType):
        work.close()
    elif isinstance(work, asyncio.Future):
        work.add_done_callback(lambda done: done.cancelled() or done.exception())


async def _failed(error: Exception) -> None:
    raise error
