"""The engine behind python-socketio's server, in place of python-engineio's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.engine import EngineServer
from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.engine.session import Session
from atriz_realtime.plugin_system.config import RealtimeConfig

Handler = Callable[..., Any]
"""Takes the arguments that python-engineio passes to handlers of the event."""


class Engine(EngineServer):
    """The engine behind python-socketio's server.

    :param opened: called with the id of each new session.
    :param received: handles a session's message; returns an awaitable if it has not finished.
    :param unasked: see :class:`EngineServer`, as for ``ready`` and ``session_prefix``.
    """

    def __init__(
        self,
        config: RealtimeConfig,
        opened: Callable[[str], None],
        received: Callable[[Session, str | bytes], Awaitable[None] | None],
        unasked: Callable[[Session], object],
        incidents: Incidents,
        ready: Callable[[], Awaitable[None] | None],
        session_prefix: str,
    ) -> None:
        origins = config.cors_origin
        super().__init__(
            ping_interval=config.ping_interval / 1000,
            ping_timeout=config.ping_timeout / 1000,
            max_payload=config.max_payload,
            max_packets=config.max_packets,
            cors_allowed_origins="*" if "*" in origins else list(origins) or None,
            max_frames=config.max_pending_frames,
            max_lag=config.max_lag,
            flush_interval=config.flush_interval / 1000,
            session_prefix=session_prefix,
            proxies=TrustedProxies(config.trusted_proxies) if config.trusted_proxies else None,
            report=incidents.report,
            unasked=unasked,
            ready=ready,
            received=received,  # python-socketio's own handler needs a task for each message
        )
        self._opened = opened
        self._own_connect: Handler | None = None

    def on(self, event: str, handler: Handler) -> None:
        """Handle an event; the first ``connect`` handler is python-socketio's own."""
        if event == "connect" and self._own_connect is None:
            self._own_connect = handler
        super().on(event, handler)

    def call_connect(self, session: Session) -> Any:
        """Accept every session: it has to connect to a namespace before it may do anything.

        python-socketio's own handler would only store the request, which :class:`Requests`
        has; it is not called unless the admin UI has replaced it.
        """
        self._opened(session.sid)
        is_replaced = self.handlers["connect"] != self._own_connect
        return super().call_connect(session) if is_replaced else None

    # private names that python-socketio's admin UI uses

    def _get_socket(self, sid: str) -> Session:
        return self.sockets[sid]

    def _ok(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Return no response: the engine makes its own."""
        return {}


class Requests(Mapping[str, dict[str, Any]]):
    """The WSGI environment of each session's request, which python-socketio passes to handlers.

    It is made on each access: most sessions need it once.
    """

    def __init__(self, engine: EngineServer) -> None:
        self._engine = engine

    def __getitem__(self, eio_sid: str) -> dict[str, Any]:
        return self._engine.sockets[eio_sid].request.environ()

    def __iter__(self) -> Iterator[str]:
        return iter(self._engine.sockets)

    def __len__(self) -> int:
        return len(self._engine.sockets)


SESSION_SEPARATOR = "~"
"""Separates the number of a worker from the rest of a session id."""


def session_prefix(worker: int) -> str:
    """The prefix of a worker's session ids, where several processes serve one port."""
    return f"{worker}{SESSION_SEPARATOR}"
