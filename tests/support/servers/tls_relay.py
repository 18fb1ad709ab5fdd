"""A relay that takes TLS and plain connections on one port.

Tests put it before a Redis without TLS: servers connect with TLS, and Sentinels, which name its
port to them, without.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

HANDSHAKE = b"\x16"
"""The first byte of TLS."""


class TlsRelay:
    """Forwards each connection to a port of this machine.

    :param target: that port.
    :param context: the certificate for TLS.
    """

    def __init__(self, target: int, context: ssl.SSLContext) -> None:
        self._target = target
        self._context = context
        self.encrypted = 0
        """How many connections came with TLS."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]

    async def run(self) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        with self._listening:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    connection, _ = await loop.sock_accept(self._listening)
                    tasks.create_task(self._relay(connection))

    async def _relay(self, connection: socket.socket) -> None:
        with suppress(OSError):
            reader, client = await self._open(connection)
            try:
                answers, server = await asyncio.open_connection("127.0.0.1", self._target)
                try:
                    await _until_one_ends(_forward(reader, server), _forward(answers, client))
                finally:
                    await _close(server)
            finally:
                await _close(client)

    async def _open(
        self, connection: socket.socket
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Read and write a connection, with TLS if it comes with that."""
        loop = asyncio.get_running_loop()
        try:
            secure = await _first_byte(connection) == HANDSHAKE
        except BaseException:
            connection.close()
            raise
        self.encrypted += secure
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, connection, ssl=self._context if secure else None
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _first_byte(connection: socket.socket) -> bytes:
    """The first byte that comes, which is left where it is."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(connection, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connection)
    return connection.recv(1, socket.MSG_PEEK)


async def _until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until one ends, and cancel the others."""
    running = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def relaying(*targets: int, context: ssl.SSLContext) -> AsyncIterator[list[TlsRelay]]:
    """Run a relay before each of several ports."""
    relays = [TlsRelay(target, context) for target in targets]
    running = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        yield relays
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
