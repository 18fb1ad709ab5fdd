"""The adapter that ``createShardedAdapter`` of ``@socket.io/redis-adapter`` 8.3 makes.

Messages are JSON objects, or MessagePack when they contain bytes, over sharded pub/sub.  An emit
to one room that is not a socket's own goes on ``<key>#/#<room>#``, which servers with a member of
the room subscribe to.  Everything else goes on ``<key>#/#``, and responses on
``<key>#/#<uid of the server that asked>#``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from enum import IntEnum
from functools import partial
from typing import Any

import attrs
import msgpack

from atriz_realtime.defaults.typescript.adapter import Adapter
from atriz_realtime.defaults.typescript.codec import (
    NAMESPACE,
    Broadcast,
    UnreadableMessage,
    has_binary,
    to_json,
)

SOCKET_ID_LENGTH = 20
"""Characters of a room's name that the adapter takes for a socket's own room."""


class MessageType(IntEnum):
    """The adapter's enumeration of the same name."""

    BROADCAST = 3
    SOCKETS_JOIN = 4
    SOCKETS_LEAVE = 5
    DISCONNECT_SOCKETS = 6
    FETCH_SOCKETS = 7
    FETCH_SOCKETS_RESPONSE = 8
    SERVER_SIDE_EMIT = 9
    SERVER_SIDE_EMIT_RESPONSE = 10
    BROADCAST_CLIENT_COUNT = 11


@attrs.define(eq=False, kw_only=True)
class ShardedAdapter(Adapter):
    """Emits on one channel, and on one for each room that has members here."""

    _rooms: dict[str, asyncio.Future[Any]] = attrs.field(init=False, factory=dict)
    _started: bool = attrs.field(init=False, default=False)

    def start(self) -> Awaitable[Any]:
        """Subscribe to the common channel, and to those of rooms with members."""
        self._started = True
        subscribed = asyncio.ensure_future(self._carrier.subscribe(self._channel, self._deliver))
        self._members.membership.follow(self._filled, self._emptied)
        return asyncio.gather(subscribed, *self._rooms.values())

    async def aclose(self) -> None:
        """Unsubscribe, and wait for the responses in flight."""
        self._started = False
        self._carrier.unsubscribe(self._channel)
        for room in list(self._rooms):
            self._emptied(room)
        await super().aclose()

    def ready(self, room: str) -> Awaitable[Any]:
        """Wait until the room's channel is subscribed."""
        self._filled(room)
        return asyncio.shield(self._rooms[room])

    def send(self, broadcast: Broadcast) -> Awaitable[None]:
        """Emit to the sockets of other servers."""
        channel = self._channel
        if len(broadcast.rooms) == 1 and len(broadcast.rooms[0]) != SOCKET_ID_LENGTH:
            channel = self._channel_of(broadcast.rooms[0])
        return self._publish(
            channel,
            broadcast.sender,
            MessageType.BROADCAST,
            {"packet": broadcast.packet, "opts": broadcast.options},
        )

    def handle(self, channel: str, message: Any) -> None:  # noqa: ARG002  # the message says all
        """Handle an emit, or a request."""
        if not isinstance(message, Mapping) or not isinstance(message.get("data"), Mapping):
            raise UnreadableMessage("no message with data")
        if message.get("nsp") != NAMESPACE:
            return
        data: Mapping[str, Any] = message["data"]
        asked = data.get("requestId") is not None
        members, options = self._members, data.get("opts", {})
        match message.get("type"):
            case MessageType.BROADCAST if asked:  # it asks every client for an acknowledgement
                self._answer(message, MessageType.BROADCAST_CLIENT_COUNT, {"clientCount": 0})
            case MessageType.BROADCAST:
                broadcast = Broadcast.read(message.get("uid"), data.get("packet"), options)
                if broadcast is not None:
                    self._received(broadcast)
            case MessageType.SOCKETS_JOIN:
                members.join(options, data.get("rooms"))
            case MessageType.SOCKETS_LEAVE:
                members.leave(options, data.get("rooms"))
            case MessageType.DISCONNECT_SOCKETS:
                members.disconnect(options)
            case MessageType.FETCH_SOCKETS:
                sockets = {"sockets": members.details(options)}
                self._answer(message, MessageType.FETCH_SOCKETS_RESPONSE, sockets)
            case MessageType.SERVER_SIDE_EMIT if asked:
                nothing = {"packet": None}
                self._answer(message, MessageType.SERVER_SIDE_EMIT_RESPONSE, nothing)

    def _answer(
        self, request: Mapping[str, Any], kind: MessageType, answer: Mapping[str, Any]
    ) -> None:
        data = {"requestId": request["data"].get("requestId"), **answer}
        channel = self._channel_of(str(request.get("uid")))
        self._respond(partial(self._publish, channel, self._uid, kind, data))

    def _publish(
        self, channel: str, uid: str, kind: MessageType, data: Mapping[str, Any]
    ) -> Awaitable[None]:
        message = {"uid": uid, "nsp": NAMESPACE, "type": kind, "data": data}
        encode = msgpack.packb if has_binary(message) else to_json
        return self._carrier.publish(channel, encode(message))

    def _filled(self, room: str) -> None:
        if self._started and room not in self._rooms:
            subscribing = self._carrier.subscribe(self._room_channel(room), self._deliver)
            self._rooms[room] = asyncio.ensure_future(subscribing)

    def _emptied(self, room: str) -> None:
        if self._rooms.pop(room, None) is not None:
            self._carrier.unsubscribe(self._room_channel(room))

    def _room_channel(self, room: str) -> str:
        return self._channel_of(self._members.names.theirs([room])[0])
