"""The parts of the core put together without a network: real rooms, outboxes and sessions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterable
from typing import Any

import attrs

from atriz_realtime import RealtimeConfig
from atriz_realtime.api import (
    AuthenticationRejected,
    Credentials,
    Deliver,
    EntityRef,
    Identity,
    NotAuthenticated,
    RedisChannels,
    Unavailable,
    View,
)
from atriz_realtime.core.clients.gateway import Gateway
from atriz_realtime.core.clients.socket_server import SocketServer
from atriz_realtime.core.clients.sockets import ConnectedSocket, EventHandlers
from atriz_realtime.core.clients.subscriptions import Subscriptions
from atriz_realtime.core.hub.broadcast import LocationBroadcaster
from atriz_realtime.core.hub.channels import ChannelSubscriptions
from atriz_realtime.core.hub.relay import Relay
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, RoomManager
from atriz_realtime.core.hub.views import Views
from atriz_realtime.core.hub.watermarks import Watermarks
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.defaults.memory import MemoryFanout
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.session import Session, State, Transport
from atriz_realtime.testing import FakeClock

KINDS = ("vehicle", "delivery")
UNUSED: Any = None
"""Stands for a part that no test of the core calls."""

REQUEST = Request(b"GET /socket.io/ HTTP/1.1\r\n\r\n", ("10.0.0.1", 4321), "http")


def messages(content: Iterable[Packet]) -> list[str | bytes]:
    """What packets of messages carry."""
    return [
        packet.content if packet.binary else packet.content.decode().removeprefix("4")
        for packet in content
    ]


class Wire(Transport):
    """A transport that records the packets that are sent."""

    name = "websocket"

    def __init__(self) -> None:
        self.sent: list[Packet] = []

    def write(self, content: list[Packet]) -> None:
        """Record packets."""
        self.sent += content


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


class StubAccess:
    """Accepts the tokens ``user:<id>`` while its gate is open, unless the user is revoked."""

    authorizes = False

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.revoked: set[str] = set()
        self.may_track_gate = asyncio.Event()
        self.may_track_gate.set()
        self.refused: set[str] = set()
        """Ids of entities that nobody may track."""

    def is_accepted(self, identity: Identity) -> bool:
        return identity.user_id not in self.revoked

    async def may_track(self, identity: Identity, entity: EntityRef) -> bool:
        await self.may_track_gate.wait()
        return entity.id not in self.refused

    async def authenticate(
        self,
        credentials: Credentials,
        *,
        narrow: bool = False,
        already_authenticated: bool = False,
    ) -> Identity:
        await self.gate.wait()
        match credentials.token:
            case None:
                raise NotAuthenticated
            case str(token) if token.startswith("user:"):
                return Identity(user_id=token.removeprefix("user:"))
        raise AuthenticationRejected("no such user")


class Positions:
    """The current locations, by entity; none can be read while :attr:`away` is set."""

    def __init__(self) -> None:
        self.away = False
        self.by_entity: dict[EntityRef, bytes] = {}

    def entity(self, kind: str, entity_id: str) -> EntityRef:
        return EntityRef(kind, entity_id)

    async def unchecked(self, entity: EntityRef) -> bytes | None:
        if self.away:
            raise Unavailable("it is away")
        return self.by_entity.get(entity)

    def is_readable(self, _: EntityRef, location: bytes) -> bool:
        return location.startswith(b"{")


def user(name: str) -> dict[str, str]:
    """The handshake ``auth`` of a user."""
    return {"token": f"user:{name}"}


@attrs.frozen
class RegisteredViews:
    """A registry of nothing but views; the view ``a`` is the plugin ``plugin-of-a``'s."""

    views: list[View]
    authenticators: tuple[()] = ()
    authorizers: tuple[()] = ()

    @staticmethod
    def owner(record: View) -> str:
        return f"plugin-of-{record.name}"


