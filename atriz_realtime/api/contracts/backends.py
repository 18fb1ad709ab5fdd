"""Contracts of caches and fan-outs, and the optional ones that a backend may add."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import attrs

from atriz_realtime.api.model import EntityRef
from atriz_realtime.api.wire import Payload

Deliver = Callable[[str, bytes], None]
"""Receives a message from a fan-out: its channel, and its bytes.

Called on the event loop, in order; it must neither block nor raise.
"""


@runtime_checkable
class Closeable(Protocol):
    """A backend that holds resources until it is closed."""

    async def aclose(self) -> None:
        """Release all resources; safe to call twice."""


@attrs.frozen
class BackendStatus:
    """The state of a backend."""

    state: Literal["embedded", "connected", "disconnected"]
    """``embedded``: it is in this process and cannot be disconnected."""
    detail: str = ""
    """Why it is disconnected, or what it refuses although it is connected; otherwise empty.

    It is one line without secrets and addresses: everybody may read it.
    """


@runtime_checkable
class Reporting(Protocol):
    """A backend whose state belongs in the health report."""

    def status(self) -> BackendStatus:
        """The current state, without any I/O."""


@runtime_checkable
class Measuring(Protocol):
    """A backend with numbers that an operator wants to see."""

    def statistics(self) -> Mapping[str, float]:
        """The current numbers by name, without any I/O.

        The names are few and stay the same.  A counter starts at 0 and only grows; every
        other number is a level.  Times are in seconds.
        """


@attrs.frozen
class Page:
    """A part of a listing."""

    items: list[tuple[str, bytes]]
    """Entity ids with their location JSON."""
    next_cursor: str | None
    """The cursor of the next page; ``None`` on the last."""
    expired: frozenset[str] = frozenset()
    """The ids of those entities whose location is not a current one, but the last known; see
    :class:`LastKnown`."""


class Cache(Protocol):
    """Stores current locations.

    Methods that only queue work may be plain functions that return an awaitable: the core calls
    several and awaits them afterwards, so that the queued commands share a round trip.
    """

    def put(self, payload: Payload, ttl: float) -> Awaitable[None]:
        """Store the payload's location for ``ttl`` seconds.

        A fix never replaces a newer one.

        :raises Unavailable: when the backend cannot be reached.
        """

    def get(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """Return the location JSON, or ``None`` if there is none or it has expired.

        :raises Unavailable: when the backend cannot be reached.
        """

    def delete(self, entity: EntityRef) -> Awaitable[None]:
        """Delete the entity's location; harmless if there is none.

        :raises Unavailable: when the backend cannot be reached.
        """

    def page(self, entity_type: str, cursor: str | None, limit: int) -> Awaitable[Page]:
        """Return up to ``limit`` cached locations of a type, from ``cursor`` on.

        An entity that stays cached while the pages are read is on at least one of
        them; an entity that is updated meanwhile may be on two.  A cursor is a text of the
        backend's own, by which it can tell its cursors from others.

        :raises InvalidRequest: for a cursor that this backend did not return.
        :raises Unavailable: when the backend cannot be reached.
        """

    def count(self, entity_type: str) -> Awaitable[int]:
        """Count the unexpired cached locations of a type, without a scan.

        :raises Unavailable: when the backend cannot be reached.
        """


@runtime_checkable
class LastKnown(Protocol):
    """A cache that knows the last location of each entity for longer than it is current.

    The core calls :meth:`keep` every few seconds for the entities that it has put meanwhile, not
    for every fix.  The method ``delete`` of such a cache deletes the last known location as well:
    a call of :meth:`keep` that is under way does not bring it back.
    """

    def keep(self, entities: Sequence[EntityRef], ttl: float) -> Awaitable[None]:
        """Make the current locations of entities their last known ones, for ``ttl`` seconds.

        Writes that were queued before count.  An entity without a current location keeps what is
        known of it, and a location never replaces a newer one.

        :param entities: all of one type.
        :raises Unavailable: when the backend cannot be reached.
        """

    def last_known(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """Return the last known location JSON, or ``None`` if there is none or it has expired.

        :raises Unavailable: when the backend cannot be reached.
        """

    def page_last_known(self, entity_type: str, cursor: str | None, limit: int) -> Awaitable[Page]:
        """Return up to ``limit`` last known locations of a type, from ``cursor`` on.

        Entities that have a current location are left out.  A page may be empty and not the last.
        An entity that stays among these while the pages are read is on one of them.  A cursor is
        a text of the backend's own, by which it can tell its cursors from others.

        :raises InvalidRequest: for a cursor that this backend did not return.
        :raises Unavailable: when the backend cannot be reached.
        """


class Fanout(Protocol):
    """Carries payloads to every server that has a watcher for them."""

    def publish(self, channel: str, data: bytes) -> Awaitable[None]:
        """Deliver ``data`` to every subscriber of ``channel``, including this server's.

        Messages that one server publishes on one channel arrive in that order.

        :raises Unavailable: when it cannot be published; nobody has received it.
        """

    def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
        """Start to receive a channel.  A server has at most one subscriber of a channel.

        A channel that ends in ``*`` is a pattern and matches every channel that begins with the
        rest.  Messages that are published after the awaitable has completed are received.  It
        completes within the backend's own time limit, and does not raise while the backend is away:
        the backend then subscribes when it is back.
        """

    def unsubscribe(self, channel: str) -> None:
        """Stop receiving a channel; harmless if it is not subscribed."""


class FanoutEvents(Protocol):
    """The events that an :class:`Interruptible` fan-out reports to the core."""

    def deaf(self) -> None:
        """The subscriptions are interrupted: messages may be missed from now on.

        All messages received before have been delivered; no message published before
        is delivered after this call.
        """

    def hearing(self) -> None:
        """All subscriptions are restored; messages published in between are lost."""

    def reachable(self) -> None:
        """Publishing works again, so unpublished messages may be retried."""


@runtime_checkable
class Conditional(Protocol):
    """A fan-out that publishes a late fix only if nothing newer is cached.

    A fix is late when the throttle has held it, or when it is sent again after a failure:
    another server may have published a newer one meanwhile.  With any other fan-out the core
    reads the cache first and then publishes, so a newer fix may come between the two.  A layer
    on a conditional fan-out should forward the call.
    """

    def publish_unless_newer(self, payload: Payload, cache: Cache) -> Awaitable[bool] | None:
        """Publish the payload's event on its channel, unless a newer location is cached.

        The location that is cached counts as newer when its timestamp is later, or the same and
        it is another one.  Nothing can be published between the comparison and the event.

        :param cache: the server's cache.  Writes that were queued before count.
        :returns: whether the event was published; ``None``, instead of an awaitable, when this
            fan-out cannot compare with this cache.
        :raises Unavailable: when it cannot be published; nobody has received it.
        """


@runtime_checkable
class Interruptible(Protocol):
    """A fan-out whose connection may break.

    While its subscriptions are interrupted, the core delivers this server's fixes to this
    server's watchers itself; afterwards it brings them up to date from the cache.
    """

    def attach(self, events: FanoutEvents) -> None:
        """Report to ``events`` from now on; called once, before the first subscription."""
