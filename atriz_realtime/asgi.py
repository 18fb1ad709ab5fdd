"""An application of its own: ``uvicorn --factory atriz_realtime.asgi:create_app``."""

from __future__ import annotations

from starlette.applications import Starlette

from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.server import RealtimeServer


def create_app(config: RealtimeConfig | None = None) -> Starlette:
    """A Starlette application that serves live tracking and nothing else.

    The :class:`RealtimeServer` is ``app.state.realtime``.

    :param config: default: read from the configuration file and the environment.
    :raises ConfigurationError: when a setting or a plugin cannot work.
    """
    app = Starlette()
    app.state.realtime = RealtimeServer(app, config)
    return app
