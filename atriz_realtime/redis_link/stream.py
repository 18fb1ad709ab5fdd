"""A Redis connection that hands each reply to a callback as it arrives.

redis-py opens the connection, with TLS, authentication and whatever else the URL asks for.
Then this takes over its transport, because redis-py's own reader wakes a task for every
read and makes several calls for every reply.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

_INCOMPLETE = object()

_RESET = struct.pack("ii", 1, 0)
"""The option ``SO_LINGER`` with a time of zero."""


class Stream(asyncio.Protocol):
    """A :class:`~atriz_realtime.api.RedisStream` over an open connection of redis-py's.

    :param connection: has no reply under way, and belongs to the stream from now on.
    :param received: takes each reply; an error of Redis is an exception that is not raised.
    """

    def __init__(self, connection: AbstractConnection, received: Callable[[Any], None]) -> None:
        self.connection = connection
        self._received = received
        self._replies = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_INCOMPLETE,
        )
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writer: Any = connection._writer  # noqa: SLF001  # redis-py does not expose the transport
        self._transport: asyncio.Transport = writer.transport
        self._transport.set_protocol(self)

    def send(self, *commands: tuple[str | bytes | float, ...]) -> None:
        """Send commands in one write."""
        self.write(b"".join(map(pack, commands)))

    def write(self, packed: bytes) -> None:
        """Send commands encoded by :func:`pack`."""
        if not self._transport.is_closing():
            self._transport.write(packed)

    async def ended(self) -> None:
        """Wait until the connection ends, and raise the reason."""
        await asyncio.shield(self._ended)

    def end(self, error: Exception) -> None:
        """End the connection at once, discarding what is not sent yet.

        The kernel would otherwise go on sending: commands that have failed here would run when
        the network is back, after newer ones of another server.
        """
        self._end(error)
        connection: socket.socket | None = self._transport.get_extra_info("socket")
        if connection is not None and not self._transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)
            self._ended.exception()  # mark it as retrieved: ended() may never be called

    async def aclose(self) -> None:
        """Close the connection."""
        await self.connection.disconnect(nowait=True)

    def data_received(self, data: bytes) -> None:
        """Pass the complete replies to ``received``."""
        replies, received = self._replies, self._received
        replies.feed(data)
        try:
            while (reply := replies.gets(False)) is not _INCOMPLETE:
                if self._ended.done():
                    return
                received(reply)
        except Exception as error:  # the replies that follow would be mismatched
            self.end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Make :meth:`ended` raise."""
        error = RedisConnectionError(str(exc or "Redis has closed the connection"))
        error.__cause__ = exc
        self._end(error)


def pack(command: tuple[str | bytes | float, ...]) -> bytes:
    """Encode a command for the wire."""
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its type lacks numbers
    return packed
