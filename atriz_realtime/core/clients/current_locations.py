"""The current locations that sockets are sent when they have joined the rooms of entities."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from atriz_realtime.api.model import EntityRef
from atriz_realtime.api.wire import event_json
from atriz_realtime.core.clients.sockets import ConnectedSocket
from atriz_realtime.core.hub.broadcast import LocationBroadcaster
from atriz_realtime.core.hub.channels import ChannelSubscriptions, failure
from atriz_realtime.core.publish.pipeline import Pipeline
from atriz_realtime.core.publish.reading import READ_LIMIT, TOO_LATE
from atriz_realtime.core.runtime import cancellation
from atriz_realtime.core.runtime.incidents import Incidents, reason
from atriz_realtime.core.runtime.semaphore import TurnLimit, WeightedSemaphore

SNAPSHOT_RETRY = 1.0
"""Seconds until the current locations that could not be read are read again."""

MAX_READING = 100
"""Current locations that are being read for ``track`` at once, for all sockets together; lists
take turns, so that a fix waits for no more reads than this."""

Snapshot = tuple[EntityRef, int]
"""An entity whose current location is owed, and how many events had been broadcast before."""
Owed = dict[tuple[str, str], Snapshot]
"""Those of members, by sid and room."""

Answer = Callable[[], Any]
"""What makes the answer to an event once its locations are sent."""

Waiting = tuple["Owing", asyncio.Future[Answer]]
"""An event that is answered when what it owes is sent."""
Group = list[Waiting]
"""Events of one socket."""


class CurrentLocations:
    """Sends members the current locations of what they have joined.

    A socket joins before the cache is read, so it misses nothing; the cached location is sent only
    when nothing as new went out to the room meanwhile.

    :param sockets: the connected sockets by sid, which the gateway fills.
    :param turns: bounds how many are sent in one turn of the loop.
    """

    def __init__(
        self,
        sockets: Mapping[str, ConnectedSocket],
        channels: ChannelSubscriptions,
        broadcaster: LocationBroadcaster,
        pipeline: Pipeline,
        turns: TurnLimit,
        incidents: Incidents,
    ) -> None:
        self._sockets = sockets
        self._channels = channels
        self._broadcaster = broadcaster
        self._pipeline = pipeline
        self._turns = turns
        self._incidents = incidents
        self._reading = WeightedSemaphore(MAX_READING)
        self._owed: Owed = {}
        self._retry: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._together: dict[str, Group] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def forget(self, sid: str, room: str) -> None:
        """Owe a socket nothing of a room that it has left."""
        self._owed.pop((sid, room), None)

    async def send(self, owed: Owed) -> None:
        """Send current locations once their rooms are subscribed."""
        for _, room in owed:
            await self._channels.confirmed(room)
        await self._send(owed)

    def send_together(self, owing: Owing) -> asyncio.Future[Answer]:
        """Send them together with what else the socket joins in this turn of the loop."""
        loop = asyncio.get_running_loop()
        group = self._together.get(owing.sid)
        if group is None:
            group = self._together[owing.sid] = []
            loop.call_soon(self._start_together, owing.sid)
        sent: asyncio.Future[Answer] = loop.create_future()
        group.append((owing, sent))
        return sent

    def _start_together(self, sid: str) -> None:
        group = self._together.pop(sid)
        sending = asyncio.get_running_loop().create_task(self._send_group(group))
        self._sending.add(sending)
        sending.add_done_callback(functools.partial(self._sent_together, group))

    def _sent_together(self, group: Group, sending: asyncio.Task[None]) -> None:
        self._sending.discard(sending)
        error = None if sending.cancelled() else sending.exception()
        for _, sent in group:
            if sent.done():
                continue
            if error is None:
                sent.cancel()
            else:
                sent.set_exception(error)

    async def _send_group(self, group: Group) -> None:
        """Send each location as soon as its own channel is subscribed and its own read is done."""
        confirming: dict[asyncio.Future[None], Waiting] = {}
        reading: dict[asyncio.Future[bytes | None], Waiting] = {}
        ready: Group = []
        for owing, sent in group:
            subscribing = self._subscribing(owing)
            if subscribing is None:
                ready.append((owing, sent))
            else:
                confirming[subscribing] = owing, sent
        while True:
            reading |= await self._start_reading(ready)
            if not (confirming or reading):
                return
            ready = []
            waits: list[asyncio.Future[Any]] = [*confirming, *reading]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for subscribing in [each for each in confirming if each.done()]:
                owing, sent = confirming.pop(subscribing)
                error = failure(subscribing)
                if error is None:
                    ready.append((owing, sent))
                else:
                    owing.undo()
                    if not sent.done():
                        sent.set_exception(error)
            for read in [each for each in reading if each.done()]:
                owing, sent = reading.pop(read)
                for key, snapshot in owing.owed.items():
                    await self._send_current(key, snapshot, read)
                if not sent.done():
                    sent.set_result(owing.answer)

    def _subscribing(self, owing: Owing) -> asyncio.Future[None] | None:
        """The subscription that an event waits for; it has joined one room at most."""
        for _, room in owing.owed:
            return self._channels.confirming(room)
        return None

    async def _start_reading(self, ready: Group) -> dict[asyncio.Future[bytes | None], Waiting]:
        """Read the location of each event that owes one; the others are done."""
        started: dict[asyncio.Future[bytes | None], Waiting] = {}
        for owing, sent in ready:
            if not owing.owed and not sent.done():
                sent.set_result(owing.answer)
        reads = [(owing, sent) for owing, sent in ready if owing.owed]
        for start in range(0, len(reads), MAX_READING):
            batch = reads[start : start + MAX_READING]
            await self._reading.acquire(len(batch), self._owner(batch[0][0].sid))
            for owing, sent in batch:
                for entity, _ in owing.owed.values():
                    read = self._read(entity)
                    read.add_done_callback(self._has_read)
                    started[read] = owing, sent
        return started

    def _read(self, entity: EntityRef) -> asyncio.Future[bytes | None]:
        """Start to read a location; the read is cancelled when it takes too long."""
        read = asyncio.ensure_future(self._pipeline.unchecked(entity))
        limit = asyncio.get_running_loop().call_later(READ_LIMIT, read.cancel, TOO_LATE)
        read.add_done_callback(lambda _: limit.cancel())
        return read

    def _has_read(self, _: object) -> None:
        self._reading.release(1)

    async def _send(self, owed: Owed) -> None:
        """Send current locations in order."""
        waiting = list(owed.items())
        for start in range(0, len(waiting), MAX_READING):
            batch = waiting[start : start + MAX_READING]
            await self._reading.acquire(len(batch), self._owner(batch[0][0][0]))
            try:
                # every read is started before one is awaited, so that they share a round trip
                reading = [self._read(entity) for _, (entity, _) in batch]
                for (key, snapshot), read in zip(batch, reading, strict=True):
                    await self._send_current(key, snapshot, read)
            finally:
                self._reading.release(len(batch))

    async def _send_current(
        self, key: tuple[str, str], snapshot: Snapshot, read: Awaitable[bytes | None]
    ) -> None:
        """Send a current location; one that cannot be read is owed, and read again later."""
        (sid, room), (entity, before) = key, snapshot
        try:
            location = await read
        except (Exception, asyncio.CancelledError) as error:  # a plugin's cache may raise both
            if cancellation.is_own(error):
                raise
            self._incidents.report("cache unavailable", reason(error))
            self._owed[key] = snapshot
            self._schedule_owed()
            return
        if location is None or not self._pipeline.is_readable(entity, location):
            return
        await self._turns.step(owner=self._owner(sid))
        event = event_json(entity, location)
        if not self._broadcaster.has_sent(room, event, before):
            self._broadcaster.send_current(sid, room, event)

    def _owner(self, sid: str) -> str:
        """Whom the work for a socket is for, which may have gone."""
        socket = self._sockets.get(sid)
        return sid if socket is None else socket.owner

    def _send_owed(self) -> None:
        """Read again what is owed to members that have not left."""
        owed, self._owed, self._retry = self._owed, {}, None
        wanted = {
            (sid, room): snapshot
            for (sid, room), snapshot in owed.items()
            if sid in self._sockets and room in self._sockets[sid].tracked
        }
        if wanted:
            self._retry = asyncio.ensure_future(self._send(wanted))
            self._retry.add_done_callback(self._sent_owed)

    def _sent_owed(self, _: object) -> None:
        self._retry = None
        self._schedule_owed()

    def _schedule_owed(self) -> None:
        if self._owed and self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(SNAPSHOT_RETRY, self._send_owed)


@attrs.frozen(eq=False)
class Owing:
    """What an event owes its socket before it is answered: the locations of what it has joined."""

    locations: CurrentLocations
    sid: str
    owed: Owed
    answer: Answer
    undo: Callable[[], object]
    """Leaves what was joined, as a subscription has failed."""

    async def sent(self) -> Answer:
        """Send the locations; returns what makes the answer."""
        try:
            await self.locations.send(self.owed)
        except BaseException:
            self.undo()
            raise
        return self.answer

    def sent_together(self) -> asyncio.Future[Answer]:
        """The same, together with what else the socket joins in this turn of the loop."""
        return self.locations.send_together(self)
