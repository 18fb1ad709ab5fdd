"""The contracts between the core and what plugs into it.

Each is a :class:`typing.Protocol` of at most five methods.  A backend may also
be :class:`Closeable`, :class:`Reporting` and :class:`Measuring`; the core asks with
``isinstance``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

import attrs

from atriz_realtime.api.model import Credentials, EntityRef, Identity, Location
from atriz_realtime.api.wire import Payload

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.connection import AbstractConnection

T = TypeVar("T")

logger = logging.getLogger("atriz_realtime")

Deliver = Callable[[str, bytes], None]
"""Takes a message off a fan-out: the channel it came on, and its bytes.

Called on the event loop, in order, and must neither block nor raise.
"""


class Clock(Protocol):
    """Time, so that tests can own it."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""


@runtime_checkable
class Closeable(Protocol):
    """Something that holds resources until it is closed."""

    async def aclose(self) -> None:
        """Release everything; safe to call twice."""


@attrs.frozen
class BackendStatus:
    """How a backend is doing."""

    state: Literal["embedded", "connected", "disconnected"]
    """``embedded``: lives in this process and cannot be away."""
    detail: str = ""
    """Why it is disconnected, in one line without secrets."""


@runtime_checkable
class Reporting(Protocol):
    """Something whose state belongs in the health report."""

    def status(self) -> BackendStatus:
        """The state right now, without any I/O."""


@runtime_checkable
class Measuring(Protocol):
    """Something with numbers that an operator wants to see."""

    def statistics(self) -> Mapping[str, float]:
        """Its numbers by name right now, without any I/O.

        The names are few and stay the same.  What counts begins with 0 at the start and
        only grows; everything else is a level.  Times are in seconds.
        """


@attrs.frozen
class Page:
    """A part of a listing."""

    items: list[tuple[str, bytes]]
    """Entity ids with their location JSON."""
    next_cursor: str | None
    """Where the next page begins; ``None`` on the last."""


