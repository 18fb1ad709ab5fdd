"""A misbehaving network: a TCP proxy between servers and Redis, or clients and servers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs

SMALL_BUFFER = 4_096
"""Bytes of the kernel's receive buffer: small, so that a sender soon notices a hold."""


@attrs.define(eq=False)
class Wire:
    """One proxied connection, and the faults inflicted on it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    subscriber: bool = False
    """Whether it has sent a SUBSCRIBE."""
    swallowing: bool = False
    _answers: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _requests: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.release()

    def swallow(self) -> None:
        """Drop every reply from now on; requests still arrive."""
        self.swallowing = True

    def hold(self) -> None:
        """Read no replies from the server, which must buffer them."""
        self._answers.clear()

    def stall(self) -> None:
        """Read nothing from either side, as when the other host has left the network."""
        self._answers.clear()
        self._requests.clear()

    def release(self) -> None:
        """Read from both sides again."""
        self._answers.set()
        self._requests.set()

    def drop(self) -> None:
        """Close both sides, as a load balancer does after a timeout."""
        self.client.close()
        self.server.close()

    def half_close(self) -> None:
        """Close the client's incoming direction; what it sends still arrives."""
        self.client.write_eof()
        self.swallowing = True

    def reset(self) -> None:
        """Reset both sides (RST)."""
        for side in (self.client, self.server):
            if side.transport.is_closing():
                continue
            # closing with a linger time of zero makes the kernel send a reset
            side.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
            side.transport.abort()

    async def answering(self) -> None:
        """Wait while replies are held."""
        await self._answers.wait()

    async def asking(self) -> None:
        """Wait while requests are held."""
        await self._requests.wait()


class Proxy:
    """Forwards each connection to the first of several ports that accepts it.

    :param targets: ports of this machine.
    :param tls: terminates TLS with this context, for a server without TLS.
    """

    def __init__(self, *targets: int, tls: ssl.SSLContext | None = None) -> None:
        self.targets = targets
        """The ports that new connections are forwarded to."""
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.wires: list[Wire] = []
        """The open connections."""
        self.delay = 0.0
        """Seconds by which each reply is delayed."""
        self.swallowing = False
        """Whether the replies on new connections are dropped."""

    async def start(self) -> None:
        """Listen on a free port."""
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        self.port: int = listening.getsockname()[1]
        self._listener = await asyncio.start_server(
            self._accept, sock=listening, limit=SMALL_BUFFER, ssl=self._tls
        )

    async def aclose(self) -> None:
        """Stop, and reset open connections."""
        self._listener.close()
        for wire in self.all():
            wire.release()
            wire.reset()
        await asyncio.gather(*self._tasks)

    @property
    def url(self) -> str:
        """The Redis URL of the proxied server."""
        scheme = "redis" if self._tls is None else "rediss"
        return f"{scheme}://127.0.0.1:{self.port}"

    def subscribers(self) -> list[Wire]:
        """The open connections that have subscribed."""
        return [wire for wire in self.wires if wire.subscriber]

    def commanders(self) -> list[Wire]:
        """The open connections that have not subscribed."""
        return [wire for wire in self.wires if not wire.subscriber]

    def all(self) -> list[Wire]:
        """Every open connection."""
        return list(self.wires)

    def every(self, do: Callable[[Wire], None]) -> None:
        """Do something to every open connection."""
        for wire in self.all():
            do(wire)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        for port in self.targets:
            target = socket.socket()
            target.setblocking(False)
            target.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            try:
                await asyncio.get_running_loop().sock_connect(target, ("127.0.0.1", port))
            except OSError:
                target.close()
                continue
            answers, server = await asyncio.open_connection(sock=target, limit=SMALL_BUFFER)
            await self._serve(Wire(writer, server, swallowing=self.swallowing), reader, answers)
            return
        writer.transport.abort()

    async def _serve(
        self, wire: Wire, requests: asyncio.StreamReader, answers: asyncio.StreamReader
    ) -> None:
        self.wires.append(wire)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ask(wire, requests))
                tasks.create_task(self._answer(wire, answers))
        except* OSError:
            wire.reset()
        finally:
            self.wires.remove(wire)
            wire.drop()

    async def _ask(self, wire: Wire, requests: asyncio.StreamReader) -> None:
        while data := await requests.read(65_536):
            wire.subscriber = wire.subscriber or b"SUBSCRIBE\r\n" in data
            wire.server.write(data)
            await wire.server.drain()
            await wire.asking()
        wire.server.close()

    async def _answer(self, wire: Wire, answers: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def forward() -> None:
            while True:
                due, data = await late.get()
                if due > loop.time():  # all that is due leaves in one turn of a busy loop
                    await asyncio.sleep(due - loop.time())
                if not wire.swallowing:
                    wire.client.write(data)

        forwarding = asyncio.create_task(forward())
        try:
            while data := await answers.read(65_536):
                late.put_nowait((loop.time() + self.delay, data))
                await wire.answering()
            wire.client.close()
        finally:
            forwarding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await forwarding


@asynccontextmanager
async def proxying(*targets: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """Run a proxy in front of ports of this machine."""
    proxy = Proxy(*targets, tls=tls)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.aclose()
