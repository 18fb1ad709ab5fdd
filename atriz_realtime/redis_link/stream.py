"""A Redis connection of which nobody awaits replies: they are handed on as they come.

redis-py opens the connection, with all that its URL may ask for, and is past from then on:
its way of reading takes a task that wakes for every read, and several calls for each reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

_NONE_YET = object()


class Stream(asyncio.Protocol):
    """See :class:`~atriz_realtime.api.RedisStream`.

    :param connection: an open one, with no reply under way; it is the stream's from now on.
    """

    def __init__(self, connection: AbstractConnection, received: Callable[[Any], None]) -> None:
        self.connection = connection
        self._received = received
        self._replies = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_NONE_YET,
        )
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writer: Any = connection._writer  # noqa: SLF001  # redis-py has no other way to it
        self._transport: asyncio.Transport = writer.transport
        self._transport.set_protocol(self)

    def send(self, *commands: tuple[str | bytes | float, ...]) -> None:
        """Send commands in one write."""
        self.write(b"".join(map(pack, commands)))

    def write(self, packed: bytes) -> None:
        """Send what :func:`pack` made of commands."""
        if not self._transport.is_closing():
            self._transport.write(packed)

    async def ended(self) -> None:
        """Wait until the connection ends, and raise why."""
        await asyncio.shield(self._ended)

    def end(self, error: Exception) -> None:
        """End the connection at once, whatever is still to be sent."""
        self._end(error)
        self._transport.abort()

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)
            self._ended.exception()  # whoever waits is told; perhaps nobody does

    async def aclose(self) -> None:
        """Close the connection."""
        await self.connection.disconnect(nowait=True)

    # -- asyncio.Protocol ------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Hand on the replies that are complete."""
        replies, received = self._replies, self._received
        replies.feed(data)
        try:
            while (reply := replies.gets(False)) is not _NONE_YET:
                if self._ended.done():
                    return
                received(reply)
        except Exception as error:  # the replies that follow belong to nobody
            self.end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end."""
        self._end(RedisConnectionError(str(exc or "Redis has closed the connection")))


def pack(command: tuple[str | bytes | float, ...]) -> bytes:
    """A command as Redis reads it."""
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # it takes numbers too
    return packed
