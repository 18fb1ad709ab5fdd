"""Sharded pub/sub on a Redis that is no cluster, where the fan-out's is the other kind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import RedisError

from atriz_realtime.api import Deliver, RedisLink, RedisStream

CONFIRM_TIMEOUT = 1.0
"""Seconds that a subscriber waits for Redis to confirm."""

PING_INTERVAL = 1.0
"""Seconds between two signs of life asked for."""

SILENCE_LIMIT = 2.0
"""Seconds without one after which the connection is given up."""

BACKOFF = 0.5
"""Seconds between two attempts to connect, with full jitter."""


class ShardChannels:
    """Publishes through the server's link; hears on one connection, which comes back by itself.

    A :class:`~atriz_realtime.api.Fanout` without patterns.
    """

    def __init__(self, link: RedisLink, report: Callable[[str, str], None]) -> None:
        self._link = link
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._deliver: dict[str, Deliver] = {}
        self._unconfirmed: dict[str, asyncio.Future[None]] = {}
        self._stream: RedisStream | None = None
        self._heard = 0.0
        self._closing = False
        self._task = self._loop.create_task(self._run(), name="redis shard channels")

    def publish(self, channel: str, data: bytes) -> Awaitable[None]:
        """Queue an SPUBLISH."""
        return self._link.execute("SPUBLISH", channel, data)

    def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
        """Receive a channel from now on; the future is done when Redis has confirmed."""
        self._deliver[channel] = deliver
        confirmed = self._unconfirmed.setdefault(channel, self._loop.create_future())
        self._loop.call_later(CONFIRM_TIMEOUT, _done, confirmed)
        self._send("SSUBSCRIBE", channel)
        return confirmed

    def unsubscribe(self, channel: str) -> None:
        """Stop receiving it."""
        if self._deliver.pop(channel, None) is not None:
            confirmed = self._unconfirmed.pop(channel, None)
            if confirmed is not None:
                _done(confirmed)
            self._send("SUNSUBSCRIBE", channel)

    async def aclose(self) -> None:
        """Close the connection."""
        self._closing = True
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for confirmed in self._unconfirmed.values():
            _done(confirmed)

    def _send(self, command: str, *channels: str) -> None:
        if self._stream is not None:  # else it is told all at once, when there is one
            self._stream.send(*[(command, channel) for channel in channels])

    async def _run(self) -> None:
        while True:
            stream: RedisStream | None = None
            try:
                stream = await self._link.connect(self._received)
                self._heard = self._loop.time()
                self._stream = stream
                self._send("SSUBSCRIBE", *self._deliver)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(stream.ended())
                    tasks.create_task(self._watch(stream))
            except* Exception as group:  # whatever it is, the connection must come back
                reason = str(group.exceptions[0]).partition("\n")[0]
                self._report("bridge disconnected", reason)
            finally:
                self._stream = None
                if stream is not None:
                    await stream.aclose()
            if self._closing:  # a task group that fails forgets that it was cancelled, too
                return
            await asyncio.sleep(random.uniform(0, BACKOFF))  # noqa: S311  # jitter, not a secret

    def _received(self, message: Any) -> None:
        if isinstance(message, Exception):
            raise message
        self._heard = self._loop.time()
        if message[0] == b"smessage":
            channel = message[1].decode()
            deliver = self._deliver.get(channel)
            if deliver is not None:
                deliver(channel, message[2])
        elif message[0] == b"ssubscribe":
            confirmed = self._unconfirmed.pop(message[1].decode(), None)
            if confirmed is not None:
                _done(confirmed)

    async def _watch(self, stream: RedisStream) -> None:
        while True:
            await asyncio.sleep(PING_INTERVAL)
            silence = self._loop.time() - self._heard
            if silence > SILENCE_LIMIT:
                raise RedisError(f"Redis was silent for {silence:.1f} s")
            stream.send(("PING",))


def _done(confirmed: asyncio.Future[None]) -> None:
    if not confirmed.done():
        confirmed.set_result(None)
