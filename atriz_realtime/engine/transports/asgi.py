"""Websockets over ASGI, which work on any server but cost more than uvicorn's own path."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from atriz_realtime.engine.admission import Admission
from atriz_realtime.engine.protocol import frames
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.request import errors
from atriz_realtime.engine.request.errors import Refusal
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.session import Session
from atriz_realtime.engine.sessions import Sessions
from atriz_realtime.engine.transports.websocket import CLOSE_GRACE, WebSocket

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class AsgiWebSocket(WebSocket):
    """A websocket of an ASGI server.

    A task writes while there is something to write; packets that come meanwhile wait in the
    session's outbox.  It need not pause reading: :meth:`serve` waits for the session.

    :param send: ASGI's.
    :param serving: the task that serves the websocket, cancelled to close it at once.
    """

    __slots__ = (
        "_closing",
        "_is_accepted",
        "_is_waiting",
        "_outgoing",
        "_send",
        "_serving",
        "_writing",
        "sessions",
    )

    def __init__(self, sessions: Sessions, send: Send, serving: asyncio.Task[Any]) -> None:
        self.sessions = sessions
        self._send = send
        self._serving = serving
        self._is_waiting = False  # receives nothing before it has time for it
        self._outgoing: deque[Packet] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._closing: int | None = None
        self._is_accepted = False

    def respond(self, first: Packet | None = None) -> None:
        """Accept the handshake, and send the first packet."""
        if first is not None:
            self.write([first])
        self._start_writing()

    @property
    def is_behind(self) -> bool:
        """Whether messages may wait that the server has not received."""
        return self._is_waiting

    def write(self, content: list[Packet]) -> None:
        """Send packets."""
        self._outgoing.extend(content)
        if not self._probing:
            self.session.hold()
        self._start_writing()

    def close(self) -> None:
        """Close after everything written is sent."""
        self.close_with(frames.NORMAL)

    def close_with(self, code: int) -> None:
        """Close with a websocket close code."""
        if self._closing is None:
            self._closing = code
            self._start_writing()
            asyncio.get_running_loop().call_later(CLOSE_GRACE, self.abort)

    def abort(self) -> None:
        """Close at once."""
        if self._writing is not None:
            self._writing.cancel()
        self._serving.cancel()

    def _start_writing(self) -> None:
        if self._writing is None:
            self._writing = self.sessions.start_task(self._write)

    async def _write(self) -> None:
        try:
            if not self._is_accepted:
                self._is_accepted = True
                await self._send({"type": "websocket.accept"})
            while self._outgoing:
                packet = self._outgoing.popleft()
                if packet.binary:
                    await self._send({"type": "websocket.send", "bytes": packet.content})
                else:
                    await self._send({"type": "websocket.send", "text": packet.text})
            if self._closing is not None:
                await self._send({"type": "websocket.close", "code": self._closing})
        except Exception:  # each server raises its own error for a client that is gone
            self._outgoing.clear()
            self.close()  # what the client sent before it went is still to be received
        finally:
            self._writing = None
        if not self._probing and self._closing is None:
            self.session.release()

    async def serve(self, receive: Receive) -> None:
        """Handle messages until either side closes the websocket."""
        turns = self.sessions.turns
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            data = message.get("text")
            data = message.get("bytes") if data is None else data
            size = len(data.encode()) if isinstance(data, str) and not data.isascii() else len(data)
            if size > self.sessions.max_payload:
                if self._closing is None:
                    self.sessions.report("protocol broken", "the message is too big")
                self.close_with(frames.TOO_BIG)
                self.disconnected()
                continue
            self.received(data)
            if self._probing and self._writing is not None:
                await asyncio.wait((self._writing,))  # the answer to a probe goes first
            elif (is_busy := self.session.is_busy) or turns.is_over:  # receive() need not wait
                self._is_waiting = True
                await (self.session.until_idle() if is_busy else turns.next())
                self._is_waiting = False


class _Incoming:
    """What a client sends.

    The first message is awaited from the beginning: before the handshake is answered, it hardly
    ever is anything else than that the client has gone.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._first: asyncio.Future[Any] | None = asyncio.ensure_future(receive())

    def has_left(self) -> bool:
        """Whether the client is known to have gone, before anything was received."""
        first = self._first
        if first is None or not first.done() or first.cancelled() or first.exception() is not None:
            return False
        return bool(first.result()["type"] == "websocket.disconnect")

    async def receive(self) -> Any:
        """Receive the next message."""
        if self._first is None:
            return await self._receive()
        first, self._first = self._first, None
        return await first

    def close(self) -> None:
        """Receive nothing more."""
        if self._first is not None:
            self._first.cancel()


async def serve(
    sessions: Sessions, admission: Admission, request: Request, receive: Receive, send: Send
) -> None:
    """Serve a websocket from its handshake to its end."""
    await receive()
    refusal, session = admission.check(request, request.query(), WebSocket.name)
    incoming = _Incoming(receive)
    try:
        if refusal is None and not await admission.turn(incoming.has_left):
            refusal = errors.UNAVAILABLE
        if refusal is not None:
            admission.refused(refusal, request)
            await _refuse(refusal, send)
        elif not incoming.has_left():
            await _serve_admitted(sessions, admission, request, session, incoming, send)
    finally:
        incoming.close()


async def _serve_admitted(
    sessions: Sessions,
    admission: Admission,
    request: Request,
    session: Session | None,
    incoming: _Incoming,
    send: Send,
) -> None:
    """Open or upgrade a session, and serve it to its end."""
    serving = asyncio.current_task()
    assert serving is not None  # noqa: S101  # a coroutine runs in a task
    websocket = AsgiWebSocket(sessions, send, serving)
    try:
        if session is not None:
            websocket.upgrade(session)
        else:
            opened = websocket.open(request)
            if not (opened if isinstance(opened, bool) else await opened):
                admission.refused(errors.BAD_REQUEST, request)
                await _refuse(errors.BAD_REQUEST, send)
                return
            websocket.opened()
        with contextlib.suppress(asyncio.CancelledError):
            await websocket.serve(incoming.receive)
    finally:
        websocket.disconnected()


async def _refuse(refusal: Refusal, send: Send) -> None:
    """Refuse a handshake with a response; a server without that extension answers 403."""
    with contextlib.suppress(Exception):  # each server raises its own error
        await send(
            {
                "type": "websocket.http.response.start",
                "status": refusal.status,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "websocket.http.response.body", "body": refusal.body})
        return
    await send({"type": "websocket.close", "code": frames.POLICY_VIOLATION})
