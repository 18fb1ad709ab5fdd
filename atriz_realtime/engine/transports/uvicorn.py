"""Websockets that uvicorn hands over, without ASGI and without a task for each.

uvicorn's ``ws=`` takes a protocol class.  This one serves the websockets of one path: it
answers their handshakes, and exchanges frames straight between the socket and the session.
Websockets of other paths go to uvicorn's own implementation, untouched.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import sys
from collections.abc import Awaitable, Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import uvicorn
import websockets  # noqa: F401  # its mask function reads the frames

from atriz_realtime.engine.admission import Admission
from atriz_realtime.engine.protocol import frames
from atriz_realtime.engine.protocol.frames import (
    Control,
    Fragment,
    FrameError,
    FrameReader,
    Received,
)
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.request import errors
from atriz_realtime.engine.request.errors import Refusal
from atriz_realtime.engine.request.handshake import accept_key
from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.transports.connections import (
    bound_buffers,
    bound_buffers_of,
    client_of,
    descriptor,
    request_on,
    scheme_of,
    send,
)
from atriz_realtime.engine.transports.websocket import CLOSE_GRACE, WebSocket

if TYPE_CHECKING:
    from uvicorn.server import ServerState

HIGH_WATER = 65_536
LOW_WATER = 16_384
"""Bytes in a connection's write buffer above which packets wait in the outbox, and below which
they leave again."""

MAX_IGNORED = 65_536
"""Bytes that are read from a client while its websocket closes, to find its closing frame; a
client that sends more is no longer read from."""

SMALL_FRAGMENT = 125
"""Bytes up to which a part of a message counts as a packet that nobody waits for: so small a part
costs more to read than to send."""

_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)

Arguments = tuple[uvicorn.Config, "ServerState", dict[str, Any]]
"""The arguments with which uvicorn makes a protocol."""


class UvicornWebSocket(WebSocket, asyncio.Protocol):
    """Serves one connection; uvicorn makes one for each request that asks for a websocket.

    The class attributes are set by :meth:`.EngineServer.websocket_protocol`, in a subclass.
    """

    __slots__ = (
        "_arguments",
        "_closing",
        "_connections",
        "_fd",
        "_ignored",
        "_is_deferred",
        "_is_open",
        "_other",
        "_reader",
        "_response",
        "_transport",
        "_unread",
    )

    admission: ClassVar[Admission]
    proxies: ClassVar[TrustedProxies | None]
    path: ClassVar[str]
    """The path of the engine's websockets, with a slash at its end."""
    fallback: ClassVar[str]
    """uvicorn's implementation for other paths."""
    ack_timeout: ClassVar[int]
    """Milliseconds after which the kernel closes a connection with unacknowledged data
    (TCP_USER_TIMEOUT)."""
    inherits_options: ClassVar[bool] = False
    """Whether connections have the options of the socket that accepted them."""

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        self._arguments: Arguments | None = (config, server_state, app_state)
        self._connections: Any = server_state.connections
        self._other: asyncio.Protocol | None = None  # uvicorn's, for another path
        self._is_open = False
        self._probing = False
        self._reader: FrameReader | None = None
        self._unread: Iterable[Received] = ()  # what was read, and is left for a later turn
        self._is_deferred = False  # a later turn will handle it
        self._closing: asyncio.TimerHandle | None = None
        self._response = b""
        self._fd = -1
        self._ignored = 0

    # -- asyncio.Protocol ------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Store the transport."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Handle bytes: first the request, which uvicorn writes anew, then frames."""
        if self._is_open:
            self._read_frames(data)
        elif self._other is not None:
            self._other.data_received(data)
        elif self._arguments is not None:
            self._begin_handshake(self._arguments, data)
        else:  # the client did not wait for the response
            self._transport.abort()

    def pause_writing(self) -> None:
        """Hold packets back: the client does not read."""
        if self._other is not None:
            self._other.pause_writing()
        elif self._is_open and not self._probing:
            self.session.hold()

    def resume_writing(self) -> None:
        """Send packets again."""
        if self._other is not None:
            self._other.resume_writing()
        elif self._is_open and not self._probing:
            self.session.release()

    def eof_received(self) -> bool | None:
        """Close when the client has closed its side."""
        return self._other.eof_received() if self._other is not None else None

    def connection_lost(self, exc: Exception | None) -> None:
        """End the session."""
        self._connections.discard(self)
        if self._closing is not None:
            self._closing.cancel()
        if self._other is not None:
            self._other.connection_lost(exc)
        elif self._is_open and self._unread and not self._probing:
            self.session.hold()  # what the client sent before is handled first
        elif self._is_open:
            self._unread = ()
            self.disconnected()

    # -- the handshake ---------------------------------------------------------------------

    def _begin_handshake(self, arguments: Arguments, head: bytes) -> None:
        config, server_state, app_state = arguments
        path = head.split(b" ", 2)[1].partition(b"?")[0].decode("latin-1")
        if path in (self.path, self.path[:-1]):
            client, scheme = client_of(self._transport), scheme_of(self._transport)
            lines = head.removesuffix(b"\r\n")  # without the empty one at the end
            self.accept(request_on(scheme, client, lines, config, self.proxies))
            return
        self._arguments = None
        others = uvicorn.Config(
            config.app,
            ws=self.fallback,
            log_config=None,
            ws_max_size=config.ws_max_size,
            ws_ping_interval=config.ws_ping_interval,
            ws_ping_timeout=config.ws_ping_timeout,
            ws_per_message_deflate=config.ws_per_message_deflate,
        )
        others.load()
        make: Any = others.ws_protocol_class
        if make is None:  # no implementation is installed
            self._refuse(errors.BAD_REQUEST, None)
            return
        other = self._other = make(config=config, server_state=server_state, app_state=app_state)
        other.connection_made(self._transport)
        other.data_received(head)
        # uvicorn makes this object the transport's protocol when this call returns
        asyncio.get_running_loop().call_soon(self._transport.set_protocol, other)

    def accept(self, request: Request) -> None:
        """Answer a handshake for the engine's path when it is its turn."""
        self._arguments = None
        self._connections.add(self)
        starting = self.admission.ready()
        if starting is not None:
            self.sessions.start_task(self._accept_later, starting, request)
        elif not self.admission.enqueue(functools.partial(self._answer, request)):
            self._refuse(errors.UNAVAILABLE, request)

    async def _accept_later(self, starting: Awaitable[None], request: Request) -> None:
        await starting
        if not self._transport.is_closing():
            self.accept(request)

    def _answer(self, request: Request) -> bool:
        """Answer a handshake; returns False when its client has gone."""
        transport = self._transport
        if transport.is_closing():
            return False
        refusal, session = self.admission.check(request, request.query(), self.name)
        key = None if refusal is not None else accept_key(request)
        if key is None:
            self._refuse(refusal or errors.BAD_REQUEST, request)
            return True
        transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self._fd = descriptor(transport)
        if not self.inherits_options:
            bound_buffers_of(transport, self.ack_timeout)
        self._response = _SWITCHING % key
        if session is not None:
            self.upgrade(session)
            return True
        opened = self.open(request)
        if isinstance(opened, bool):
            self._finish(opened, request)
        else:
            self.sessions.start_task(self._finish_later, opened, request)
        return True

    async def _finish_later(self, opening: Awaitable[bool], request: Request) -> None:
        self._finish(await opening, request)

    def _finish(self, opened: bool, request: Request) -> None:
        if self._transport.is_closing():
            self.disconnected()
        elif opened:
            self.opened()
        else:
            self._refuse(errors.BAD_REQUEST, request)

    def respond(self, first: Packet | None = None) -> None:
        """Accept the handshake in one write with the first packet, and read frames from now on."""
        data = self._response if first is None else self._response + first.frame
        self._response = b""
        self._reader = FrameReader(self.sessions.max_payload)
        self._is_open = True
        send(self._transport, self._fd, data)

    def _refuse(self, refusal: Refusal, request: Request | None) -> None:
        self.admission.refused(refusal, request)
        body = refusal.body
        self._transport.write(
            b"HTTP/1.1 %d Refused\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (refusal.status, len(body), body)
        )
        self._transport.close()

    @classmethod
    def listen_on(cls, sockets: Iterable[socket.socket]) -> None:
        """Set the options on the listening sockets that all connections come from.

        On Linux a connection inherits them, which saves the calls for each connection.
        """
        for listening in sockets:
            bound_buffers(listening, cls.ack_timeout)
        cls.inherits_options = sys.platform == "linux"

    # -- frames ----------------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """Whether frames wait to be handled."""
        return bool(self._unread)

    def _read_frames(self, data: bytes) -> None:
        if self._closing is not None:
            self._ignored += len(data)
            if self._ignored > MAX_IGNORED:
                self.pause_reading()  # until the connection is aborted
                return
        if self._reader is not None:
            frames_read = self._reader.feed(data)
            self._unread = chain(self._unread, frames_read) if self._unread else frames_read
            if self.sessions.turns.is_over:
                self._defer()
            else:
                self._handle_unread()

    def _handle_unread(self) -> None:
        """Handle what was read, until this turn is over."""
        turns = self.sessions.turns
        try:
            for received in self._unread:
                if isinstance(received, Control):
                    self._control(received)
                elif isinstance(received, Fragment):
                    if received.size <= SMALL_FRAGMENT:
                        self.sessions.charge(self.session)
                elif self._closing is None:
                    self.received(received)
                is_full = self._closing is None and not self._probing and self.session.is_busy
                if is_full:
                    self.pause_reading()  # until the session asks to read again
                    return
                if turns.is_over:
                    self._defer()
                    return
        except FrameError as error:
            self._reader = None  # the start of the next frame is unknown
            self.sessions.report("protocol broken", f"{error}; the websocket was closed")
            self._close_with(frames.encode_close(error.code))
            if self._transport.can_write_eof() and not self._transport.is_closing():  # not over TLS
                self._transport.write_eof()  # no answer will be read
            self.disconnected()
        self._unread = ()
        if self._transport.is_closing():
            self.disconnected()

    def _defer(self) -> None:
        """Handle what was read in a later turn; until nothing of it is left, reading pauses."""
        self.pause_reading()
        if not self._is_deferred:
            self._is_deferred = True
            self.sessions.turns.defer(self._handle_later)

    def _handle_later(self) -> None:
        self._is_deferred = False
        self._handle_unread()
        if not self._unread:
            self.resume_reading()

    def _control(self, frame: Control) -> None:
        if frame.opcode != frames.CLOSE:
            self.sessions.charge(self.session)
        if frame.opcode == frames.PING:
            is_read = self._transport.get_write_buffer_size() < HIGH_WATER
            if is_read and self._closing is None:
                send(self._transport, self._fd, frames.encode(frames.PONG, frame.payload))
        elif frame.opcode == frames.CLOSE:
            if self._closing is None:
                send(self._transport, self._fd, frames.encode(frames.CLOSE, frame.payload[:2]))
            self._transport.close()
            self.disconnected()

    def write(self, content: list[Packet]) -> None:
        """Send packets in one write."""
        if len(content) == 1:
            data = content[0].frame
        else:
            data = b"".join([packet.frame for packet in content])
        send(self._transport, self._fd, data)

    def pause_reading(self) -> None:
        """Stop reading from the client."""
        with contextlib.suppress(RuntimeError):  # the transport is closing
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Handle what is left of the last read in a later turn, then read from the client again."""
        if self._unread:
            self._defer()
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    # -- closing ---------------------------------------------------------------------------

    def close(self) -> None:
        """Close; the client has ``CLOSE_GRACE`` to read what was sent and to answer."""
        self._close_with(frames.encode_close(frames.NORMAL))

    def _close_with(self, frame: bytes) -> None:
        if self._closing is None and not self._transport.is_closing():
            self._transport.write(frame)
            loop = asyncio.get_running_loop()
            self._closing = loop.call_later(CLOSE_GRACE, self._transport.abort)
            self.resume_reading()  # the client's closing frame may be unread

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def shutdown(self) -> None:
        """Close because the server stops."""
        if self._is_open:
            self._close_with(frames.encode_close(frames.GOING_AWAY))
        else:
            self._transport.close()
