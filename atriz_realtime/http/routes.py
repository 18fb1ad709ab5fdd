"""The server's routes as one route of the host's application, and probes for orchestrators."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Router, WebSocketRoute
from starlette.status import WS_1008_POLICY_VIOLATION, WS_1011_INTERNAL_ERROR
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from atriz_realtime.api.errors import LocationNotFound, RealtimeError, Unavailable
from atriz_realtime.api.wire import SOCKET_PATH
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.http.bounded import bounded
from atriz_realtime.http.cross_origin import CrossOrigin
from atriz_realtime.http.endpoints import (
    EndpointRoute,
    OwnerOfPath,
    address_of,
    error_answer,
    headers_of,
    no_plugin,
    of_plugin,
    path_of,
    send_answer,
)

ALIVE = "/livez"
READY = "/readyz"

START_TIMEOUT = 1.0
"""Seconds that ``/readyz`` waits for the server to start before it answers ``starting``."""


HOST_HANDLERS = "starlette.exception_handlers"
"""Where Starlette keeps the host's handlers: they are for the host's own routes."""


class RealtimeRoutes(BaseRoute):
    """Everything that the server answers; the host's own routes are untouched.

    :param origins: the origins that web pages may call from; none: no CORS headers.
    :param ready: awaited before each request; starts the server if the host runs no lifespan.
    :param incidents: told of requests that are refused or fail.
    :param max_body: bytes that the body of a request may have.
    :param proxies: the proxies to believe about the client; ``None``: the ASGI server decides.
    :param owner_of_path: returns the plugin that registered a path, for the log.
    """

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        socket_app: ASGIApp,
        origins: Sequence[str],
        ready: Callable[[], Awaitable[None]],
        incidents: Incidents,
        max_body: int,
        proxies: TrustedProxies | None = None,
        owner_of_path: OwnerOfPath = no_plugin,
    ) -> None:
        self._ready = ready
        self._incidents = incidents
        self._max_body = max_body
        self._proxies = proxies
        self._owner_of_path = owner_of_path
        self._socket = Mount(SOCKET_PATH, app=socket_app)
        self._routes = [self._socket, *routes]
        self._endpoints = {each.path for each in routes if isinstance(each, EndpointRoute)}
        self._app: ASGIApp = self._dispatch
        if origins:
            self._app = CrossOrigin(self._dispatch, origins, incidents)

    def covered(self, others: Iterable[BaseRoute]) -> list[str]:
        """The paths of other routes that nothing reaches, because one of these comes first.

        A pattern and a mount count if one of the paths that they are for is taken.
        """
        found = []
        for route in others:
            path = getattr(route, "path", None)
            if isinstance(path, str):
                path_below = f"{path}/x" if isinstance(route, Mount) else path
                sample = re.sub(r"\{[^}]*\}", "x", path_below)
                kind = "websocket" if isinstance(route, WebSocketRoute) else "http"
                scope = {"type": kind, "method": "GET", "path": sample, "headers": []}
                if self.matches(scope)[0] is not Match.NONE:
                    found.append(path)
        return list(dict.fromkeys(found))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match whatever one of the routes matches, even partially."""
        found, _, __ = self._find(scope)
        return (Match.NONE if found is Match.NONE else Match.FULL), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start the server if necessary, and pass the request to its route."""
        if self._proxies is not None:
            self._proxies.rewrite(scope)
        await self._ready()
        if self._socket.matches(scope)[0] is Match.FULL:
            await self._dispatch(scope, receive, send)  # the engine handles CORS itself
        else:
            await self._app(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[Match, Scope, BaseRoute]:
        partial: tuple[Match, Scope, BaseRoute] = (Match.NONE, {}, self._socket)
        for route in self._candidates(scope):
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                return match, child_scope, route
            if match is Match.PARTIAL and partial[0] is Match.NONE:
                partial = (match, child_scope, route)
        return partial

    def _candidates(self, scope: Scope) -> list[BaseRoute]:
        """The routes that may match; a pattern does not match the path of an endpoint."""
        path = path_of(scope)
        if path not in self._endpoints:
            return self._routes
        return [each for each in self._routes if getattr(each, "path", None) == path]

    def _allowed(self, scope: Scope) -> str:
        """The methods of the routes that match in everything else."""
        methods: set[str] = set()
        for route in self._candidates(scope):
            if route.matches(scope)[0] is Match.PARTIAL:
                methods.update(getattr(route, "methods", None) or ())
        return ", ".join(sorted(methods))

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        found, child_scope, route = self._find(scope)
        if found is Match.PARTIAL:
            raise HTTPException(405, headers={"Allow": self._allowed(scope)})
        scope.update(child_scope)
        scope.pop(HOST_HANDLERS, None)
        started = False

        async def send_watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            if scope["type"] == "http" and route is not self._socket:  # which has a bound itself
                receive = bounded(scope, receive, self._max_body)
            await route.handle(scope, receive, send_watched)
        except HTTPException:  # Starlette answers it
            raise
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            path = getattr(route, "path", "")
            answer = self._error(f"{scope['method']} {scope['path']}", error, scope, path)
            await send_answer(error_answer(answer), send)

    async def refuse(self, request: HTTPConnection, error: Exception) -> Any:
        """Answer a :class:`RealtimeError` of a host's own route as one of an endpoint.

        A websocket is closed, which denies a handshake with 403: with an answer of its own,
        uvicorn would log an error for each.

        :returns: the response; ``None`` for a websocket.
        """
        scope = request.scope
        endpoint = scope.get("endpoint")  # not the path: it may contain a secret of the host's
        name = getattr(endpoint, "__name__", type(endpoint).__name__)
        refusal = self._error(f"{scope.get('method', 'websocket')} {name}", error, scope)
        answer = error_answer(refusal)
        if isinstance(request, WebSocket):
            code = WS_1011_INTERNAL_ERROR if answer.status >= 500 else WS_1008_POLICY_VIOLATION
            with suppress(WebSocketDisconnect, RuntimeError, OSError):  # it has ended already
                await request.close(code, refusal.code)
            return None
        response = Response(answer.body, answer.status)
        response.raw_headers = headers_of(answer)
        return response

    def _error(self, what: str, error: Exception, scope: Scope, path: str = "") -> RealtimeError:
        """Count a request that is refused or has failed; returns the error to answer with.

        :param path: that of the plugin's route, as it was registered.
        """
        if not isinstance(error, RealtimeError):
            what += of_plugin(self._owner_of_path(path))
            return self._incidents.failed("endpoint failed", what, error, cause=path)
        if error.status != LocationNotFound.status:  # which is not a refusal
            self._incidents.refused(what, error, address_of(scope))
        return error


class TrailingSlash(BaseRoute):
    """Redirects from a path of the server's with a slash at the end to the one without it.

    The host's router would redirect to the scheme and the host that the last proxy has called.

    :param router: the host's router, whose other routes take precedence.
    :param own: what answers the paths without the slash.
    """

    def __init__(self, router: Router, *own: BaseRoute) -> None:
        self._router = router
        self._own = own

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a path that only its last slash keeps from being one of the server's."""
        is_ours = (
            scope["type"] == "http"
            and scope["path"].endswith("/")
            and self._router.redirect_slashes
            and self._is_own({**scope, "path": scope["path"][:-1]})
            and not any(
                each.matches(scope)[0] is not Match.NONE
                for each in self._router.routes
                if each is not self
            )
        )
        return (Match.FULL if is_ours else Match.NONE), {}

    def _is_own(self, scope: Scope) -> bool:
        return any(each.matches(scope)[0] is not Match.NONE for each in self._own)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Redirect to a relative address."""
        name = quote(scope["path"][:-1].rpartition("/")[2], safe="")
        query = scope["query_string"].decode("latin-1")
        location = f"../{name}?{query}" if query else f"../{name}"
        await RedirectResponse(location)(scope, receive, send)


class Probes(BaseRoute):
    """Answers ``/livez`` and ``/readyz``, also before the server has started and while it closes.

    A route of the host's with the path of a probe takes precedence.

    :param router: the host's router.
    :param start: starts the server, or waits until it has started.
    :param leaving: tells whether the server is being closed, or is about to be.
    """

    def __init__(
        self, router: Router, start: Callable[[], Awaitable[None]], leaving: Callable[[], bool]
    ) -> None:
        self._router = router
        self._start = start
        self._leaving = leaving

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a request for a probe that the host does not serve itself."""
        path = path_of(scope)
        if scope["type"] != "http" or path not in (ALIVE, READY):
            return Match.NONE, {}
        matched = scope["method"] in ("GET", "HEAD") and not self._is_hosts_own(path)
        return (Match.FULL if matched else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the state as JSON: status 200, or 503 while not ready."""
        state = "alive" if path_of(scope) == ALIVE else await self._readiness()
        status = 200 if state in ("alive", "ready") else Unavailable.status
        await JSONResponse({"status": state}, status)(scope, receive, send)

    def _is_hosts_own(self, path: str) -> bool:
        return any(getattr(route, "path", None) == path for route in self._router.routes)

    async def _readiness(self) -> str:
        if self._leaving():
            return "closing"
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._start()
        except TimeoutError:
            return "starting"
        except Exception:  # the application's lifespan raises it
            return "failed"
        return "ready"
