"""Sharded pub/sub on a single Redis server, for the sharded adapter.

There the server's own fan-out uses classic pub/sub.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from atriz_realtime.api import Deliver, RedisLink
from atriz_realtime.defaults.shared.subscriber import Subscriber

CONFIRM_TIMEOUT = 1.0
"""Seconds that a caller waits for Redis to confirm a subscription."""


class ShardChannels(Subscriber):
    """Publishes through the server's link; subscribes on a connection of its own.

    A :class:`~atriz_realtime.api.Fanout` without patterns.
    """

    def __init__(self, link: RedisLink, report: Callable[[str, str], None]) -> None:
        super().__init__(link, name="redis shard channels")
        self._report = report
        self._deliver: dict[str, Deliver] = {}
        self._unconfirmed: dict[str, asyncio.Future[None]] = {}

    def publish(self, channel: str, data: bytes) -> Awaitable[None]:
        """Queue an SPUBLISH."""
        return self._link.execute("SPUBLISH", channel, data)

    def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
        """Subscribe to a channel; the future is done when Redis has confirmed."""
        self._deliver[channel] = deliver
        confirmed = self._unconfirmed.setdefault(channel, self._loop.create_future())
        self._loop.call_later(CONFIRM_TIMEOUT, _set_done, confirmed)
        self._send("SSUBSCRIBE", channel)
        return confirmed

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel."""
        if self._deliver.pop(channel, None) is not None:
            self._confirmed(channel)
            self._send("SUNSUBSCRIBE", channel)

    async def aclose(self) -> None:
        """Close the connection."""
        await super().aclose()
        for channel in list(self._unconfirmed):
            self._confirmed(channel)

    def _send(self, command: str, *channels: str) -> None:
        if self._stream is not None:  # else a new connection subscribes to all of them
            self._stream.send(*[(command, channel) for channel in channels])

    def _opened(self) -> None:
        self._send("SSUBSCRIBE", *self._deliver)

    def _lost(self, reason: str) -> None:
        self._report("bridge disconnected", reason)

    def _received(self, message: list[Any]) -> None:
        if message[0] == b"smessage":
            channel = message[1].decode()
            deliver = self._deliver.get(channel)
            if deliver is not None:
                deliver(channel, message[2])
        elif message[0] == b"ssubscribe":
            self._confirmed(message[1].decode())

    def _confirmed(self, channel: str) -> None:
        confirmed = self._unconfirmed.pop(channel, None)
        if confirmed is not None:
            _set_done(confirmed)


def _set_done(confirmed: asyncio.Future[None]) -> None:
    if not confirmed.done():
        confirmed.set_result(None)
