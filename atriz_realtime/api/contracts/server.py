"""The server, as plugins see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

import attrs

from atriz_realtime.api.contracts.backends import BackendStatus, Page
from atriz_realtime.api.model import (
    Credentials,
    EntityRef,
    Identity,
    Location,
    format_timestamp,
)
from atriz_realtime.api.reports import ProcessReport


@attrs.frozen
class PublishResult:
    """What became of a fix."""

    outcome: Literal["published", "throttled", "held", "dropped"]
    """``throttled``: cached, not sent.  ``held``: sent when the window ends
    unless a newer one comes.  ``dropped``: a filter dropped it."""
    location: Location
    """The location as it was accepted, after the filters."""
    timestamp: str = attrs.field(eq=False)
    """Its time as it stands in JSON."""

    @timestamp.default
    def _formatted(self) -> str:
        return format_timestamp(self.location.timestamp)

    @property
    def throttled(self) -> bool:
        """Whether a throttling policy kept it from going out at once."""
        return self.outcome in ("throttled", "held")


class Tracking(Protocol):
    """Publishing and reading positions."""

    def entity(self, entity_type: object, entity_id: object) -> EntityRef:
        """Check a type and an id that came from outside.

        :raises UnknownEntityType: when no active plugin registers the type.
        :raises InvalidEntityId: when the id does not fit the type's pattern.
        """

    async def publish(
        self, entity: EntityRef, location: Location, identity: Identity | None = None
    ) -> PublishResult:
        """Take a fix through authorization, validation, throttle and filters, and out.

        ``identity`` is whoever asks; ``None`` is the server itself, and is not
        asked for permission.

        :raises NotAuthorized: when an authorizer refuses.
        :raises InvalidLocation: when the type's own validation does.
        """

    def current(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """The cached location JSON, or ``None``.

        :raises Unavailable: when the cache cannot be reached.
        """

    async def page(self, entity_type: str, cursor: str | None, limit: int) -> Page:
        """A part of the cached locations of a type.

        :raises UnknownEntityType: when no active plugin registers the type.
        :raises Unavailable: when the cache cannot be reached.
        """

    async def counts(self) -> Mapping[str, int]:
        """How many locations are cached, by entity type.

        :raises Unavailable: when the cache cannot be reached.
        """


class Access(Protocol):
    """Who a caller is, and what they may do."""

    async def authenticate(self, credentials: Credentials, *, narrow: bool = False) -> Identity:
        """Ask the authenticators in order.

        :param narrow: whether to let in who is good for one entity only (``Identity.only``):
            for doors that ask ``may_track`` and ``shown`` of each entity, and do nothing else.
        :raises AuthenticationRejected: when one refuses.
        :raises NotAuthenticated: when all abstain.
        :raises NotAuthorized: when it is good for one entity only, and that is not enough.
        """

    async def may_track(self, identity: Identity, entity: EntityRef) -> bool:
        """Whether every authorizer lets this identity watch this entity."""

    async def may_publish(self, identity: Identity, entity: EntityRef) -> bool:
        """Whether every authorizer lets this identity publish this entity."""

    async def shown(self, identity: Identity, entity: EntityRef, location: bytes) -> bytes | None:
        """The location JSON as this identity sees it; ``None`` when a view hides it."""

    async def sees_no_more(self, identity: Identity, than: Identity, entity: EntityRef) -> bool:
        """Whether each view that keeps something of an entity from another keeps it from this."""


class Sockets(Protocol):
    """The connected clients, on every server."""

    async def emit(self, event: str, data: Any, room: str | list[str]) -> None:
        """Send an event to everyone in a room, or in any of several: once to each socket."""

    async def send_to_user(self, user_id: str, event: str, data: Any) -> None:
        """Send an event to every socket of a user."""

    async def broadcast_to_authenticated(self, event: str, data: Any) -> None:
        """Send an event to every authenticated socket."""

    @property
    def connections(self) -> int:
        """Sockets connected to this server."""

    @property
    def rooms(self) -> int:
        """Rooms with a member on this server, each socket's own room included."""


