"""A standalone application: ``uvicorn --factory atriz_realtime.asgi:create_app``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette

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
    app.state.realtime = RealtimeServer(
        app, config, worker=worker, deaths=deaths, other_reports=other_reports
    )
    return app
