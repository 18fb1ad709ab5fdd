"""Installing the server into the host's Starlette application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute


def install(
    app: Starlette,
    routes: Sequence[BaseRoute],
    start: Callable[[], Awaitable[None]],
    close: Callable[[], Awaitable[None]],
) -> None:
    """Put routes before the application's own, and start and close with its lifespan.

    The application's other routes, its middleware and its own lifespan stay as they are.
    """
    app.router.routes[:0] = routes
    lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def with_server(host: Any) -> AsyncIterator[Any]:
        await start()
        try:
            async with lifespan(host) as state:
                yield state
        finally:
            await close()

    app.router.lifespan_context = with_server
