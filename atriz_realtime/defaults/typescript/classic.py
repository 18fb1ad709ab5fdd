"""The adapter that ``createAdapter`` of ``@socket.io/redis-adapter`` 8.3 makes.

Emits are MessagePack ``[uid, packet, options]`` on ``<key>#/#<room>#``, or on ``<key>#/#``
unless they are for exactly one room.  Requests are JSON on ``<key>-request#/#``; whoever
asks waits for as many answers as that channel has subscribers, so each is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from enum import IntEnum
from typing import Any

from atriz_realtime.api import Fanout
from atriz_realtime.defaults.typescript.adapter import Adapter, AdapterEvents
from atriz_realtime.defaults.typescript.codec import (
    Broadcast,
    Unreadable,
    names,
    pack,
    to_json,
)
from atriz_realtime.defaults.typescript.members import Members


class Request(IntEnum):
    """What its ``RequestType`` numbers."""

    SOCKETS = 0
    ALL_ROOMS = 1
    REMOTE_JOIN = 2
    REMOTE_LEAVE = 3
    REMOTE_DISCONNECT = 4
    REMOTE_FETCH = 5
    SERVER_SIDE_EMIT = 6
    BROADCAST = 7
    BROADCAST_CLIENT_COUNT = 8


class ClassicAdapter(Adapter):
    """Emits on a pattern of channels, requests on a channel of their own."""

    def __init__(self, carrier: Fanout, key: str, members: Members, events: AdapterEvents) -> None:
        super().__init__(carrier, members, events)
        self._channel = f"{key}#/#"
        self._requests = f"{key}-request#/#"
        self._responses = f"{key}-response#/#"

    def start(self) -> Awaitable[Any]:
        """Begin to receive."""
        return asyncio.gather(
            self._carrier.subscribe(self._channel + "*", self._receive),
            self._carrier.subscribe(self._requests, self._receive),
        )

    async def aclose(self) -> None:
        """Stop."""
        self._carrier.unsubscribe(self._channel + "*")
        self._carrier.unsubscribe(self._requests)
        await super().aclose()

    def send(self, broadcast: Broadcast) -> Awaitable[None]:
        """Emit to the sockets of other servers."""
        channel = self._channel
        if len(broadcast.rooms) == 1:
            channel += f"{broadcast.rooms[0]}#"
        message = [broadcast.sender, broadcast.packet, broadcast.options]
        return self._carrier.publish(channel, pack(message))

    def take(self, channel: str, message: Any) -> None:
        """Handle what came."""
        if channel == self._requests:
            self._answer(message)
            return
        if not isinstance(message, list) or len(message) < 3:
            raise Unreadable("no [uid, packet, options]")
        broadcast = Broadcast.read(*message[:3])
        if broadcast is not None:
            self._events.received(broadcast)

    def _answer(self, request: Any) -> None:
        if not isinstance(request, Mapping):
            raise Unreadable("no request")
        members, options = self._members, request.get("opts", {})
        match request.get("type"):
            case Request.SOCKETS:
                matching = members.details({"rooms": names(request.get("rooms"))})
                self._respond(request, {"sockets": [socket["id"] for socket in matching]})
            case Request.ALL_ROOMS:
                self._respond(request, {"rooms": members.rooms()})
            case Request.REMOTE_JOIN:
                members.join(options, request.get("rooms"))
            case Request.REMOTE_LEAVE:
                members.leave(options, request.get("rooms"))
            case Request.REMOTE_DISCONNECT:
                members.disconnect(options)
            case Request.REMOTE_FETCH:
                self._respond(request, {"sockets": members.details(options)})
            case Request.SERVER_SIDE_EMIT if "requestId" in request:
                self._respond(request, {"type": Request.SERVER_SIDE_EMIT, "data": None})
            case Request.BROADCAST:  # which asks every client for an acknowledgement
                count = {"type": Request.BROADCAST_CLIENT_COUNT, "clientCount": 0}
                self._respond(request, count)

    def _respond(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        message = to_json({"requestId": request.get("requestId"), **answer})
        self.post(self._carrier.publish(f"{self._responses}{request.get('uid')}#", message))
