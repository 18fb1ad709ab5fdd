"""The server, as plugins see it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Literal, Protocol

import attrs

from atriz_realtime.api.contracts.backends import BackendStatus, Page
from atriz_realtime.api.model import Credentials, EntityRef, Identity, Location, format_timestamp
from atriz_realtime.api.reports import ProcessReport


@attrs.frozen
class PublishResult:
    """What the server did with a fix."""

    outcome: Literal["published", "throttled", "held", "dropped"]
    """``throttled``: cached, not sent.  ``held``: sent when the window ends
    unless a newer one replaces it.  ``dropped``: dropped by a filter."""
    location: Location
    """The accepted location, after the filters."""
    timestamp: str = attrs.field(eq=False)
    """The location's timestamp as JSON has it."""

    @timestamp.default
    def _formatted(self) -> str:
        return format_timestamp(self.location.timestamp)

    @property
    def throttled(self) -> bool:
        """Whether a throttling policy withheld it from watchers for now."""
        return self.outcome in ("throttled", "held")


class Tracking(Protocol):
    """Publishes and reads locations."""

    def entity(self, entity_type: object, entity_id: object) -> EntityRef:
        """Check a type and an id that came from a client.

        :raises UnknownEntityType: when no active plugin registers the type.
        :raises InvalidEntityId: when the id does not fit the type's pattern.
        """

    async def publish(
        self, entity: EntityRef, location: Location, identity: Identity | None = None
    ) -> PublishResult:
        """Publish a fix after authorization, validation, filters and throttle.

        ``identity`` is the publisher; ``None`` is the server itself, for which no
        authorizer is asked.

        :raises NotAuthorized: when an authorizer refuses; it may raise another error.
        :raises AuthenticationRejected: when ``identity`` has been revoked or has expired
            meanwhile.
        :raises InvalidLocation: when the type's own validation refuses.
        """

    def current(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """Return the cached location JSON, or ``None``.

        :raises Unavailable: when the cache cannot be reached.
        """

    def last_known(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """Return the last known location JSON, or ``None``; for an entity without a current one.

        A cache that is :class:`LastKnown` keeps it for ``last_known_ttl`` seconds.  It is written a
        few seconds after the current location.

        :raises Unavailable: when the cache cannot be reached.
        """

    async def page(
        self,
        entity_type: str,
        cursor: str | None,
        limit: int,
        *,
        owner: str = "",
        expired: bool = False,
    ) -> Page:
        """Return a page of the current locations of a type.

        :param owner: see :meth:`take_turn`.
        :param expired: whether the last known locations of the other entities follow on the next
            pages; :attr:`Page.expired` says which they are.  Its cursors are others.
        :raises UnknownEntityType: when no active plugin registers the type.
        :raises Unavailable: when the cache cannot be reached.
        """

    async def forget(self, entity: EntityRef) -> int:
        """Remove an entity's current and last known location, and what waits for recorders.

        What a recorder has been given is not taken from it; its plugin removes that.

        :returns: how many fixes waited.
        :raises Unavailable: when the cache or the journal cannot be reached.
        """

    async def take_turn(self, per_turn: int, *, owner: str = "") -> None:
        """Wait until the event loop has time for one more step of a long piece of work.

        All callers share each turn of the loop: many long lists that come at once then hold up
        other clients no longer than one of them does.

        :param per_turn: how many such steps a turn has time for, if there are no others: those
            that take about a millisecond together.
        :param owner: the user whom the work is for.  Owners take turns, one step each, so that
            nobody waits for all that another has asked for.
        """

    async def counts(self) -> Mapping[str, int]:
        """Count the cached locations by entity type.

        :raises Unavailable: when the cache cannot be reached.
        """


class Access(Protocol):
    """Finds out who a caller is, and what they may do."""

    async def authenticate(self, credentials: Credentials, *, narrow: bool = False) -> Identity:
        """Ask the authenticators in order.

        :param narrow: whether to accept an identity that is limited to one entity
            (``Identity.only``).  For callers that check ``may_track`` and ``shown`` for each
            entity, and do nothing else.
        :raises AuthenticationRejected: when one refuses.
        :raises NotAuthenticated: when all abstain.
        :raises NotAuthorized: when the identity is limited to one entity and ``narrow`` is off.
        """

    async def may_track(self, identity: Identity, entity: EntityRef) -> bool:
        """Return whether every authorizer lets this identity watch this entity.

        :raises RealtimeError: as an authorizer raises it, to refuse.  Let it pass to a caller who
            asks for one entity; in a listing it means no more than ``False``.
        """

    async def may_publish(self, identity: Identity, entity: EntityRef) -> bool:
        """Return whether every authorizer lets this identity publish this entity.

        :raises RealtimeError: as an authorizer raises it, to refuse: see :meth:`may_track`.
        """

    async def shown(self, identity: Identity, entity: EntityRef, location: bytes) -> bytes | None:
        """Return the location JSON as this identity sees it; ``None`` if a view hides it.

        Ask it last: it also makes sure that the identity still holds.

        :raises AuthenticationRejected: when the identity has been revoked or has expired
            meanwhile.
        """

    async def view_of(
        self, identity: Identity, entity: EntityRef
    ) -> Callable[[bytes], bytes | None] | None:
        """Return what makes of an entity's location JSON what this identity sees.

        It is for many locations of one entity, and does for each what :meth:`shown` does; ``None``:
        the identity sees them as they are.  Ask again for each part of a long answer.

        :raises AuthenticationRejected: when the identity has been revoked or has expired
            meanwhile.
        """

    async def sees_no_more(self, identity: Identity, than: Identity, entity: EntityRef) -> bool:
        """Return whether every view of the entity that restricts ``than`` restricts this one."""


class Sockets(Protocol):
    """The connected clients, on every server."""

    async def emit(self, event: str, data: Any, room: str | list[str]) -> None:
        """Send an event once to each socket in a room, or in any of several rooms."""

    async def send_to_user(self, user_id: str | int, event: str, data: Any) -> None:
        """Send an event to every socket of a user.

        :raises TypeError: when the id is neither a string nor an integer.
        """

    async def broadcast_to_authenticated(self, event: str, data: Any) -> None:
        """Send an event to every authenticated socket."""

    @property
    def connections(self) -> int:
        """Sockets connected to this server."""

    @property
    def rooms(self) -> int:
        """Rooms with a member on this server, each socket's own room included."""


class Membership(Protocol):
    """The members of rooms of the default namespace on this server."""

    def select(
        self, rooms: Collection[str], skip: Collection[str]
    ) -> Mapping[str, Collection[str]]:
        """Return the sockets in any of ``rooms``, by id, with all their rooms.

        :param rooms: empty: all sockets.
        :param skip: rooms with members to leave out; each socket's id is a room of its own.
        """

    def join(self, sid: str, room: str) -> None:
        """Add a socket to a room; no effect if it is gone, or the room is a socket's own."""

    def leave(self, sid: str, room: str) -> None:
        """Remove a socket from a room; harmless if it is not in it."""

    def disconnect(self, sid: str) -> None:
        """Start to close a socket; harmless if it is gone."""

    def follow(self, filled: Callable[[str], None], emptied: Callable[[str], None]) -> None:
        """Report which rooms have members here, from now on, except sockets' own rooms.

        :param filled: called with a room when its first member joins, and at once with
            each room that already has members.
        :param emptied: called with a room after its last member has left.
        """


SignalHandler = Callable[[Any], None]
"""Receives the data of a signal, on the event loop; it must not block."""


class Signals(Protocol):
    """Small messages between the plugins of all servers, delivered at most once.

    The signals that one server sends, whatever their names, are handled on every server in that
    order: each has been handled there before the next one is.  ``recheck`` and ``revoke`` of
    :class:`Permissions` are signals, too.  A server that is cut off from the others misses
    signals.  State that must not be lost belongs in a store; :meth:`on_gap` tells each server when
    to read it again.
    """

    async def send(self, name: str, data: Any) -> None:
        """Send data to the listeners of every server, this one's first.

        :param data: a JSON value; with the name at most 16 KiB.
        :raises InvalidRequest: when the data is not JSON.
        :raises PayloadTooLarge: when it is more than that.
        :raises Unavailable: when only this server's listeners were called, for example before
            the server has started.
        """

    def listen(self, name: str, handler: SignalHandler) -> None:
        """Call a handler with the data of each signal of this name, from any server.

        Exceptions of the handler, a plain function, are counted.  Do not trust the data blindly:
        every program that can publish to the fan-out can send signals.

        :raises PluginError: when the handler is no plain function of one argument.
        """

    def on_gap(self, handler: Callable[[], None]) -> None:
        """Call a handler after each interruption in which this server may have missed signals.

        It is called when signals arrive again, and before the authorizers are asked again about
        what this server's sockets track.  A handler forgets what signals would have changed, or
        starts to read it again.  Exceptions of the handler, a plain function, are counted.

        :raises PluginError: when the handler is no plain function without arguments.
        """


class Permissions(Protocol):
    """Withdraws permissions that were granted."""

    def guard(self, holds: Callable[[Identity], bool]) -> None:
        """Ask a plain function about every identity that an authenticator returns.

        It is also asked before a fix is published and a location is shown, so it must be quick,
        and about all connected sockets after :meth:`enforce`.

        :param holds: returns whether the identity still holds.  If it returns ``False`` or raises,
            the caller is refused like one with an invalid token; what it raises is counted.
        :raises PluginError: when it is no plain function of one identity.
        """

    def enforce(self) -> None:
        """Start to close this server's sockets with an identity that a guard now refuses."""

    async def revoke(self, user_id: str | int, entity: EntityRef) -> None:
        """Remove a user's sockets from an entity's room, on every server.

        Each gets ``tracking:revoked``.  Authorizers decide whether it may track the entity again.

        :raises UnknownEntityType: when no active plugin registers the type.
        :raises InvalidEntityId: when the id does not fit the type.
        :raises TypeError: when the user's id is neither a string nor an integer.
        :raises Unavailable: when only this server could be reached.
        """

    async def recheck(self, user_id: str | int | None = None) -> None:
        """Ask the authorizers again about all that a user's sockets track, on every server.

        It returns when the servers have been told.  Each of them has then handled, or handles
        first, the signals that this server sent before.

        :param user_id: ``None`` for all users.
        :raises TypeError: when it is neither a string nor an integer.
        :raises Unavailable: when only this server could be reached.
        """

    async def recheck_here(self, user_id: str | int | None = None) -> None:
        """Ask the authorizers again about all that a user's sockets track on this server.

        It returns when all have answered.  They are asked about one entity after another.

        :param user_id: ``None`` for all users.
        :raises TypeError: when it is neither a string nor an integer.
        """


class CreateTask(Protocol):
    """Starts background tasks: see :attr:`ServerHandle.create_task`."""

    def __call__(self, work: Coroutine[Any, Any, object], /, *, name: str) -> asyncio.Task[None]:
        """Start a task.

        :param work: a coroutine, which may run until the server stops.
        :param name: what the task is, for the log, the health report and the metrics: a fixed
            text, without ids.
        :raises TypeError: when ``work`` is no coroutine, such as the function that makes one.
        :raises RuntimeError: when no event loop runs, or the server has stopped.
        """


@attrs.frozen(kw_only=True)
class ServerHandle:
    """The server as plugins see it: narrow interfaces, no internals."""

    tracking: Tracking
    """Publishes and reads locations."""
    access: Access
    """Finds out who a caller is, and what they may do."""
    socket_io: Any
    """python-socketio's server, for a plugin's own namespaces; the default namespace belongs
    to the server."""
    sockets: Sockets
    """Emits to rooms and users, on every server."""
    membership: Membership
    """The members of rooms on this server."""
    signals: Signals
    """Messages to the plugins of every server."""
    permissions: Permissions
    """Withdraws permissions that were granted."""
    status: Callable[[], BackendStatus]
    """The state of the least healthy backend."""
    incidents: Callable[[], Mapping[str, int]]
    """The number of survived failures of each kind since the start."""
    statistics: Callable[[], Mapping[str, Mapping[str, float]]]
    """The numbers of each part of the server, by part and name."""
    reports: Callable[[], Awaitable[Sequence[ProcessReport]]]
    """The numbers of each process that serves this port, including this one."""
    create_task: CreateTask
    """``create_task(work, *, name)`` starts a background task, as ``asyncio.create_task`` does.
    What it raises is counted and logged at once, as a failure of the plugin, and does not reach
    who awaits the task; it is not started again, and listed in :attr:`failed_tasks` until the
    plugin starts one of that name.  When the server stops, and the observers have been closed, all
    tasks are cancelled and awaited, for at most a second together.  Then what ``server_started``
    returned is closed."""
    failed_tasks: Callable[[], Sequence[Mapping[str, str]]]
    """The background tasks that have ended with an exception and were not started again: each a
    ``plugin``, a ``task``'s name, and an ``error``, the exception's class."""
    allow_page: Callable[[str], None]
    """Lets the page at a URL connect, even if ``cors_origin`` does not list its origin.  For a page
    that the plugin serves, at the address that the operator has configured for it."""


class SocketClient(Protocol):
    """A connected socket, as a :class:`SocketEvent` handler sees it."""

    @property
    def sid(self) -> str:
        """The Socket.IO session id."""

    @property
    def identity(self) -> Identity | None:
        """The user's identity; ``None`` until authenticated."""

    async def emit(self, event: str, data: Any) -> None:
        """Send an event to this socket only."""

    def count_errors(self, count: int) -> None:
        """Take errors that the acknowledgement reports from the client's error budget.

        An event that is refused as a whole takes from it without this call.
        """

    async def disconnect(self) -> None:
        """Close the socket."""
