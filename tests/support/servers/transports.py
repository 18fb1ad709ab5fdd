"""Serves an engine on each kind of server."""

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

from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.engine import EngineServer
from atriz_realtime.http.endpoints import Endpoints
from atriz_realtime.http.protocol import http_protocol
from atriz_realtime.testing import TIMEOUT
from atriz_realtime.testing.web import on_uvicorn, port_of

Transport = Literal["uvicorn", "asgi", "hypercorn"]
"""The package's own protocols in uvicorn, ASGI in uvicorn, and ASGI in hypercorn."""

ON_UVICORN = pytest.mark.parametrize(
    "transport", ["uvicorn", "asgi"], indirect=True, scope="module"
)
"""Leaves out hypercorn, which does by itself what the test checks."""

BOTH_ON_UVICORN = pytest.mark.parametrize("portable", [False, True], ids=["uvicorn", "asgi"])
"""Runs a test with ``serving(portable=...)`` on both transports in uvicorn."""


@asynccontextmanager
async def serving_engine(
    transport: Transport, app: Any, engine: EngineServer, path: str, *, lifespan: bool = True
) -> AsyncIterator[int]:
    """Serve an application with an engine on a free port; yields the port.

    :param lifespan: False for an application that another server starts and stops.
    """
    if transport == "hypercorn":
        async with on_hypercorn(app) as port:
            yield port
        return
    http: Any = "httptools"
    ws: Any = "websockets-sansio"
    if transport == "uvicorn":
        ws = engine.websocket_protocol(path)
        http = http_protocol(_no_endpoints(), ws, engine.polling, None, engine.proxies)
    config = uvicorn.Config(
        app,
        port=0,
        http=http,
        ws=ws,
        log_config=None,
        lifespan="auto" if lifespan else "off",
        timeout_graceful_shutdown=1,
    )
    async with on_uvicorn(config) as server:
        yield port_of(server)


def _no_endpoints() -> Endpoints:
    async def ready() -> None: ...

    return Endpoints([], ready, lambda: False, 0, Incidents(SystemClock()))


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
