"""An Engine.IO v4 server, usable alone or below python-socketio's server.

It speaks https://socket.io/docs/v4/engine-io-protocol/.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from atriz_realtime.engine.admission import Admission
from atriz_realtime.engine.outbox import OutboxLimits
from atriz_realtime.engine.protocol import packets
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.request.errors import Report
from atriz_realtime.engine.request.exchange import AsgiExchange
from atriz_realtime.engine.request.origins import Origins
from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.session import Reason, Session
from atriz_realtime.engine.sessions import Sessions
from atriz_realtime.engine.transports import asgi
from atriz_realtime.engine.transports.polling import PollingRequests

if TYPE_CHECKING:
    from atriz_realtime.engine.transports.uvicorn import UvicornWebSocket

logger = logging.getLogger("atriz_realtime.engine")

MIN_ACK_TIMEOUT = 150.0
"""Seconds after which the kernel closes a connection whose client takes nothing, at least: longer
than any of the server's own limits waits, which count whom they disconnect."""

MAX_ACK_TIMEOUT = 86_400.0
"""Seconds after which the kernel closes such a connection at most, however long `max_lag` and the
pings are."""

Handler = Callable[..., Any]


def _ignore(*_: Any) -> Any:
    """Stand in for a handler that the application has not set."""


def _log(kind: str, message: str) -> None:
    logger.warning("%s: %s", kind, message)


