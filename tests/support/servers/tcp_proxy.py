"""A TCP proxy that can cut connections, hold back what passes, and refuse requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@attrs.define(eq=False)
class _Wire:
    """One proxied connection."""

    to_client: asyncio.StreamWriter
    to_server: asyncio.StreamWriter

    def abort(self) -> None:
        """Abort both sides."""
        for writer in (self.to_client, self.to_server):
            writer.transport.abort()


class _Gate:
    """Lets pieces of a stream pass, unless it is closed."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self.open()

    def open(self) -> None:
        """Let everything pass."""
        self._opened.set()

    def close(self, after: int = 0, only: bytes = b"") -> None:
        """Let only so many pieces pass, and those that do not contain certain bytes."""
        self._opened.clear()
        self._allowed = after
        self._only = only

    async def wait(self, piece: bytes) -> None:
        """Wait until a piece may pass."""
        if self._opened.is_set() or self._only not in piece:
            return
        if self._allowed:
            self._allowed -= 1
            return
        await self._opened.wait()


class Proxy:
    """Forwards every connection to one port of this machine.

    :param target: that port.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._wires: list[_Wire] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._requests = _Gate()
        self._answers = _Gate()
        self._refused: bytes | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        """Stop, and abort open connections."""
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The Redis URL of the proxied server."""
        return f"redis://127.0.0.1:{self.port}"

    def break_connections(self) -> None:
        """Abort every connection; new ones are forwarded."""
        for wire in self._wires:
            wire.abort()
        self._wires.clear()

    def cut(self) -> None:
        """Abort every connection, and new ones until :meth:`mend`."""
        self._open.clear()
        self.break_connections()

    def mend(self) -> None:
        """Forward connections again."""
        self._open.set()

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Cut for as long as the context lasts."""
        self.cut()
        try:
            yield
        finally:
            self.mend()

    def hold_requests(self, only: bytes = b"") -> None:
        """Hold back what clients send, on connections that send certain bytes."""
        self._requests.close(only=only)

    def release_requests(self) -> None:
        """Forward what clients send again."""
        self._requests.open()

    def hold_answers(self, after: int = 0) -> None:
        """Hold back what the server sends, once so many pieces of it have passed."""
        self._answers.close(after)

    def release_answers(self) -> None:
        """Forward what the server sends again."""
        self._answers.open()

    def refuse(self, only: bytes) -> None:
        """Answer 400 to HTTP requests that contain certain bytes."""
        self._refused = only

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open.is_set():
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        wire = _Wire(writer, server_writer)
        self._wires.append(wire)
        for forwarding in (
            self._forward(reader, server_writer, self._requests, writer),
            self._forward(server_reader, writer, self._answers),
        ):
            task = asyncio.get_running_loop().create_task(forwarding)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gate: _Gate,
        client: asyncio.StreamWriter | None = None,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await gate.wait(data)
                if client is not None and self._refused is not None and self._refused in data:
                    client.write(BAD_REQUEST)
                    client.close()
                    break
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def proxying(target: int) -> AsyncIterator[Proxy]:
    """A proxy in front of a port."""
    proxy = Proxy(target)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.aclose()
