"""Which channels this server wants: those of the entities that somebody here watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container

from atriz_realtime.api.contracts import Clock, Deliver, Fanout
from atriz_realtime.api.wire import RedisChannels
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, Rooms

LEAVE_GRACE = 1.0
"""Seconds a channel is kept after its last watcher left: reloads and reconnects come back."""


class ChannelSubscriptions:
    """Follows the rooms: subscribes with the first watcher, unsubscribes after the last.

    :param kinds: the names of the entity types; other rooms have no channel.
    """

    def __init__(self, kinds: Container[str], clock: Clock) -> None:
        self._kinds = kinds
        self._pending: dict[str, asyncio.Future[None]] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._subscribed: set[str] = set()
        self._fanout: Fanout | None = None
        self._follows_all = False
        self.rooms = Rooms(clock=clock, first_joined=self._first_joined, last_left=self._last_left)

    def start(self, fanout: Fanout, received: Deliver, forget: Callable[[str], None]) -> None:
        """Begin to subscribe; rooms that have members already are caught up with.

        :param received: takes what comes on a channel.
        :param forget: told of a channel that is no longer heard.
        """
        self._received = received
        self._forget = forget
        self._fanout = fanout
        for room in self.watched_rooms():
            self._first_joined(room)

    async def ready(self, room: str) -> None:
        """Wait until whatever is published to a room from now on arrives here."""
        pending = self._pending.get(room)
        if pending is not None:
            await asyncio.shield(pending)

    def watched(self, channel: str) -> bool:
        """Whether somebody here hears a channel."""
        return channel in self._subscribed

    def watched_rooms(self) -> list[str]:
        """The entities' rooms that have members here."""
        return [
            room
            for room in self.rooms.rooms.get(DEFAULT_NAMESPACE, {})
            if room is not None and self._is_entity(room)
        ]

    async def follow_all(self) -> None:
        """Hear every channel, watched or not."""
        self._follows_all = True
        if self._fanout is not None:
            await self._fanout.subscribe(RedisChannels.ALL, self._received_all)

    def unfollow_all(self) -> None:
        """Hear only what is watched again."""
        self._follows_all = False
        if self._fanout is not None:
            self._fanout.unsubscribe(RedisChannels.ALL)

    def _received_all(self, channel: str, event: bytes) -> None:
        """Take an event unless it comes on its own channel as well, which is confirmed."""
        pending = self._pending.get(channel.removeprefix(RedisChannels.PREFIX))
        confirmed = pending is None or pending.done()
        if not (confirmed and channel in self._subscribed):
            self._received(channel, event)

    def _first_joined(self, room: str) -> None:
        if self._fanout is None or not self._is_entity(room):
            return
        channel = RedisChannels.PREFIX + room
        leaving = self._leaving.pop(room, None)
        if leaving is not None:
            leaving.cancel()
            return
        self._subscribed.add(channel)
        future = asyncio.ensure_future(self._fanout.subscribe(channel, self._received))
        if not future.done():
            self._pending[room] = future
            future.add_done_callback(lambda done: self._confirmed(room, done))

    def _last_left(self, room: str) -> None:
        if self._fanout is not None and self._is_entity(room):
            self._leaving[room] = asyncio.get_running_loop().call_later(
                LEAVE_GRACE, self._leave, room
            )

    def _leave(self, room: str) -> None:
        del self._leaving[room]
        self._pending.pop(room, None)
        channel = RedisChannels.PREFIX + room
        self._subscribed.discard(channel)
        self._forget(channel)
        if self._fanout is not None:
            self._fanout.unsubscribe(channel)

    def _confirmed(self, room: str, done: asyncio.Future[None]) -> None:
        if self._pending.get(room) is done:
            del self._pending[room]

    def _is_entity(self, room: str) -> bool:
        kind, _, entity_id = room.partition(":")
        if entity_id.endswith("*"):  # its channel would be a pattern
            return False
        return bool(entity_id) and kind in self._kinds
