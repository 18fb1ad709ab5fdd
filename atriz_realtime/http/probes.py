"""The probes ``/livez`` and ``/readyz``, for orchestrators and load balancers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match, Router
from starlette.types import Receive, Scope, Send

from atriz_realtime.api.errors import Unavailable

ALIVE = "/livez"
READY = "/readyz"

START_TIMEOUT = 1.0
"""Seconds that ``/readyz`` waits for the server to start before it answers ``starting``."""


class Probes(BaseRoute):
    """Answers the probes, also before the server has started and while it closes.

    Where the host has a route with the path of a probe, that route is served instead.

    :param router: the host's router.
    :param start: starts the server, or waits until it has started.
    :param closing: tells whether the server is being closed.
    """

    def __init__(
        self, router: Router, start: Callable[[], Awaitable[None]], closing: Callable[[], bool]
    ) -> None:
        self._router = router
        self._start = start
        self._closing = closing

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a request for a probe that the host does not serve itself."""
        path = _path(scope)
        if scope["type"] != "http" or path not in (ALIVE, READY):
            return Match.NONE, {}
        matched = scope["method"] in ("GET", "HEAD") and not self._is_hosts_own(path)
        return (Match.FULL if matched else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the state as JSON: status 200, or 503 while not ready."""
        state = "alive" if _path(scope) == ALIVE else await self._readiness()
        status = 200 if state in ("alive", "ready") else Unavailable.status
        await JSONResponse({"status": state}, status)(scope, receive, send)

    def _is_hosts_own(self, path: str) -> bool:
        return any(getattr(route, "path", None) == path for route in self._router.routes)

    async def _readiness(self) -> str:
        if self._closing():
            return "closing"
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._start()
        except TimeoutError:
            return "starting"
        except Exception:  # the application's lifespan raises it
            return "failed"
        return "ready"


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
