"""An Engine.IO v4 server, usable alone or below python-socketio's server.

https://socket.io/docs/v4/engine-io-protocol/ is what it speaks.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from atriz_realtime.engine.admission import Admission
from atriz_realtime.engine.flusher import Flusher
from atriz_realtime.engine.heartbeat import Heartbeat
from atriz_realtime.engine.interface import Interface
from atriz_realtime.engine.outbox import Outbox
from atriz_realtime.engine.protocol import packets
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.reasons import CLIENTS_OWN, Reason
from atriz_realtime.engine.request import errors
from atriz_realtime.engine.request.errors import Refusal
from atriz_realtime.engine.request.exchange import Exchange
from atriz_realtime.engine.request.origins import Origins
from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.session import Session, State, Transport
from atriz_realtime.engine.transports import asgi, polling

logger = logging.getLogger("atriz_realtime.engine")

PROTOCOL_VERSION = "4"

TRANSPORTS = ("polling", "websocket")

LINGER_SECONDS = 5.0
"""Seconds that what waits for a client that polls outlives its session."""


class EngineServer(Interface):
    """The sessions, and what may be done with them.

    :param ping_interval: seconds between two pings of a session.
    :param ping_timeout: seconds that its pong may take.
    :param max_payload: bytes that one message, or one polling request, may have.
    :param cors_allowed_origins: ``None``: pages of the server's own; ``*``: all; else a list.
    :param max_frames: location frames that wait for a client before conflation begins.
    :param max_lag: seconds a client may lag before it is cut; 0: forever.
    :param flush_interval: seconds between two writes to the clients at least.
    :param max_packets: packets that one polling request may bring.
    """

    def __init__(
        self,
        *,
        ping_interval: float = 25.0,
        ping_timeout: float = 20.0,
        max_payload: int = 1_000_000,
        cors_allowed_origins: str | Sequence[str] | None = None,
        max_frames: int = 256,
        max_lag: float = 60.0,
        flush_interval: float = 0.0,
        max_packets: int = 1_000,
    ) -> None:
        super().__init__()
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.max_payload = max_payload
        self.max_packets = max_packets
        self.origins = Origins(cors_allowed_origins)
        self.past_conflated = 0
        """Frames that newer ones replaced, of clients that have caught up or gone."""
        self.report: Callable[[str, str], None] = _log
        """Told of what a client did wrong: a kind, and one line without secrets."""
        self.proxies: TrustedProxies | None = None
        """Whose word on the client's address is taken; ``None``: of those that uvicorn trusts."""
        self.starting: Callable[[], Awaitable[None]] | None = None
        """Awaited before the first session, when set."""
        self.admission = Admission()
        self.flusher = Flusher(flush_interval)
        self.heartbeat = Heartbeat(ping_interval, ping_timeout, self._expired)
        self._terms = (
            f'"pingInterval":{int(ping_interval * 1000)},"pingTimeout":{int(ping_timeout * 1000)},'
            f'"maxPayload":{max_payload}'
        )
        self._max_frames = max_frames
        self._max_lag = max_lag
        self._lingering: dict[str, Session] = {}
        self._closing = False

    async def shutdown(self) -> None:
        """Take no more sessions, close those that are open, and wait until all are handled."""
        self._closing = True
        await self.disconnect()
        self.heartbeat.close()
        for session in list(self._lingering.values()):
            self.forget(session)
        while pending := [task for task in self._tasks if task is not asyncio.current_task()]:
            await asyncio.wait(pending)

    # -- requests --------------------------------------------------------------------------

    async def handle_request(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request, of HTTP or a websocket, over ASGI."""
        request = Request.of_scope(scope)
        if scope["type"] == "websocket":
            await asgi.serve(self, request, receive, send)
            return
        exchange = Exchange(self, request, receive, send)
        refusal, session = self.find(request, "polling")
        if refusal is not None:
            await exchange.refuse(refusal)
        elif request.method == "OPTIONS":
            headers = self.origins.preflight(request)
            await exchange.respond(200, b"text/plain; charset=UTF-8", b"", headers)
        elif session is None:
            await polling.begin(exchange)
        elif request.method == "GET":
            await polling.poll(session, exchange)
        elif request.method == "POST":
            await polling.post(session, exchange)
        else:
            await exchange.refuse(errors.BAD_REQUEST)

    def find(self, request: Request, transport: str) -> tuple[Refusal | None, Session | None]:
        """What a request is for: a session, or with ``None`` a new one; or why it is refused.

        :param transport: what the request is made with.
        """
        if not self.origins.allow(request):
            self.report("origin refused", "a web page that is not on the list")
            return errors.FORBIDDEN, None
        method = request.method
        if method == "OPTIONS":
            return None, None
        query = request.query()
        if query.get("EIO") != PROTOCOL_VERSION:
            return errors.BAD_VERSION, None
        named = query.get("transport")
        if named not in TRANSPORTS:
            return errors.UNKNOWN_TRANSPORT, None
        sid = query.get("sid")
        if sid is None:
            if method != "GET":
                return errors.BAD_METHOD, None
            if self._closing:
                return errors.UNAVAILABLE, None
            return (None if named == transport else errors.BAD_REQUEST), None
        session = self._lingering.get(sid) or self.sockets.get(sid)
        if session is not None:
            self.heartbeat.check(session)
        if session is None or not (session.is_open or sid in self._lingering):
            return errors.UNKNOWN_SESSION, None
        if named != transport:
            return errors.BAD_REQUEST, None
        return None, session

    async def admitted(self) -> bool:
        """Wait for a new session's turn; whether it comes at all."""
        if self.starting is not None:
            await self.starting()
        turn = asyncio.Event()
        if not self.admission.ask(turn.set):
            self.report("admission refused", "too many clients connect at once")
            return False
        await turn.wait()
        return True

    # -- sessions --------------------------------------------------------------------------

    def open_packet(self, session: Session, *, upgrades: str = "") -> Packet:
        """The first packet of a session.

        :param upgrades: the transports that it may go over to, as they stand in JSON.
        """
        return Packet(
            f'{packets.OPEN}{{"sid":"{session.sid}","upgrades":[{upgrades}],{self._terms}}}'.encode()
        )

    def let_in(self, session: Session) -> bool | Awaitable[bool]:
        """Ask the application about a session, and open it unless that refuses.

        The answer is there at once unless a coroutine has to be awaited for it.
        """
        self.sockets[session.sid] = session
        try:
            answer = self.ask(session)
        except Exception as error:
            return self._admit(session, self._refused(error))
        if answer is not None and inspect.isawaitable(answer):
            return self._let_in_later(session, answer)
        return self._admit(session, answer)

    def ask(self, session: Session) -> Any:
        """What the ``connect`` handler says of a session; ``False`` refuses it."""
        handler = self._handlers.get("connect")
        return None if handler is None else handler(session.sid, session.request.environ())

    async def _let_in_later(self, session: Session, asking: Awaitable[Any]) -> bool:
        try:
            answer = await asking
        except Exception as error:
            answer = self._refused(error)
        return self._admit(session, answer)

    def _refused(self, error: Exception) -> bool:
        self.report("connect handler failed", f"{type(error).__name__}: {error}")
        return False

    def _admit(self, session: Session, answer: Any) -> bool:
        if answer is False or session.state is State.CLOSED:
            session.state = State.CLOSED
            self.sockets.pop(session.sid, None)
            return False
        session.opened()
        self.heartbeat.start(session)
        return True

    def dispatch(self, session: Session, data: str | bytes) -> Awaitable[Any] | None:
        """Hand a message to the application; returns what is still to be awaited.

        A message that the application cannot take ends the session.
        """
        try:
            return self.hear(session, data)
        except Exception as error:
            self.broken(session, error)
            return None

    def hear(self, session: Session, data: str | bytes) -> Awaitable[Any] | None:
        """Call the ``message`` handler; returns what is still to be awaited of it."""
        handler = self._handlers.get("message")
        answer = None if handler is None else handler(session.sid, data)
        return answer if inspect.isawaitable(answer) else None

    async def finish(self, session: Session, handling: Awaitable[Any]) -> None:
        """Await the handling of a message."""
        try:
            await handling
        except Exception as error:
            self.broken(session, error)

    def broken(self, session: Session, error: Exception) -> None:
        """End a session whose client does not keep to the protocol; nothing waits for it."""
        self.report("protocol broken", f"{type(error).__name__}: {error}; the session was closed")
        self.end(session, Reason.TRANSPORT_ERROR, farewell=None)

    def take_over(self, session: Session, transport: Transport) -> None:
        """Let a websocket take the place of polling; what waits leaves through it."""
        previous, session.transport = session.transport, transport
        session.upgrading = None
        if isinstance(previous, polling.Polling):
            previous.leave()
        session.release()

    def end(
        self, session: Session, reason: str, *, farewell: Packet | None = packets.CLOSE_PACKET
    ) -> None:
        """Close a session in order: what was sent to it goes out before.

        :param farewell: the last packet; with ``None`` nothing waits for a client that polls.
        """
        if not self._ended(session, reason):
            return
        if session.transport.name == "websocket":
            session.release()
        elif farewell is not None:
            self._lingering[session.sid] = session
            self.loop.call_later(LINGER_SECONDS, self.forget, session)
        if farewell is not None:
            session.put(farewell)
        session.flush()
        session.transport.close()
        if session.sid not in self._lingering:
            session.discard()

    def cut(self, session: Session, reason: str) -> None:
        """Close a session at once."""
        if self._ended(session, reason):
            session.transport.abort()
            session.discard()

    def lost(self, session: Session, reason: str = Reason.TRANSPORT_CLOSE) -> None:
        """Take note that a session's connection is gone."""
        if self._ended(session, reason):
            session.discard()

    def forget(self, session: Session) -> None:
        """Keep nothing more for a closed session."""
        self._lingering.pop(session.sid, None)
        session.discard()

    def _ended(self, session: Session, reason: str) -> bool:
        """Take a session out; whether it was not out already."""
        if session.state is State.CLOSED:
            return False
        session.state = State.CLOSED
        self.heartbeat.stop(session)
        if session.outbox is not None:
            self.past_conflated += session.outbox.conflated
        if session.upgrading is not None:
            session.upgrading.close()
        if reason not in CLIENTS_OWN:
            session.clear_inbox()
        self.start_background_task(self._disconnected, session, reason)
        return True

    async def _disconnected(self, session: Session, reason: str) -> None:
        """Tell the application, for which the session is there until it has taken note."""
        await session.handled()
        sid, handler = session.sid, self._handlers.get("disconnect")
        try:
            answer = None if handler is None else handler(sid, reason)
            if inspect.isawaitable(answer):
                await answer
        except Exception as error:
            self.report("disconnect handler failed", f"{type(error).__name__}: {error}")
        finally:
            self.sockets.pop(sid, None)

    def _expired(self, session: Session) -> None:
        """End a session that does not answer pings."""
        self.end(session, Reason.PING_TIMEOUT, farewell=None)

    @property
    def conflated(self) -> int:
        """Frames that newer ones replaced before they were written."""
        return self.past_conflated + sum(
            session.outbox.conflated
            for session in self.sockets.values()
            if session.outbox is not None and session.state is not State.CLOSED
        )

    def new_outbox(self, session: Session) -> Outbox:
        """What keeps a session's packets while its transport takes none."""

        def overflow(reason: str) -> None:
            self.report("slow client cut", reason)
            self.cut(session, Reason.TRANSPORT_ERROR)

        return Outbox(max_frames=self._max_frames, max_lag=self._max_lag, overflow=overflow)


def _log(kind: str, message: str) -> None:
    """Report what nobody else wants to know of."""
    logger.warning("%s: %s", kind, message)
