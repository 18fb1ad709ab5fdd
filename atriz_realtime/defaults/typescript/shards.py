"""Sharded pub/sub on a Redis that is no cluster, where the fan-out's is the other kind."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from atriz_realtime.api import Deliver, RedisLink

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
        self._unsent: list[tuple[str, str]] = []
        self._work = asyncio.Event()
        self._connected = False
        self._heard = 0.0
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
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for confirmed in self._unconfirmed.values():
            _done(confirmed)

    def _send(self, command: str, channel: str) -> None:
        if self._connected:  # else it is told all at once, when it is
            self._unsent.append((command, channel))
            self._work.set()

    async def _run(self) -> None:
        while True:
            connection: AbstractConnection | None = None
            try:
                connection = await self._link.connect()
                self._heard = self._loop.time()
                self._connected = True
                self._unsent = [("SSUBSCRIBE", channel) for channel in self._deliver]
                self._work.set()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._write(connection))
                    tasks.create_task(self._read(connection))
                    tasks.create_task(self._watch(connection))
            except* Exception as group:  # whatever it is, the connection must come back
                reason = str(group.exceptions[0]).partition("\n")[0]
                self._report("bridge disconnected", reason)
            finally:
                self._connected = False
                if connection is not None:
                    await connection.disconnect(nowait=True)
            await asyncio.sleep(random.uniform(0, BACKOFF))  # noqa: S311  # jitter, not a secret

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            unsent, self._unsent = self._unsent, []
            if unsent:
                await connection.send_packed_command(connection.pack_commands(unsent))

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            message = await connection.read_response(disable_decoding=True, timeout=math.inf)
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

    async def _watch(self, connection: AbstractConnection) -> None:
        while True:
            await asyncio.sleep(PING_INTERVAL)
            silence = self._loop.time() - self._heard
            if silence > SILENCE_LIMIT:
                raise RedisError(f"Redis was silent for {silence:.1f} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SILENCE_LIMIT):
                    await connection.send_command("PING")


def _done(confirmed: asyncio.Future[None]) -> None:
    if not confirmed.done():
        confirmed.set_result(None)
