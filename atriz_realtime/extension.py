"""Live tracking as an extension of an Atriz service."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette

from atriz_realtime.api.errors import ConfigurationError
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.server import RealtimeServer


class RealtimeExtension:
    """Registers live tracking in a service: entry point ``realtime`` of ``atriz.extensions``.

    :param config: default: read from the configuration file and the environment.
    """

    name = "realtime"

    def __init__(self, config: RealtimeConfig | None = None) -> None:
        self._config = config

    def install(self, host: Any) -> RealtimeServer:
        """Add the server to a host, which keeps its own routes, lifespan and middleware.

        A :class:`RealtimeError` that a route of the host's raises becomes the JSON refusal that
        it is of an endpoint, unless the host has an exception handler for it, before or after.

        :param host: an application of Starlette or derived from it (FastAPI), or any
            object with one as its ``app``, such as the framework's ``WebService``.
        :returns: the server, which is also ``app.state.realtime``.
        :raises ConfigurationError: for a host that is neither, or has one already.
        """
        app = host if isinstance(host, Starlette) else getattr(host, "app", None)
        if not isinstance(app, Starlette):
            raise ConfigurationError(
                f"cannot install into a {type(host).__name__}: neither it nor its .app "
                "is a Starlette application"
            )
        if hasattr(app.state, "realtime"):
            raise ConfigurationError("live tracking is installed in this application already")
        server = RealtimeServer(app, self._config)
        app.state.realtime = server
        return server
