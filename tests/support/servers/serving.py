"""Real servers on real ports, in the test's own event loop.

``pytest --transport`` says which websocket transport they are served over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from atriz_realtime import testing
from atriz_realtime.asgi import create_app
from atriz_realtime.testing import (
    SECRET,
    TIMEOUT,
    Live,
    Watcher,
    config,
    token,
    until,
    watching,
)
from tests.support.servers import transports

__all__ = [
    "SECRET",
    "TIMEOUT",
    "Live",
    "Watcher",
    "config",
    "serving",
    "token",
    "until",
    "watching",
]


class Chosen:
    """Options of the command line."""

    transport: transports.Transport = "uvicorn"


@asynccontextmanager
async def serving(
    app: Any = None, *, portable: bool = False, **settings: Any
) -> AsyncIterator[Live]:
    """See :func:`atriz_realtime.testing.serving`."""
    if Chosen.transport == "hypercorn":
        app = create_app(config(**settings)) if app is None else app
        async with transports.on_hypercorn(app) as port:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}"):
                pass  # any answer: the application has started
            yield Live(app, port)
        return
    portable = portable or Chosen.transport == "asgi"
    async with testing.serving(app, portable=portable, **settings) as live:
        yield live
