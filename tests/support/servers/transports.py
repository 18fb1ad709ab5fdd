"""The ways a websocket reaches the engine: each ASGI server that the tests run."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
import uvicorn
from hypercorn.asyncio import serve
from hypercorn.config import Config

from atriz_realtime.engine import EngineServer
from atriz_realtime.engine.transports.uvicorn import websocket_protocol
from atriz_realtime.testing import TIMEOUT
from atriz_realtime.testing.web import on_uvicorn, port_of

Lane = Literal["lane", "portable", "hypercorn"]
"""The engine's own protocol in uvicorn; ASGI in uvicorn; ASGI in another server."""

ON_UVICORN = pytest.mark.parametrize("lane", ["lane", "portable"], indirect=True, scope="module")
"""Marks tests of what is another server's own affair there."""


@asynccontextmanager
async def on_lane(
    lane: Lane, app: Any, engine: EngineServer, path: str, *, started: bool = False
) -> AsyncIterator[int]:
    """Serve an application with an engine on a free port; yields the port.

    :param started: whether it is served elsewhere too, which starts and stops it.
    """
    if lane == "hypercorn":
        async with on_hypercorn(app) as port:
            yield port
        return
    ws: Any = websocket_protocol(engine, path=path) if lane == "lane" else "websockets-sansio"
    config = uvicorn.Config(
        app,
        port=0,
        ws=ws,
        log_config=None,
        lifespan="off" if started else "auto",
        timeout_graceful_shutdown=1,
    )
    async with on_uvicorn(config) as web:
        yield port_of(web)


@asynccontextmanager
async def on_hypercorn(app: Any) -> AsyncIterator[int]:
    """Serve an application on hypercorn, on a free port; yields the port."""
    stop = asyncio.Event()
    config = Config()
    config.graceful_timeout = 0.1
    config.errorlog = None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config.bind = [f"fd://{listener.fileno()}"]
        port: int = listener.getsockname()[1]
        task = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
        try:
            yield port
        finally:
            stop.set()
            async with asyncio.timeout(TIMEOUT):
                await task
            listener.detach()  # hypercorn closed it
