"""Which channels this server subscribes to: those of the entities that are watched here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container

from atriz_realtime.api.contracts import Deliver, Fanout
from atriz_realtime.api.wire import RedisChannels
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, RoomManager

UNSUBSCRIBE_DELAY = 1.0
"""Seconds a channel stays subscribed after its last watcher has left: clients that reload or
reconnect come back."""


class ChannelSubscriptions:
    """Subscribes to an entity's channel with its first watcher, unsubscribes after the last.

    :param kinds: the names of the entity types; other rooms have no channel.
    """

    def __init__(self, rooms: RoomManager, kinds: Container[str]) -> None:
        self._rooms = rooms
        self._kinds = kinds
        self._pending: dict[str, asyncio.Future[None]] = {}
        self._unsubscribing: dict[str, asyncio.TimerHandle] = {}
        self._subscribed: set[str] = set()
        self._all_confirmed = False
        self._fanout: Fanout | None = None
        rooms.follow(self._filled, self._emptied)

    def start(self, fanout: Fanout, received: Deliver, unsubscribed: Callable[[str], None]) -> None:
        """Begin to subscribe, first to the channels of the rooms that have members already.

        :param received: called with what is published on a channel.
        :param unsubscribed: called with a channel that is no longer subscribed.
        """
        self._received = received
        self._unsubscribed = unsubscribed
        self._fanout = fanout
        for room in self.watched_rooms():
            self._filled(room)

    def confirming(self, room: str) -> asyncio.Future[None] | None:
        """What is done when the subscription of a room's channel is confirmed; ``None``: it is.

        A subscription that has failed, as that of a plugin's fan-out may, is tried again.
        Whatever is published to the room from then on arrives here.
        """
        pending = self._pending.get(room)
        if pending is not None and pending.done() and failure(pending) is not None:
            self._subscribe(room)
            pending = self._pending.get(room)
        return pending

    async def confirmed(self, room: str) -> None:
        """Wait until the subscription of a room's channel is confirmed."""
        pending = self.confirming(room)
        if pending is not None:
            await asyncio.shield(pending)

    def is_subscribed(self, channel: str) -> bool:
        """Whether an entity's channel is subscribed for its watchers."""
        return channel in self._subscribed

    def is_confirmed(self, channel: str) -> bool:
        """Whether whatever is published on a channel from now on arrives here.

        What is published before may have come too early: Redis takes subscriptions and messages
        on two connections.
        """
        if self._all_confirmed:
            return True
        return channel in self._subscribed and RedisChannels.room(channel) not in self._pending

    def watched_rooms(self) -> list[str]:
        """The entities' rooms that have members here."""
        return [
            room
            for room in self._rooms.rooms.get(DEFAULT_NAMESPACE, {})
            if room is not None and self._is_entity(room)
        ]

    async def subscribe_all(self) -> None:
        """Subscribe to every entity's channel, watched or not."""
        if self._fanout is not None:
            await self._fanout.subscribe(RedisChannels.ALL, self._received_from_all)
            self._all_confirmed = True

    def unsubscribe_all(self) -> None:
        """Subscribe only to what is watched again."""
        self._all_confirmed = False
        if self._fanout is not None:
            self._fanout.unsubscribe(RedisChannels.ALL)

    def _received_from_all(self, channel: str, event: bytes) -> None:
        """Take an event, unless the subscription of its own channel delivers it as well."""
        pending = self._pending.get(RedisChannels.room(channel))
        confirmed = pending is None or (pending.done() and failure(pending) is None)
        if not (confirmed and channel in self._subscribed):
            self._received(channel, event)

    def _filled(self, room: str) -> None:
        if self._fanout is None or not self._is_entity(room):
            return
        unsubscribing = self._unsubscribing.pop(room, None)
        if unsubscribing is not None:
            unsubscribing.cancel()
            return
        self._subscribe(room)

    def _subscribe(self, room: str) -> None:
        if self._fanout is None:
            return
        channel = RedisChannels.PREFIX + room
        self._subscribed.add(channel)
        future = asyncio.ensure_future(self._fanout.subscribe(channel, self._received))
        if future.done() and failure(future) is None:
            self._pending.pop(room, None)
            return
        self._pending[room] = future
        future.add_done_callback(lambda done: self._confirm(room, done))

    def _emptied(self, room: str) -> None:
        if self._fanout is not None and self._is_entity(room):
            self._unsubscribing[room] = asyncio.get_running_loop().call_later(
                UNSUBSCRIBE_DELAY, self._unsubscribe, room
            )

    def _unsubscribe(self, room: str) -> None:
        del self._unsubscribing[room]
        self._pending.pop(room, None)
        channel = RedisChannels.PREFIX + room
        self._subscribed.discard(channel)
        self._unsubscribed(channel)
        if self._fanout is not None:
            self._fanout.unsubscribe(channel)

    def _confirm(self, room: str, done: asyncio.Future[None]) -> None:
        if failure(done) is not None:
            return
        if self._pending.get(room) is done:
            del self._pending[room]

    def _is_entity(self, room: str) -> bool:
        kind, _, entity_id = room.partition(":")
        return kind in self._kinds and bool(entity_id) and not RedisChannels.is_pattern(room)


def failure(subscribing: asyncio.Future[None]) -> BaseException | None:
    """Why a subscription that is done has failed; a plugin's fan-out may raise anything."""
    if subscribing.cancelled():
        return ConnectionAbortedError("the subscription was cancelled")
    return subscribing.exception()
