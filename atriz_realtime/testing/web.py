"""uvicorn in a test's own event loop, which starts and stops it often."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn


class WebServer(uvicorn.Server):
    """uvicorn without its pauses: its own looks ten times a second whether it is to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.running = asyncio.Event()
        """Set once clients can connect."""
        self.stopping = asyncio.Event()
        """To be set when it is to stop."""

    async def main_loop(self) -> None:
        """Serve until it is to stop."""
        loops = [
            asyncio.ensure_future(super().main_loop()),
            asyncio.ensure_future(self.stopping.wait()),
        ]
        self.running.set()
        await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
        for loop in loops:
            loop.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close everything; where nobody is connected, there is nothing to wait for."""
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()
            await server.wait_closed()
        for listener in sockets or []:
            listener.close()
        await self.lifespan.shutdown()


@asynccontextmanager
async def on_uvicorn(
    config: uvicorn.Config, sockets: list[socket.socket] | None = None
) -> AsyncIterator[WebServer]:
    """Serve an application as it is configured to be.

    :param sockets: listening sockets, instead of the configured address.
    :raises RuntimeError: when the server does not start.
    """
    web = WebServer(config)
    serving = asyncio.create_task(web.serve(sockets))
    running = asyncio.create_task(web.running.wait())
    try:
        await asyncio.wait([serving, running], return_when=asyncio.FIRST_COMPLETED)
        if not web.running.is_set():
            await serving
            raise RuntimeError("the server did not start")
        yield web
    finally:
        running.cancel()
        web.stopping.set()
        await serving


def port_of(web: uvicorn.Server) -> int:
    """The port that a server listens on."""
    port: int = web.servers[0].sockets[0].getsockname()[1]
    return port
