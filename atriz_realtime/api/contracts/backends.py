"""Where current locations live, how they reach every server, and what a backend may be besides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, Protocol, runtime_checkable

import attrs

from atriz_realtime.api.model import EntityRef
from atriz_realtime.api.wire import Payload

Deliver = Callable[[str, bytes], None]
"""Takes a message off a fan-out: the channel it came on, and its bytes.

Called on the event loop, in order, and must neither block nor raise.
"""


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
