"""A plugin with a route that reports what the server's process holds."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from atriz_realtime.api import ServerHandle, hookimpl

PAGE = 4_096
"""Bytes of a page of memory."""


def memory() -> int:
    """Bytes of this process that are resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def descriptors() -> int:
    """How many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@hookimpl
def register_routes(server: ServerHandle) -> Route:
    """Register ``/process-state``."""

    async def process_state(request: Request) -> JSONResponse:
        gc.collect()
        return JSONResponse(
            {
                "memory": memory(),
                "descriptors": descriptors(),
                "tasks": len(asyncio.all_tasks()),
                "connections": server.sockets.connections,
                "incidents": dict(server.incidents()),
            }
        )

    return Route("/process-state", process_state)
