"""What both kinds of adapter share."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from atriz_realtime.api import Fanout, Unavailable
from atriz_realtime.defaults.typescript.codec import Broadcast, Unreadable, unpack
from atriz_realtime.defaults.typescript.members import Members

MAX_ANSWERING = 1_000
"""Answers that may be under way; beyond, whoever asked waits in vain."""


@attrs.frozen(kw_only=True)
class AdapterEvents:
    """What an adapter tells the bridge."""

    received: Callable[[Broadcast], None]
    """An emit, of ours or of theirs."""
    report: Callable[[str, str], None]
    """A failure that was survived: see :class:`~atriz_realtime.api.Resources`."""


class Adapter(ABC):
    """One side of the bridge: the other servers' way of talking to each other.

    :param carrier: what its channels are on.
    """

    def __init__(self, carrier: Fanout, members: Members, events: AdapterEvents) -> None:
        self._carrier = carrier
        self._members = members
        self._events = events
        self._posting: set[asyncio.Future[None]] = set()

    @abstractmethod
    def start(self) -> Awaitable[Any]:
        """Begin to receive."""

    @abstractmethod
    def send(self, broadcast: Broadcast) -> Awaitable[None]:
        """Emit to the sockets of other servers.

        :raises Unavailable: when Redis is away.
        """

    @abstractmethod
    def take(self, channel: str, message: Any) -> None:
        """Handle what came.

        :raises Unreadable: when no adapter would send it.
        """

    def ready(self, room: str) -> Awaitable[Any]:  # noqa: ARG002  # for those that need it
        """Wait until emits to a room with members here arrive."""
        return _nothing()

    async def aclose(self) -> None:
        """Stop; what is under way is sent, for a second at most."""
        if self._posting:
            await asyncio.wait(self._posting, timeout=1.0)

    def post(self, sending: Awaitable[None]) -> None:
        """Send an answer without waiting for it."""
        if len(self._posting) >= MAX_ANSWERING:
            return
        posting = asyncio.ensure_future(self._posted(sending))
        self._posting.add(posting)
        posting.add_done_callback(self._posting.discard)

    async def _posted(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except Unavailable as error:
            self._events.report("bridge request unanswered", error.message)

    def _receive(self, channel: str, data: bytes) -> None:
        try:
            self.take(channel, unpack(data))
        except Unreadable as error:
            self._events.report("bridge message unreadable", f"{channel}: {error}")


async def _nothing() -> None:
    """Nothing to wait for."""
