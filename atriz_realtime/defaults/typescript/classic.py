"""The adapter that ``createAdapter`` of ``@socket.io/redis-adapter`` 8.3 makes.

An emit is MessagePack, ``[uid, packet, options]``.  One to exactly one room goes on
``<key>#/#<room>#``, any other on ``<key>#/#``.  Requests are JSON on ``<key>-request#/#``.  The
server that asks waits for as many responses as that channel has subscribers, so every request is
answered.
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
from atriz_realtime.defaults.typescript.codec import Broadcast, UnreadableMessage, names, to_json


class RequestType(IntEnum):
    """The adapter's enumeration of the same name."""

    SOCKETS = 0
    ALL_ROOMS = 1
    REMOTE_JOIN = 2
    REMOTE_LEAVE = 3
    REMOTE_DISCONNECT = 4
    REMOTE_FETCH = 5
    SERVER_SIDE_EMIT = 6
    BROADCAST = 7
    BROADCAST_CLIENT_COUNT = 8


def request_channel(key: str) -> str:
    """The channel of requests."""
    return f"{key}-request#/#"


def response_channel(key: str, uid: str) -> str:
    """The channel of responses to one server."""
    return f"{key}-response#/#{uid}#"


def encoded(broadcast: Broadcast) -> bytes:
    """The message of an emit."""
    message: bytes = msgpack.packb([broadcast.sender, broadcast.packet, broadcast.options])
    return message


@attrs.define(eq=False, kw_only=True)
class ClassicAdapter(Adapter):
    """Emits on a pattern of channels, requests on a channel of their own."""

    _requests: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._requests = request_channel(self._key)

    def start(self) -> Awaitable[Any]:
        """Subscribe to emits and requests."""
        return asyncio.gather(
            self._carrier.subscribe(self._channel + "*", self._deliver),
            self._carrier.subscribe(self._requests, self._deliver),
        )

    async def aclose(self) -> None:
        """Unsubscribe, and wait for the responses in flight."""
        self._carrier.unsubscribe(self._channel + "*")
        self._carrier.unsubscribe(self._requests)
        await super().aclose()

    async def ready(self, room: str) -> None:
        """Return at once: the pattern matches every room's channel."""

    def send(self, broadcast: Broadcast) -> Awaitable[None]:
        """Emit to the sockets of other servers."""
        rooms = broadcast.rooms
        channel = self._channel_of(rooms[0]) if len(rooms) == 1 else self._channel
        return self._carrier.publish(channel, encoded(broadcast))

    def handle(self, channel: str, message: Any) -> None:
        """Handle an emit, or a request."""
        if channel == self._requests:
            self._answer(message)
            return
        if not isinstance(message, list) or len(message) < 3:
            raise UnreadableMessage("no [uid, packet, options]")
        broadcast = Broadcast.read(*message[:3])
        if broadcast is not None:
            self._received(broadcast)

    def _answer(self, request: Any) -> None:
        if not isinstance(request, Mapping):
            raise UnreadableMessage("no request")
        members, options = self._members, request.get("opts", {})
        answer: dict[str, Any] | None = None
        match request.get("type"):
            case RequestType.SOCKETS:
                matching = members.details({"rooms": names(request.get("rooms"))})
                answer = {"sockets": [socket["id"] for socket in matching]}
            case RequestType.ALL_ROOMS:
                answer = {"rooms": members.rooms()}
            case RequestType.REMOTE_JOIN:
                members.join(options, request.get("rooms"))
            case RequestType.REMOTE_LEAVE:
                members.leave(options, request.get("rooms"))
            case RequestType.REMOTE_DISCONNECT:
                members.disconnect(options)
            case RequestType.REMOTE_FETCH:
                answer = {"sockets": members.details(options)}
            case RequestType.SERVER_SIDE_EMIT if "requestId" in request:
                answer = {"type": RequestType.SERVER_SIDE_EMIT, "data": None}
            case RequestType.BROADCAST:  # it asks every client for an acknowledgement
                answer = {"type": RequestType.BROADCAST_CLIENT_COUNT, "clientCount": 0}
        if answer is not None:
            response = to_json({"requestId": request.get("requestId"), **answer})
            channel = response_channel(self._key, str(request.get("uid")))
            self._respond(partial(self._carrier.publish, channel, response))