class EngineServer:
    """An Engine.IO server, with the methods that python-socketio calls on python-engineio's.

    :param ping_interval: seconds between two pings of a session.
    :param ping_timeout: seconds that a pong may take.
    :param max_payload: bytes that one message, or one polling request, may have.
    :param max_packets: packets that one polling request may have.
    :param cors_allowed_origins: ``None`` for the server's own origin, ``*`` for every origin, or
        a list.
    :param max_frames: location frames that wait for a client before conflation begins.
    :param max_lag: seconds of conflation after which a client is cut; 0: no limit.
    :param flush_interval: seconds between two writes to the clients at least.
    :param session_prefix: the beginning of each session id, which tells the sessions of several
        processes apart.
    :param proxies: the trusted proxies; ``None`` for those that uvicorn trusts.
    :param report: told what clients do wrong; default: a warning in the log.
    :param unasked: called with an open session for each packet that nobody waits for: a pong
        without a ping, a websocket's ping or pong frame, a small fragment.
    :param ready: called before each handshake; returns an awaitable to wait for, or ``None``.
    :param received: handles the messages of a session instead of the ``message`` handler; returns
        an awaitable if it has not finished.
    """

    reason: ClassVar[type[Reason]] = Reason
    async_mode: ClassVar[str] = "asgi"
    sleep = staticmethod(asyncio.sleep)
    create_event = asyncio.Event

    def __init__(
        self,
        *,
        ping_interval: float = 25.0,
        ping_timeout: float = 20.0,
        max_payload: int = 1_000_000,
        max_packets: int = 1_000,
        cors_allowed_origins: str | Sequence[str] | None = None,
        max_frames: int = 256,
        max_lag: float = 60.0,
        flush_interval: float = 0.0,
        session_prefix: str = "",
        proxies: TrustedProxies | None = None,
        report: Report = _log,
        unasked: Callable[[Session], object] = _ignore,
        ready: Callable[[], Awaitable[None] | None] = lambda: None,
        received: Callable[[Session, str | bytes], Awaitable[Any] | None] | None = None,
    ) -> None:
        self.proxies = proxies
        self.handlers = dict.fromkeys(("connect", "message", "disconnect"), _ignore)
        self._limits = OutboxLimits(max_frames, max_lag)
        self.sessions = Sessions(
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            max_payload=max_payload,
            limits=self._limits,
            flush_interval=flush_interval,
            id_prefix=session_prefix,
            report=report,
            unasked=unasked,
            connect=self.call_connect,
            message=received or self.call_message,
            disconnect=self.call_disconnect,
        )
        self.sockets = self.sessions.by_id
        self.generate_id = self.sessions.generate_id
        self.start_background_task = self.sessions.start_task
        self.shutdown = self.sessions.shutdown
        origins = Origins(cors_allowed_origins)
        self.allow_page = origins.allow_page
        self._admission = Admission(self.sessions, origins, ready)
        self.polling = PollingRequests(self.sessions, self._admission, origins, max_packets)

    @property
    def conflated(self) -> int:
        """Frames that newer ones replaced before they were written."""
        return self._limits.conflated

    # -- requests --------------------------------------------------------------------------

    async def handle_request(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve an HTTP request or a websocket over ASGI."""
        request = Request.of_scope(scope)
        if scope["type"] == "websocket":
            await asgi.serve(self.sessions, self._admission, request, receive, send)
            return
        exchange = AsgiExchange(request, receive)
        self.polling.answer(exchange)
        await exchange.finish(send)

    def websocket_protocol(
        self, path: str = "/engine.io/", *, other: str = "auto"
    ) -> type[UvicornWebSocket]:
        """The class to pass to uvicorn as ``ws=``, which serves websockets without ASGI.

        :param path: the path of the engine's websockets.
        :param other: uvicorn's implementation for the websockets of other paths.
        """
        from atriz_realtime.engine.transports.uvicorn import (  # noqa: PLC0415  # may be missing
            UvicornWebSocket,
        )

        served, served_path = self.sessions, path if path.endswith("/") else f"{path}/"

        class BoundUvicornWebSocket(UvicornWebSocket):
            __slots__ = ()

            sessions = served
            admission = self._admission
            proxies = self.proxies
            path = served_path
            fallback = other
            ack_timeout = self._ack_timeout()

        return BoundUvicornWebSocket

    def _ack_timeout(self) -> int:
        """When the kernel gives a client up, in milliseconds: after the server has, and counted it.

        The connections of HTTP requests have the same timeout.
        """
        own = self.sessions.ping_interval + self.sessions.ping_timeout, self._limits.max_lag
        return int(min(max(MIN_ACK_TIMEOUT, *(2 * each for each in own)), MAX_ACK_TIMEOUT) * 1000)

    # -- the application's handlers --------------------------------------------------------

    def on(self, event: str, handler: Handler) -> None:
        """Handle ``connect(sid, environ)``, ``message(sid, data)`` or ``disconnect(sid, reason)``.

        A handler is a function or a coroutine function. A ``connect`` handler that returns
        ``False`` or raises refuses the session with status 400; what it sends follows the OPEN
        packet.

        :raises ValueError: for another event.
        """
        if event not in self.handlers:
            raise ValueError(f"no such event: {event}")
        self.handlers[event] = handler

    def call_connect(self, session: Session) -> Any:
        """Call the ``connect`` handler; ``False`` refuses the session."""
        return self.handlers["connect"](session.sid, session.request.environ())

    def call_message(self, session: Session, data: str | bytes) -> Awaitable[Any] | None:
        """Call the ``message`` handler; returns an awaitable if it has not finished."""
        answer = self.handlers["message"](session.sid, data)
        return answer if inspect.isawaitable(answer) else None

    def call_disconnect(self, session: Session, reason: str) -> Any:
        """Call the ``disconnect`` handler; returns an awaitable if it has not finished."""
        return self.handlers["disconnect"](session.sid, reason)

    # -- what the application calls --------------------------------------------------------

    async def send(self, sid: str, data: str | bytes) -> None:
        """Send a message; does nothing when the session is gone."""
        session = self.sockets.get(sid)
        if session is not None:
            session.put(packets.message(data))

    async def send_packet(self, sid: str, pkt: Any) -> None:
        """Send one of python-engineio's packets; does nothing when the session is gone."""
        session = self.sockets.get(sid)
        if session is not None:
            encoded = pkt.encode()
            content = encoded if isinstance(encoded, bytes) else encoded.encode()
            session.put(Packet(content, binary=isinstance(encoded, bytes)))

    async def disconnect(self, sid: str) -> None:
        """Close a session after everything that was sent to it."""
        if sid in self.sockets:
            self.sessions.end(self.sockets[sid], Reason.SERVER_DISCONNECT)

    async def abort(self, sid: str) -> None:
        """Close a session at once, without sending what waits for its client."""
        if sid in self.sockets:
            self.sessions.cut(self.sockets[sid], Reason.SERVER_DISCONNECT)

    async def get_session(self, sid: str) -> dict[str, Any]:
        """The dictionary that the application stores with a session.

        :raises KeyError: when there is no such session.
        """
        session = self.sockets[sid]
        if session.user_session is None:
            session.user_session = {}
        return session.user_session

    def transport(self, sid: str) -> str:
        """``polling`` or ``websocket``.

        :raises KeyError: when there is no such session.
        """
        return self.sockets[sid].transport.name
