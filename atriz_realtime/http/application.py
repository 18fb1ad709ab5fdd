"""How a server gets its requests: inside the host's application, and from uvicorn directly.

uvicorn and httptools are imported only for the latter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from atriz_realtime.api.errors import ConfigurationError
from atriz_realtime.engine import EngineServer
from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.http.endpoints import Endpoints
from atriz_realtime.http.routes import SOCKET_PATH

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from atriz_realtime.engine.transports.uvicorn import UvicornWebSocket


def install(
    app: Starlette,
    routes: Sequence[BaseRoute],
    start: Callable[[], Awaitable[None]],
    close: Callable[[], Awaitable[None]],
) -> None:
    """Put routes before the application's own, and start and close with its lifespan.

    The application's own routes, middleware and lifespan stay as they are.
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


def websocket_protocol(engine: EngineServer) -> type[UvicornWebSocket]:
    """Make the class for uvicorn's ``ws=``.

    :raises ConfigurationError: when uvicorn is not installed.
    """
    try:
        from atriz_realtime.engine.transports import uvicorn  # noqa: PLC0415
    except ImportError as error:
        raise _not_installed("websocket_protocol()", error) from error
    return uvicorn.websocket_protocol(engine, SOCKET_PATH)


def http_protocol(
    endpoints: Endpoints,
    websocket: type[UvicornWebSocket],
    fallback: type[HttpToolsProtocol] | None,
    proxies: TrustedProxies | None,
) -> type[asyncio.Protocol]:
    """Make the class for uvicorn's ``http=``: see :func:`.protocol.http_protocol`.

    :raises ConfigurationError: when uvicorn or httptools is not installed.
    """
    try:
        from atriz_realtime.http import protocol  # noqa: PLC0415
    except ImportError as error:
        raise _not_installed("http_protocol()", error) from error
    return protocol.http_protocol(endpoints, websocket, fallback, proxies)


def _not_installed(what: str, error: ImportError) -> ConfigurationError:
    return ConfigurationError(
        f"{what} needs uvicorn and httptools, but {error.name or error} cannot be imported: "
        "pip install 'atriz-realtime[serve]', or leave uvicorn's http= and ws= as they are"
    )
