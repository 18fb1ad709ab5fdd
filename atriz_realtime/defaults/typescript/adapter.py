"""The base of the two adapters, and the sockets of this server that their requests address."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import product
from typing import Any

import attrs
from redis.exceptions import RedisError

from atriz_realtime.api import Fanout, Membership, Rooms, Unavailable
from atriz_realtime.defaults.typescript.codec import Broadcast, UnreadableMessage, names, unpack

MAX_RESPONSES_IN_FLIGHT = 1_000
"""Responses to other servers that may be in flight; beyond, requests go unanswered."""


def common_channel(key: str) -> str:
    """The channel of emits that are not for one room; the channels of rooms begin with it."""
    return f"{key}#/#"


def room_channel(key: str, room: str) -> str:
    """The channel of emits to one room."""
    return f"{common_channel(key)}{room}#"


@attrs.frozen
class RoomNames:
    """Translates the one room with another name on TypeScript servers."""

    authenticated: str
    """Their name for the room of authenticated sockets."""

    def theirs(self, rooms: Iterable[str]) -> list[str]:
        """Rooms of this package under their names on TypeScript servers."""
        return [self.authenticated if room == Rooms.AUTHENTICATED else room for room in rooms]

    def ours(self, rooms: Iterable[str]) -> list[str]:
        """Rooms of TypeScript servers under their names in this package."""
        return [Rooms.AUTHENTICATED if room == self.authenticated else room for room in rooms]


@attrs.frozen
class Members:
    """Finds and changes this server's sockets by an adapter's options, with TypeScript names."""

    membership: Membership
    names: RoomNames

    def details(self, options: Any) -> list[dict[str, Any]]:
        """The matching sockets as ``fetchSockets`` returns them, handshake and data left out."""
        return [
            {"id": sid, "handshake": {}, "rooms": self.names.theirs(rooms), "data": {}}
            for sid, rooms in self._matching(options).items()
        ]

    def rooms(self) -> list[str]:
        """Every room with a member here."""
        sockets = self.membership.select([], [])
        return self.names.theirs({room for rooms in sockets.values() for room in rooms})

    def join(self, options: Any, rooms: Any) -> None:
        """Add the matching sockets to rooms."""
        for sid, room in product(self._matching(options), self.names.ours(names(rooms))):
            self.membership.join(sid, room)

    def leave(self, options: Any, rooms: Any) -> None:
        """Remove the matching sockets from rooms."""
        for sid, room in product(self._matching(options), self.names.ours(names(rooms))):
            self.membership.leave(sid, room)

    def disconnect(self, options: Any) -> None:
        """Disconnect the matching sockets."""
        for sid in self._matching(options):
            self.membership.disconnect(sid)

    def _matching(self, options: Any) -> Mapping[str, Any]:
        if not isinstance(options, Mapping):
            raise UnreadableMessage("no options")
        ours = self.names.ours
        return self.membership.select(
            ours(names(options.get("rooms"))), ours(names(options.get("except")))
        )


@attrs.define(eq=False, kw_only=True)
class Adapter(ABC):
    """Speaks the protocol of one Socket.IO adapter with the TypeScript servers."""

    _carrier: Fanout
    """Publishes and subscribes the adapter's channels."""
    _key: str
    """The prefix of those channels."""
    _uid: str
    """This server's id as a sender."""
    _members: Members
    _received: Callable[[Broadcast], None]
    """Called with every emit that arrives, this server's own included."""
    _report: Callable[[str, str], None]
    """See :class:`~atriz_realtime.api.Resources`."""
    _channel: str = attrs.field(init=False)
    _responses_in_flight: set[asyncio.Future[None]] = attrs.field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        self._channel = common_channel(self._key)

    @abstractmethod
    def start(self) -> Awaitable[Any]:
        """Subscribe to the channels that every server listens on."""

    @abstractmethod
    def send(self, broadcast: Broadcast) -> Awaitable[None]:
        """Emit to the sockets of other servers.

        :raises Unavailable: when Redis is away.
        """

    @abstractmethod
    def handle(self, channel: str, message: Any) -> None:
        """Handle an emit or a request.

        :raises UnreadableMessage: when no adapter would send it.
        """

    @abstractmethod
    def ready(self, room: str) -> Awaitable[Any]:
        """Wait until emits to a room with members here arrive."""

    async def aclose(self) -> None:
        """Wait for the responses in flight, a second at most."""
        if self._responses_in_flight:
            await asyncio.wait(self._responses_in_flight, timeout=1.0)

    def _channel_of(self, room: str) -> str:
        return room_channel(self._key, room)

    def _respond(self, publish: Callable[[], Awaitable[None]]) -> None:
        """Publish a response without waiting for it, unless too many are in flight."""
        if len(self._responses_in_flight) >= MAX_RESPONSES_IN_FLIGHT:
            message = f"{MAX_RESPONSES_IN_FLIGHT} responses are in flight"
            self._report("bridge request unanswered", message)
            return
        responding = asyncio.ensure_future(self._published(publish()))
        self._responses_in_flight.add(responding)
        responding.add_done_callback(self._responses_in_flight.discard)

    async def _published(self, publishing: Awaitable[None]) -> None:
        try:
            await publishing
        except (Unavailable, RedisError) as error:
            self._report("bridge request unanswered", str(error))

    def _deliver(self, channel: str, data: bytes) -> None:
        try:
            self.handle(channel, unpack(data))
        except UnreadableMessage as error:
            self._report("bridge message unreadable", f"{channel}: {error}")
