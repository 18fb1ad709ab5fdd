"""A server on a fixed port of ``localhost``, on every address that the name has."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from atriz_realtime.testing.web import on_uvicorn
from tests.support.servers.serving import Live, until


def listen(port: int) -> list[socket.socket]:
    """A listening socket for each address of ``localhost``; none while the port is in use."""
    found: list[socket.socket] = []
    for family, *_, address in sorted(
        set(socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM))
    ):
        try:
            found.append(socket.create_server(address[:2], family=family))
        except OSError as error:
            for opened in found:
                opened.close()
            if error.errno != errno.EADDRINUSE:
                raise
            return []
    return found


@asynccontextmanager
async def serving_on_localhost(app: Any, port: int) -> AsyncIterator[Live]:
    """Serve an application on a port of ``localhost``, as soon as the port is free."""
    sockets = await until(lambda: listen(port), timeout=60)
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2, lifespan="on")
    async with on_uvicorn(config, sockets):
        yield Live(app, port)


class Recorder:
    """ASGI middleware that records what Socket.IO clients send."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.state = app.state
        self.sent: list[str] = []
        """Websocket messages and the bodies of polling requests, as text."""

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Any) -> None:
        async def recorded() -> Any:
            message = await receive()
            data = message.get("text") or message.get("body") or b""
            if data and scope["path"].startswith("/socket.io/"):
                self.sent.append(data if isinstance(data, str) else data.decode())
            return message

        await self.app(scope, recorded, send)
