"""The parts of the core put together without a network: real rooms, outboxes, sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any

import attrs

from atriz_realtime import RealtimeConfig
from atriz_realtime.api import Deliver, EntityRef, RedisChannels, Unavailable
from atriz_realtime.core.clients.socket_server import SocketServer
from atriz_realtime.core.hub.channels import ChannelSubscriptions
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, Rooms
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.defaults.memory import MemoryFanout
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.session import Session, State
from atriz_realtime.testing import FakeClock

KINDS = ("vehicle", "delivery")
TRACKING: Any = None
"""What ``TrackingService`` finds its server through; not used here."""


def messages(content: Iterable[Packet]) -> list[str | bytes]:
    """What packets of messages carry."""
    return [
        packet.content if packet.binary else packet.content.decode().removeprefix("4")
        for packet in content
    ]


class Wire:
    """A transport that keeps what it was given to send."""

    name = "websocket"

    def __init__(self) -> None:
        self.sent: list[Packet] = []

    def write(self, content: list[Packet]) -> None:
        """Keep it."""
        self.sent += content

    def pause_reading(self) -> None:
        """Nothing comes in here."""

    def resume_reading(self) -> None:
        """Likewise."""

    def close(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Likewise."""


@attrs.frozen(eq=False)
class Member:
    """A connected session."""

    sid: str
    session: Session
    wire: Wire

    @property
    def eio_sid(self) -> str:
        """Its session's id."""
        return self.session.sid

    def count(self) -> int:
        """How many packets were sent to it and not taken yet."""
        self.session.flush()
        return len(self.wire.sent)

    @property
    def frames(self) -> list[str | bytes]:
        """Take what was sent to it."""
        self.session.flush()
        sent, self.wire.sent = self.wire.sent, []
        return messages(sent)


class Hub:
    """Rooms and what they need, as a server has them."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.incidents = Incidents(self.clock)
        self.channels = ChannelSubscriptions(KINDS, self.clock)
        self.rooms: Rooms = self.channels.rooms
        self.server = SocketServer(RealtimeConfig(**settings), self.rooms, self.incidents, TRACKING)

    async def connect(self, namespace: str = DEFAULT_NAMESPACE) -> Member:
        """A new session, connected to a namespace."""
        engine, wire = self.server.eio, Wire()
        request = Request(b"GET /socket.io/ HTTP/1.1\r\n\r\n", ("127.0.0.1", 4711), "http")
        session = engine.sessions.create(request, wire)
        session.state = State.OPEN
        sid = await self.rooms.pre_connect(session.sid, namespace)
        assert sid is not None
        await self.rooms.connect(sid, namespace)
        return Member(sid, session, wire)

    async def disconnect(self, member: Member, namespace: str = DEFAULT_NAMESPACE) -> None:
        """Let a session go."""
        self.rooms.pre_disconnect(member.sid, namespace)
        await self.rooms.disconnect(member.sid, namespace)
        self.server.eio.sockets.pop(member.eio_sid, None)

    def enter(self, member: Member, room: str) -> None:
        """Put a session into a room."""
        self.rooms.basic_enter_room(member.sid, DEFAULT_NAMESPACE, room)

    def leave(self, member: Member, room: str) -> None:
        """Take it out."""
        self.rooms.basic_leave_room(member.sid, DEFAULT_NAMESPACE, room)


def channel(entity_id: str = "v1", kind: str = "vehicle") -> str:
    """An entity's channel."""
    return RedisChannels.entity(EntityRef(kind, entity_id))


class Fanned(MemoryFanout):
    """The memory fan-out, which notes what is asked of it.

    :param confirms: whether channels are subscribed at once, or when :meth:`confirm` is
        called, as on a server far away; patterns always are.
    """

    def __init__(self, *, confirms: bool = True) -> None:
        super().__init__()
        self.asked: list[str] = []
        self._confirms = confirms
        self._late: list[tuple[str, Deliver, asyncio.Future[None]]] = []

    def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
        """Subscribe, and note it."""
        self.asked.append(f"+{channel}")
        if self._confirms or channel.endswith("*"):
            return super().subscribe(channel, deliver)
        confirmed = asyncio.get_running_loop().create_future()
        self._late.append((channel, deliver, confirmed))
        return confirmed

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe, and note it."""
        self.asked.append(f"-{channel}")
        self._late = [late for late in self._late if late[0] != channel]
        super().unsubscribe(channel)

    def confirm(self) -> None:
        """Subscribe to what was asked for."""
        for channel, deliver, confirmed in self._late:
            super().subscribe(channel, deliver)
            confirmed.set_result(None)
        self._late.clear()

    @property
    def subscribed(self) -> set[str]:
        """What is subscribed."""
        return set(self._channels) | {f"{prefix}*" for prefix in self._patterns}


AWAY = Unavailable("it is away")


class Away:
    """A cache or a fan-out that is away while :attr:`away` is set, and slow until its gate opens.

    It stands in front of a real one, as a network does.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.away: Exception | None = None
        self.at_once = False
        """Whether a call fails, rather than what it returns."""
        self.gate: asyncio.Event | None = None
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        reach = getattr(self._backend, name)

        async def call(*arguments: Any) -> Any:
            if self.gate is not None:
                await self.gate.wait()
            if self.away is not None:
                raise self.away
            return await reach(*arguments)

        def called(*arguments: Any) -> Any:
            self.calls.append(name)
            if self.at_once and self.away is not None:
                raise self.away
            return call(*arguments)

        return reach if name in ("subscribe", "unsubscribe") else called
