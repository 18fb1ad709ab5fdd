"""Our engine as python-socketio has it in place of python-engineio's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.engine import EngineServer
from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.engine.session import Session
from atriz_realtime.plugin_system.config import RealtimeConfig

Handler = Callable[..., Any]
"""Takes what python-engineio hands to a handler of the event."""


class Engine(EngineServer):
    """The engine as python-socketio has it.

    :param opened: called with the id of each new session.
    :param heard: takes a session's message; returns what is left to be awaited.
    """

    def __init__(
        self,
        opened: Callable[[str], None],
        heard: Callable[[Session, str | bytes], Awaitable[None] | None],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._opened = opened
        self._heard = heard
        self._ordinary: Handler | None = None

    def on(self, event: str, handler: Handler | None = None) -> Handler:
        """Handle an event; the first ``connect`` handler is python-socketio's own."""
        if event == "connect" and self._ordinary is None:
            self._ordinary = handler
        return super().on(event, handler)

    def ask(self, session: Session) -> Any:
        """Let every session in: it has to connect to a namespace before it may do anything.

        python-socketio's own handler would only keep the request, which :class:`Requests`
        has; the admin UI's replaces it.
        """
        self._opened(session.sid)
        replaced = self._handlers.get("connect") != self._ordinary
        return super().ask(session) if replaced else None

    def hear(self, session: Session, data: str | bytes) -> Awaitable[None] | None:
        """Take a message past python-socketio's own handler, which needs a task for each."""
        return self._heard(session, data)

    # what python-socketio's admin UI looks at besides

    def _get_socket(self, sid: str) -> Session:
        return self.sockets[sid]

    def _ok(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Nothing: responses are not made here."""
        return {}


class Requests(Mapping[str, dict[str, Any]]):
    """The request of each session, as python-socketio hands it to ``connect`` handlers.

    It is made when it is asked for, which is once for most sessions.
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
    """How the session ids of a worker begin, where several processes serve one port."""
    return f"{worker}{SESSION_SEPARATOR}"


def make_engine(
    config: RealtimeConfig,
    opened: Callable[[str], None],
    heard: Callable[[Session, str | bytes], Awaitable[None] | None],
    incidents: Incidents,
    session_prefix: str,
) -> Engine:
    """The engine with our settings; ``opened`` and ``heard`` are :class:`Engine`'s."""
    engine = Engine(
        opened,
        heard,
        ping_interval=config.ping_interval / 1000,
        ping_timeout=config.ping_timeout / 1000,
        max_payload=config.max_payload,
        cors_allowed_origins=engine_origins(config.cors_origin),
        max_frames=config.max_pending_frames,
        max_lag=config.max_lag,
        flush_interval=config.flush_interval / 1000,
        max_packets=config.max_packets,
    )
    engine.session_prefix = session_prefix
    engine.report = incidents.report
    engine.proxies = TrustedProxies(config.trusted_proxies) if config.trusted_proxies else None
    return engine


def engine_origins(origins: tuple[str, ...]) -> str | list[str] | None:
    """The configured origins as the engine takes them; ``None``: the server's own."""
    if not origins:
        return None
    return "*" if "*" in origins else list(origins)
