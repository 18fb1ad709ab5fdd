"""``/livez`` and ``/readyz``: what an orchestrator and a load balancer ask all the time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match, Router
from starlette.types import Receive, Scope, Send

from atriz_realtime.api.errors import Unavailable

ALIVE = "/livez"
READY = "/readyz"

START_PATIENCE = 1.0
"""Seconds that ``/readyz`` waits for a server that is starting before it says so."""


class Probes(BaseRoute):
    """Answers both, before the start and while the server closes.

    A route of the host's own with one of the paths is served instead.

    :param router: the host's.
    :param start: starts the server, or waits for its start.
    :param closing: whether it is being closed.
    """

    def __init__(
        self, router: Router, start: Callable[[], Awaitable[None]], closing: Callable[[], bool]
    ) -> None:
        self._router = router
        self._start = start
        self._closing = closing

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a probe is meant."""
        path = _path(scope)
        if scope["type"] != "http" or path not in (ALIVE, READY):
            return Match.NONE, {}
        asked = scope["method"] in ("GET", "HEAD") and not self._is_hosts_own(path)
        return (Match.FULL if asked else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        state = "alive" if _path(scope) == ALIVE else await self._readiness()
        status = 200 if state in ("alive", "ready") else Unavailable.status
        await JSONResponse({"status": state}, status)(scope, receive, send)

    def _is_hosts_own(self, path: str) -> bool:
        return any(getattr(route, "path", None) == path for route in self._router.routes)

    async def _readiness(self) -> str:
        if self._closing():
            return "closing"
        try:
            async with asyncio.timeout(START_PATIENCE):
                await self._start()
        except TimeoutError:
            return "starting"
        except Exception:  # which whoever starts it is told
            return "failed"
        return "ready"


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