class Membership(Protocol):
    """Who is in which room of the default namespace on this server."""

    def select(
        self, rooms: Collection[str], skip: Collection[str]
    ) -> Mapping[str, Collection[str]]:
        """The sockets in any of ``rooms``, or all when there are none, by id, with their rooms.

        :param skip: rooms whose members are left out; a socket's id is a room of its own.
        """

    def join(self, sid: str, room: str) -> None:
        """Put a socket into a room; harmless when it is gone, or the room is a socket's own."""

    def leave(self, sid: str, room: str) -> None:
        """Take a socket out of a room; harmless when it is not in it."""

    def disconnect(self, sid: str) -> None:
        """Begin to close a socket; harmless when it is gone."""

    def follow(self, filled: Callable[[str], None], emptied: Callable[[str], None]) -> None:
        """Tell from now on which rooms have members here; sockets' own rooms are not told.

        :param filled: called with a room when its first member joins, and at once with
            each that has members already.
        :param emptied: called with a room when its last member has left.
        """


SignalHandler = Callable[[Any], None]
"""Takes the data of a signal, on the event loop; must not block."""


class Signals(Protocol):
    """Small messages between the plugins of all servers, delivered at most once.

    One that is sent while a server cannot hear is lost there: what must not be lost is
    kept elsewhere, and read again.
    """

    async def send(self, name: str, data: Any) -> None:
        """Tell the listeners of every server, this one's first.

        :param data: JSON; with the name at most 16 KiB.
        :raises InvalidRequest: when the data is not JSON.
        :raises PayloadTooLarge: when it is more than that.
        :raises Unavailable: when only this server's listeners could be told, as before it
            has started.
        """

    def listen(self, name: str, handler: SignalHandler) -> None:
        """Call a handler with the data of each signal of a name, from any server.

        What it raises is counted.  Anything that can publish to the fan-out can send.
        """


class Permissions(Protocol):
    """Taking back what was granted."""

    def guard(self, holds: Callable[[Identity], bool]) -> None:
        """Ask a plain function about every identity that an authenticator gave, each time.

        Where it says no, or raises, the caller is refused as one with a bad token.
        """

    def enforce(self) -> None:
        """Begin to close the sockets of this server whose identity a guard refuses now."""

    async def revoke(self, user_id: str, entity: EntityRef) -> None:
        """Throw a user's sockets out of an entity's room, on every server.

        Each gets ``tracking:revoked``.  Whether it may come back, authorizers say.

        :raises UnknownEntityType: when no active plugin registers the type.
        :raises InvalidEntityId: when the id does not fit the type.
        :raises Unavailable: when only this server could be told.
        """

    async def recheck(self, user_id: str | None = None) -> None:
        """Ask the authorizers again about all that a user's sockets track, on every server.

        :param user_id: ``None``: every user's.
        :raises Unavailable: when only this server could be told.
        """


@attrs.frozen(kw_only=True)
class ServerHandle:
    """The server, as plugins see it: narrow parts, none of the insides."""

    tracking: Tracking
    """Publishing and reading positions."""
    access: Access
    """Who a caller is, and what they may do."""
    socket_io: Any
    """python-socketio's server, for namespaces of a plugin's own: the default one is the
    server's."""
    sockets: Sockets
    """Emits to rooms and users, on every server."""
    membership: Membership
    """Who is in which room on this server."""
    signals: Signals
    """Messages to the plugins of every server."""
    permissions: Permissions
    """Taking back what was granted."""
    status: Callable[[], BackendStatus]
    """The state of the least healthy backend."""
    incidents: Callable[[], Mapping[str, int]]
    """How often each kind of failure was survived since the start."""
    statistics: Callable[[], Mapping[str, Mapping[str, float]]]
    """The numbers of each part that has some, by its name and theirs."""
    reports: Callable[[], Awaitable[Sequence[ProcessReport]]]
    """The numbers of each process that serves this port, this one's among them."""


class SocketClient(Protocol):
    """One connected socket, as a :class:`SocketEvent` handler sees it."""

    @property
    def sid(self) -> str:
        """The Socket.IO session id."""

    @property
    def identity(self) -> Identity | None:
        """Who it is; ``None`` until authenticated."""

    async def emit(self, event: str, data: Any) -> None:
        """Send an event to this socket alone."""

    async def disconnect(self) -> None:
        """Close it."""
