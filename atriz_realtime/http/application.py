"""How requests reach a server: through the host's application, or straight from uvicorn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from atriz_realtime.api.errors import ConfigurationError, RealtimeError
from atriz_realtime.api.extras import install_hint
from atriz_realtime.api.records import Endpoint
from atriz_realtime.api.wire import SOCKET_PATH
from atriz_realtime.core.clients.socket_server import SocketServer
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.lifecycle import Lifecycle
from atriz_realtime.http.endpoints import EndpointRoute, Endpoints, OwnerOfPath
from atriz_realtime.http.routes import Probes, RealtimeRoutes, TrailingSlash
from atriz_realtime.plugin_system.config import RealtimeConfig

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from atriz_realtime.engine.transports.uvicorn import UvicornWebSocket


class HttpInterface:
    """Adds the server to an application, and makes its protocols for uvicorn.

    The application's own routes, middleware and lifespan stay as they are; a
    :class:`RealtimeError` that its routes raise is answered as an endpoint's, unless it handles
    these errors itself.  uvicorn and httptools are imported only for the protocols.

    :param endpoints: the endpoints of plugins; ``routes``: their other routes.
    :param lifecycle: started before the first request is answered, at the latest.
    """

    def __init__(
        self,
        app: Starlette,
        config: RealtimeConfig,
        socket_io: SocketServer,
        incidents: Incidents,
        *,
        endpoints: Sequence[Endpoint],
        routes: Sequence[BaseRoute],
        owner_of_path: OwnerOfPath,
        lifecycle: Lifecycle,
    ) -> None:
        self._engine = engine = socket_io.eio
        start = lifecycle.start
        self.endpoints = Endpoints(
            endpoints,
            start,
            lambda: lifecycle.is_leaving,
            config.max_body,
            incidents,
            owner_of_path,
        )
        """The endpoints' answers, and numbers about them."""
        self._websocket: type[UvicornWebSocket] | None = None
        by_route = self.endpoints.by_route.values()
        own = RealtimeRoutes(
            [*(EndpointRoute(each, self.endpoints) for each in by_route), *routes],
            socket_io.handle_request,
            config.cors_origin,
            start,
            incidents,
            config.max_body,
            engine.proxies,
            owner_of_path,
        )
        probes = Probes(app.router, start, lambda: lifecycle.is_leaving)
        app.router.routes[:0] = [own, TrailingSlash(app.router, own, probes), probes]
        if RealtimeError not in app.exception_handlers:
            app.add_exception_handler(RealtimeError, own.refuse)
        lifespan = app.router.lifespan_context

        @asynccontextmanager
        async def with_server(host: Any) -> AsyncIterator[Any]:
            if covered := own.covered(app.router.routes):
                paths = ", ".join(covered)
                message = f"the server answers these paths of the application itself: {paths}"
                incidents.report("route covered", message)
            await lifecycle.start_for("this application's RealtimeServer")
            try:
                async with lifespan(host) as state:
                    yield state
            finally:
                await lifecycle.close()

        app.router.lifespan_context = with_server

    def websocket_protocol(self) -> type[UvicornWebSocket]:
        """The class for uvicorn's ``ws=``.

        :raises ConfigurationError: when uvicorn is not installed.
        """
        if self._websocket is None:
            with _optional_imports("websocket_protocol()"):
                self._websocket = self._engine.websocket_protocol(SOCKET_PATH)
        return self._websocket

    def http_protocol(self, fallback: type[HttpToolsProtocol] | None) -> type[asyncio.Protocol]:
        """The class for uvicorn's ``http=``: see :func:`.protocol.http_protocol`.

        :raises ConfigurationError: when uvicorn or httptools is not installed.
        """
        websocket = self.websocket_protocol()
        with _optional_imports("http_protocol()"):
            from atriz_realtime.http import protocol  # noqa: PLC0415
        engine = self._engine
        return protocol.http_protocol(
            self.endpoints, websocket, engine.polling, fallback, engine.proxies
        )


@contextmanager
def _optional_imports(what: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"{what} needs uvicorn and httptools, but {error.name or error} cannot be imported: "
            f"{install_hint('serve')}, or leave uvicorn's http= and ws= as they are"
        ) from error
