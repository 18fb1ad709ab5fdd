"""The base of the two adapters."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from atriz_realtime.api import Fanout, Unavailable
from atriz_realtime.defaults.typescript.codec import Broadcast, UnreadableMessage, unpack
from atriz_realtime.defaults.typescript.members import Members

MAX_RESPONSES_IN_FLIGHT = 1_000
"""Responses to other servers that may be in flight; beyond, requests go unanswered."""


class Adapter(ABC):
    """Speaks the protocol of one Socket.IO adapter with the TypeScript servers.

    :param carrier: publishes and subscribes its channels.
    :param key: the prefix of those channels.
    :param received: called with every emit that arrives, this server's own included.
    :param report: see :class:`~atriz_realtime.api.Resources`.
    """

    def __init__(
        self,
        carrier: Fanout,
        key: str,
        members: Members,
        *,
        received: Callable[[Broadcast], None],
        report: Callable[[str, str], None],
    ) -> None:
        self._carrier = carrier
        self._channel = f"{key}#/#"
        self._members = members
        self._received = received
        self._report = report
        self._responses_in_flight: set[asyncio.Future[None]] = set()

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

    def ready(self, room: str) -> Awaitable[Any]:  # noqa: ARG002  # for those that need it
        """Wait until emits to a room with members here arrive."""
        return _nothing()

    async def aclose(self) -> None:
        """Wait for the responses in flight, a second at most."""
        if self._responses_in_flight:
            await asyncio.wait(self._responses_in_flight, timeout=1.0)

    def _channel_of(self, room: str) -> str:
        return f"{self._channel}{room}#"

    def _respond(self, publishing: Awaitable[None]) -> None:
        """Publish a response without waiting for it."""
        if len(self._responses_in_flight) >= MAX_RESPONSES_IN_FLIGHT:
            return
        responding = asyncio.ensure_future(self._published(publishing))
        self._responses_in_flight.add(responding)
        responding.add_done_callback(self._responses_in_flight.discard)

    async def _published(self, publishing: Awaitable[None]) -> None:
        try:
            await publishing
        except Unavailable as error:
            self._report("bridge request unanswered", error.message)

    def _deliver(self, channel: str, data: bytes) -> None:
        try:
            self.handle(channel, unpack(data))
        except UnreadableMessage as error:
            self._report("bridge message unreadable", f"{channel}: {error}")


async def _nothing() -> None:
    """Return at once: there is nothing to wait for."""