class Hub:
    """The hub and the clients' wing, as a server puts them together.

    :param registered: the views of plugins.
    :param plugin_timeout: seconds that a call of a plugin may take.
    """

    def __init__(self, *registered: View, plugin_timeout: float = 5, **settings: Any) -> None:
        config = RealtimeConfig(**settings)
        self.clock = FakeClock()
        self.incidents = Incidents(self.clock)
        self.plugin_runner = PluginRunner(self.incidents, self.clock, plugin_timeout)
        registry: Any = RegisteredViews(list(registered))
        self.registry = registry
        self.views = Views(registry, self.plugin_runner, self.incidents) if registered else None
        self.relay = Relay(self.incidents)
        watermarks = Watermarks(self.clock)
        self.rooms = RoomManager(self.views, watermarks, self.relay)
        self.broadcaster = LocationBroadcaster(self.rooms, self.views, watermarks)
        self.channels = ChannelSubscriptions(self.rooms, KINDS)
        self.access = StubAccess()
        access: Any = self.access
        self.sockets: dict[str, ConnectedSocket] = {}
        self.positions = Positions()
        pipeline: Any = self.positions
        handlers = EventHandlers()
        subscriptions = Subscriptions(
            sockets=self.sockets,
            handlers=handlers,
            rooms=self.rooms,
            views=self.views,
            broadcaster=self.broadcaster,
            channels=self.channels,
            access=access,
            pipeline=pipeline,
            incidents=self.incidents,
            clock=self.clock,
            kinds=KINDS,
            limit=config.max_subscriptions,
        )
        self.subscriptions = subscriptions
        self.gateway = Gateway(
            config=config,
            rooms=self.rooms,
            handlers=handlers,
            sockets=self.sockets,
            subscriptions=subscriptions,
            access=access,
            plugin_runner=self.plugin_runner,
            incidents=self.incidents,
            clock=self.clock,
        )
        self.server = SocketServer(
            config, self.rooms, self.gateway, handlers, self.incidents, UNUSED, lambda: None, ""
        )

    async def connect(self, namespace: str = DEFAULT_NAMESPACE) -> Member:
        """A new session, connected to a namespace past the gateway."""
        engine, wire = self.server.eio, Wire()
        session = engine.sessions.create(REQUEST, wire)
        session.state = State.OPEN
        sid = self.rooms.register(session.sid, namespace)
        assert sid is not None
        self.rooms.accept(sid, namespace, Packet(b"40"))
        member = Member(sid, session, wire)
        assert len(member.frames) == 1
        return member

    async def sign_in(self, auth: Any = None) -> Member:
        """A new session, connected through the gateway."""
        member = await self.connect()
        await self.gateway.connected(member.sid, REQUEST, auth)
        return member

    async def send(self, member: Member, *event: Any) -> Any:
        """Send an event as the client would; returns the acknowledgement."""
        _ = member.frames  # drops what was sent before
        await self.handle(member, list(event))
        acks = [frame for frame in member.frames if str(frame).startswith("31[")]
        return json.loads(acks[0][2:])[0] if acks else None

    async def handle(self, member: Member, event: list[Any], number: int | None = 1) -> None:
        """Handle an event of a client."""
        await self.server._event(member.session, member.sid, DEFAULT_NAMESPACE, event, number)

    async def disconnect(self, member: Member, namespace: str = DEFAULT_NAMESPACE) -> None:
        """End a session."""
        self.rooms.pre_disconnect(member.sid, namespace)
        await self.rooms.disconnect(member.sid, namespace)
        self.server.eio.sockets.pop(member.eio_sid, None)

    def enter(self, member: Member, room: str) -> None:
        """Put a session into a room."""
        self.rooms.basic_enter_room(member.sid, DEFAULT_NAMESPACE, room)

    def leave(self, member: Member, room: str) -> None:
        """Take a session out of a room."""
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

    def confirm(self, *channels: str) -> None:
        """Subscribe to what was asked for, or only to some of it."""
        late, self._late = self._late, []
        for channel, deliver, confirmed in late:
            if channels and channel not in channels:
                self._late.append((channel, deliver, confirmed))
            elif not confirmed.done():
                super().subscribe(channel, deliver)
                confirmed.set_result(None)

    def confirming(self, channel: str) -> asyncio.Future[None]:
        """What the subscription of a channel waits for."""
        return next(confirmed for name, _, confirmed in self._late if name == channel)

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
