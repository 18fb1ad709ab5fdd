"""A network that misbehaves: a TCP proxy between servers and Redis, or clients and servers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs

SMALL_BUFFER = 4_096
"""Bytes the kernel may keep of what is sent here, so that whoever sends soon feels a hold."""


@attrs.define(eq=False)
class Wire:
    """One connection, and what the network does to it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    subscriber: bool = False
    """Whether it has subscribed to something."""
    swallowing: bool = False
    _answers: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _requests: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.release()

    def swallow(self) -> None:
        """Lose every answer from now on; what is asked arrives."""
        self.swallowing = True

    def hold(self) -> None:
        """Take no answers from the server, which must keep them."""
        self._answers.clear()

    def stall(self) -> None:
        """Take nothing from either side, as when the other host is gone from the network."""
        self._answers.clear()
        self._requests.clear()

    def release(self) -> None:
        """Take everything again."""
        self._answers.set()
        self._requests.set()

    def drop(self) -> None:
        """Close both sides, as a load balancer does that has had enough."""
        self.client.close()
        self.server.close()

    def half_close(self) -> None:
        """Tell the client that nothing more comes; what it sends still arrives."""
        self.client.write_eof()
        self.swallowing = True

    def reset(self) -> None:
        """Break both sides (RST)."""
        for side in (self.client, self.server):
            if side.transport.is_closing():
                continue
            # a close with a linger time of zero is what makes the kernel send a reset
            side.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
            side.transport.abort()

    async def answering(self) -> None:
        """Wait while no answers are taken."""
        await self._answers.wait()

    async def asking(self) -> None:
        """Wait while no requests are taken."""
        await self._requests.wait()


class Proxy:
    """Forwards connections to the first of some ports that accepts them.

    :param targets: ports of this machine.
    :param tls: what it shows to clients, to be the TLS side of a server that has none.
    """

    def __init__(self, *targets: int, tls: ssl.SSLContext | None = None) -> None:
        self.targets = targets
        """Where new connections go."""
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.wires: list[Wire] = []
        """The connections that are open."""
        self.delay = 0.0
        """Seconds that each answer takes longer."""
        self.swallowing = False
        """Whether new connections lose every answer."""

    async def start(self) -> None:
        """Listen on a free port."""
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        self.port: int = listening.getsockname()[1]
        self._listener = await asyncio.start_server(
            self._accept, sock=listening, limit=SMALL_BUFFER, ssl=self._tls
        )

    async def aclose(self) -> None:
        """Stop, and close what is open."""
        self._listener.close()
        for wire in self.all():
            wire.release()
            wire.reset()
        await asyncio.gather(*self._tasks)

    @property
    def url(self) -> str:
        """Where Redis seems to be."""
        scheme = "redis" if self._tls is None else "rediss"
        return f"{scheme}://127.0.0.1:{self.port}"

    def subscribers(self) -> list[Wire]:
        """The connections that listen."""
        return [wire for wire in self.wires if wire.subscriber]

    def commanders(self) -> list[Wire]:
        """The others."""
        return [wire for wire in self.wires if not wire.subscriber]

    def all(self) -> list[Wire]:
        """Every connection."""
        return list(self.wires)

    def every(self, do: Callable[[Wire], None]) -> None:
        """Do something to all that are open now."""
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
    """A proxy in front of ports of this machine."""
    proxy = Proxy(*targets, tls=tls)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.aclose()
