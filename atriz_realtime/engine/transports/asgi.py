"""Websockets over ASGI, on any server: the same work as the lane's, in its own slower way."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from atriz_realtime.engine.protocol import frames
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.request import errors
from atriz_realtime.engine.request.errors import Refusal
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.transports.websocket import CLOSE_GRACE, Websocket

if TYPE_CHECKING:
    from atriz_realtime.engine.server import EngineServer

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class PortableWebsocket(Websocket):
    """A websocket that the ASGI server keeps.

    A task writes while there is something to write; what comes meanwhile waits in the
    session's outbox.
    """

    __slots__ = ("_closing", "_outgoing", "_send", "_serving", "_writing")

    def __init__(self, engine: EngineServer, send: Send, serving: asyncio.Task[Any]) -> None:
        self.engine = engine
        self._send = send
        self._serving = serving
        self._outgoing: deque[Packet] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._closing: int | None = None

    def write(self, content: list[Packet]) -> None:
        """Send packets."""
        self._outgoing.extend(content)
        if not self._probing:
            self.session.hold()
        self._start_writing()

    def welcome(self, packet: Packet) -> None:
        """Send a session's first packet."""
        self.write([packet])

    def pause_reading(self) -> None:
        """Nothing: the reader asks the session before it reads on."""

    def resume_reading(self) -> None:
        """Nothing, likewise."""

    def close(self) -> None:
        """Close when everything is sent."""
        self.close_with(frames.NORMAL)

    def close_with(self, code: int) -> None:
        """Close with a code that says why."""
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
            self._writing = self.engine.start_background_task(self._write)

    async def _write(self) -> None:
        try:
            while self._outgoing:
                packet = self._outgoing.popleft()
                if packet.binary:
                    await self._send({"type": "websocket.send", "bytes": packet.content})
                else:
                    await self._send({"type": "websocket.send", "text": packet.text})
            if self._closing is not None:
                await self._send({"type": "websocket.close", "code": self._closing})
        except Exception:  # each server has its own error for a client that is gone
            self._serving.cancel()
        finally:
            self._writing = None
        if not self._probing and self._closing is None:
            self.session.release()

    async def serve(self, receive: Receive) -> None:
        """Take messages until the client or the server ends it."""
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            data = message.get("text")
            data = message.get("bytes") if data is None else data
            size = len(data.encode()) if isinstance(data, str) and not data.isascii() else len(data)
            if size > self.engine.max_payload:
                if self._closing is None:
                    self.engine.report("protocol broken", "the message is too big")
                self.close_with(frames.TOO_BIG)
                self.gone()
                continue
            self.received(data)
            if self._probing and self._writing is not None:
                await asyncio.wait((self._writing,))  # the answer to a probe goes before the rest
            elif self.session.is_busy:
                await self.session.until_idle()


async def serve(engine: EngineServer, request: Request, receive: Receive, send: Send) -> None:
    """Serve a websocket from its handshake to its end."""
    await receive()
    refusal, session = engine.find(request, Websocket.name)
    if refusal is not None:
        errors.count(refusal, engine)
        await _refuse(refusal, send)
        return
    if not await engine.admitted():
        await _refuse(errors.UNAVAILABLE, send)
        return
    await send({"type": "websocket.accept"})
    serving = asyncio.current_task()
    assert serving is not None  # noqa: S101  # a coroutine runs in a task
    socket = PortableWebsocket(engine, send, serving)
    socket.begin(request, session)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await socket.serve(receive)
    finally:
        socket.gone()


async def _refuse(refusal: Refusal, send: Send) -> None:
    """Refuse a handshake with its reason; a server that cannot pass that on answers 403."""
    with contextlib.suppress(Exception):  # whatever it has against the extension
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
