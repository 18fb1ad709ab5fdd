"""Runs uvicorn in the event loop of a test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send


class Observed:
    """An application that keeps what its lifespan has raised, which uvicorn only logs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.failure: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request, or the lifespan, to the application."""
        try:
            await self._app(scope, receive, send)
        except BaseException as failure:
            if scope["type"] == "lifespan":
                self.failure = failure
            raise


class WebServer(uvicorn.Server):
    """A uvicorn server that stops at once; uvicorn itself polls ten times a second for that.

    :param drain: called before connections are closed, as ``serve`` does.
    """

    def __init__(
        self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self.running = asyncio.Event()
        """Set once clients can connect."""
        self.stopping = asyncio.Event()
        """Set it to stop the server."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; uvicorn itself would end the process when the application does not.

        :raises RuntimeError: when the application does not start.
        """
        try:
            await super().startup(sockets)
        except SystemExit as error:
            app = self.config.app
            failure = app.failure if isinstance(app, Observed) else None
            why = "; the log says why" if failure is None else f": {failure}"
            raise RuntimeError(f"the application did not start{why}") from failure or error

    async def main_loop(self) -> None:
        """Serve until ``stopping`` is set."""
        loops = [
            asyncio.ensure_future(super().main_loop()),
            asyncio.ensure_future(self.stopping.wait()),
        ]
        self.running.set()
        await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
        for loop in loops:
            loop.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close everything; without connections there is nothing to wait for."""
        if self._drain is not None:
            for server in self.servers:
                server.close()
            await self._drain()
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
    config: uvicorn.Config,
    sockets: list[socket.socket] | None = None,
    drain: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[WebServer]:
    """Serve an application while the context lasts.

    :param sockets: listening sockets, instead of the configured address.
    :param drain: called before connections are closed.
    :raises RuntimeError: when the server does not start.
    """
    web = WebServer(config, drain)
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
    """The port on which a server listens."""
    port: int = web.servers[0].sockets[0].getsockname()[1]
    return port
