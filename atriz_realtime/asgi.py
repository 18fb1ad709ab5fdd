"""A standalone application: ``uvicorn --factory atriz_realtime.asgi:create_app``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from atriz_realtime.api.reports import ProcessReport
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.server import RealtimeServer


def create_app(
    config: RealtimeConfig | None = None,
    *,
    worker: int = 0,
    deaths: int = 0,
    other_reports: Callable[[], Awaitable[Sequence[ProcessReport]]] | None = None,
) -> Starlette:
    """A Starlette application that serves live tracking and nothing else.

    The :class:`RealtimeServer` is ``app.state.realtime``, and takes the same arguments.

    :raises ConfigurationError: when a setting or a plugin cannot work.
    """
    app = Starlette()
    app.router.default = _not_found
    app.state.realtime = RealtimeServer(
        app, config, worker=worker, deaths=deaths, other_reports=other_reports
    )
    return app


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a path that nobody serves with a 404 that every web page may read.

    A client with a wrong path can then say so. The answer is the same for everybody.

    :raises HTTPException: which Starlette answers.
    """
    if scope["type"] == "websocket":
        await WebSocketClose()(scope, receive, send)
        return
    raise HTTPException(404, headers={"Access-Control-Allow-Origin": "*"})
