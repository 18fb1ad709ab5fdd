"""The server's HTTP and websocket routes, as one route of the host's application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from atriz_realtime.api.errors import LocationNotFound, NotAuthenticated, RealtimeError
from atriz_realtime.engine.request.proxies import TrustedProxies

SOCKET_PATH = "/socket.io"
"""Where Socket.IO is served."""


class RealtimeRoutes(BaseRoute):
    """Everything that the server answers; the host's own routes are untouched.

    :param origins: the origins that web pages may call from; none: no CORS headers.
    :param ready: awaited before each request; starts the server where the host runs no
        lifespan.
    :param refused: called with a refused request's method and path, and the error.
    :param proxies: the proxies to believe about the client; ``None``: the ASGI server decides.
    """

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        socket_app: ASGIApp,
        origins: Sequence[str],
        ready: Callable[[], Awaitable[None]],
        refused: Callable[[str, RealtimeError], None],
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._ready = ready
        self._refused = refused
        self._proxies = proxies
        self._socket = Mount(SOCKET_PATH, app=socket_app)
        self._routes = [*routes]
        self._app: ASGIApp = self._dispatch
        if origins:
            self._app = CORSMiddleware(
                self._dispatch,
                allow_origins=origins,
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["*"],  # an authenticator may read any
                max_age=600,
            )

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match whatever one of the routes matches, even partially."""
        if scope["type"] not in ("http", "websocket"):
            return Match.NONE, {}
        found, _, __ = self._find(scope)
        return (found, {}) if found is Match.NONE else (Match.FULL, {})

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
        for route in (self._socket, *self._routes):
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                return match, child_scope, route
            if match is Match.PARTIAL and partial[0] is Match.NONE:
                partial = (match, child_scope, route)
        return partial

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, child_scope, route = self._find(scope)
        scope.update(child_scope)
        started = False

        async def send_watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await route.handle(scope, receive, send_watched)
        except RealtimeError as error:
            if started or scope["type"] != "http":
                raise
            if error.status != LocationNotFound.status:  # which is not a refusal
                self._refused(f"{scope['method']} {scope['path']}", error)
            headers = {name.decode(): value.decode() for name, value in error.http_headers}
            if error.status == NotAuthenticated.status:
                headers["www-authenticate"] = "Bearer"
            await JSONResponse(error.to_wire(), error.status, headers)(scope, receive, send)