class Cache(Protocol):
    """Where current locations live.

    Methods that only queue work may be plain functions that return an
    awaitable: the core calls them first and awaits after, so that what they
    queue shares a round trip.
    """

    def put(self, payload: Payload, ttl: float) -> Awaitable[None]:
        """Remember the payload's location for ``ttl`` seconds.

        A fix older than the one held never replaces it.

        :raises Unavailable: when the backend cannot be reached.
        """

    def get(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """The location JSON, or ``None`` when there is none or it has expired.

        :raises Unavailable: when the backend cannot be reached.
        """

    def delete(self, entity: EntityRef) -> Awaitable[None]:
        """Forget the entity's location; harmless when there is none.

        :raises Unavailable: when the backend cannot be reached.
        """

    def page(self, entity_type: str, cursor: str | None, limit: int) -> Awaitable[Page]:
        """Up to ``limit`` cached locations of a type, from ``cursor`` on.

        An entity that stays cached for as long as the pages are read is on at
        least one of them; one that is updated meanwhile may be on two.

        :raises InvalidRequest: for a cursor that this backend did not hand out.
        :raises Unavailable: when the backend cannot be reached.
        """

    def count(self, entity_type: str) -> Awaitable[int]:
        """How many unexpired locations of a type are cached, without a scan.

        :raises Unavailable: when the backend cannot be reached.
        """


class Fanout(Protocol):
    """How a payload reaches every server that has a watcher for it."""

    def publish(self, channel: str, data: bytes) -> Awaitable[None]:
        """Hand ``data`` to every subscriber of ``channel``, this server's included.

        Messages published on one channel by one server arrive in that order.

        :raises Unavailable: when it cannot be sent on; nobody has received it.
        """

    def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
        """Begin to receive a channel; one subscriber a channel on each server.

        A channel that ends in ``*`` is a pattern and matches every channel
        that begins with the rest.  The subscription is wanted from the call on,
        and whatever is published after the awaitable is done is received; it is
        done at the latest when the backend's own time limit is over, and never
        raises for a backend that is away: the backend subscribes when it is back.
        """

    def unsubscribe(self, channel: str) -> None:
        """Stop receiving a channel; harmless when not subscribed."""


class FanoutEvents(Protocol):
    """What an :class:`Interruptible` fan-out tells the core."""

    def deaf(self) -> None:
        """Messages may be missed from now on.

        What was received before has been delivered; nothing that was published before
        is delivered any more.
        """

    def hearing(self) -> None:
        """Everything that is subscribed is received again; what came between is lost."""

    def reachable(self) -> None:
        """What could not be published may be tried again."""


@runtime_checkable
class Interruptible(Protocol):
    """A fan-out whose connection may break.

    While it is deaf, the core serves this server's watchers itself; after it, the core
    brings them up to date from the cache.
    """

    def attach(self, events: FanoutEvents) -> None:
        """Tell ``events`` from now on; called once, before the first subscription."""


class RedisLink(Protocol):
    """The server's connection to Redis, shared by everything that plugs in."""

    @property
    def client(self) -> Redis | RedisCluster:
        """The ordinary redis-py client, for anything outside the hot path."""

    @property
    def sharded(self) -> bool:
        """Whether it is a cluster: scripts touch one key, pub/sub is ``SPUBLISH``'s."""

    def execute(self, *command: str | bytes | float) -> Awaitable[Any]:
        """Queue a command; all commands of one turn of the loop share a round trip.

        Answers are bytes, undecoded.

        :raises Unavailable: when Redis does not answer within the time limit.
        :raises redis.exceptions.ResponseError: when it answers with an error.
        """

    def evaluate(
        self, script: str, keys: tuple[str, ...], arguments: tuple[str | bytes | float, ...]
    ) -> Awaitable[Any]:
        """Queue a Lua script by its hash, sending its text only when Redis lacks it.

        :raises Unavailable: when Redis does not answer within the time limit.
        """

    def route(self, channel: str) -> str:
        """Which server a channel is on; another one after a failover, empty while unknown."""

    async def refresh(self) -> None:
        """Look which channels are on which servers now; if that fails, all stay where they were."""

    async def connect(self, route: str = "") -> AbstractConnection:
        """Open a further connection, for whoever must have one alone (a subscriber).

        It has no time limit of its own on reading; whoever opens it closes it.

        :param route: the server to connect to, on a cluster.
        :raises redis.exceptions.RedisError: when it cannot be opened.
        :raises TimeoutError: when Redis does not answer within the time limit.
        """

    def status(self) -> BackendStatus:
        """Whether Redis answers."""


def _log(kind: str, message: str) -> None:
    """Report a failure where no server counts them."""
    logger.warning("%s: %s", kind, message)


@attrs.frozen(kw_only=True)
class Resources:
    """What a backend or a policy may use when it is opened."""

    clock: Clock
    """Time; the one thing to ask for it, so that tests can own it."""
    redis: RedisLink | None
    """``None`` when no Redis is configured."""
    settings: Mapping[str, Any]
    """The effective settings, read-only."""
    report: Callable[[str, str], None] = _log
    """Count a failure that was survived, and log it unless one of its kind was logged
    within the last minute: its kind, a short name out of a small set, and one line about
    it without secrets.  It is seen where ``ServerHandle.incidents`` is."""


@attrs.frozen
class Verdict:
    """What a throttle decides about one fix."""

    outcome: Literal["pass", "drop", "hold"]
    """``pass``: goes out now.  ``drop``: is cached, not sent.  ``hold``: is cached, and sent
    after ``delay`` unless a newer one comes."""
    delay: float = 0.0
    """For ``hold``: seconds until the newest held fix of the entity goes out."""


PASS = Verdict("pass")
"""Publish it now."""
DROP = Verdict("drop")
"""Do not send it to watchers."""


class ThrottlePolicy(Protocol):
    """How often an entity's fixes go out.  One instance serves one entity type."""

    async def admit(self, entity: EntityRef, location: Location) -> Verdict:
        """Decide about a fix.

        Called once for each fix in the order of arrival.  A fix that is held
        replaces the one held before it, and is published when its delay is over
        without being asked about again; one that passes discards a held one.
        Memory is bounded by the policy itself.
        """


class PluginConfig(Protocol):
    """What a plugin sees of the configuration; read-only."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The effective settings, by the field names of ``RealtimeConfig``."""

    @property
    def table(self) -> Mapping[str, Any]:
        """The plugin's own table, ``[realtime.plugins.<name>]``."""

    def load(self, settings_class: type[T]) -> T:
        """The plugin's own table as an instance of an attrs class.

        :raises ConfigurationError: naming the key that is unknown or of a wrong type.
        """


@attrs.frozen
class PublishResult:
    """What became of a fix."""

    outcome: Literal["published", "throttled", "held", "dropped"]
    """``throttled``: cached, not sent.  ``held``: sent when the window ends
    unless a newer one comes.  ``dropped``: a filter dropped it."""
    location: Location
    """The location as it was accepted, after the filters."""

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
        :raises Unavailable: when only this server's listeners could be told.
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
