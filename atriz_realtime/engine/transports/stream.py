"""A websocket straight on its asyncio transport, without ASGI and without a task."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterable
from typing import Any, ClassVar

from atriz_realtime.engine.protocol import frames
from atriz_realtime.engine.protocol.frames import Control, FrameError, FrameReader
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.transports.raw_write import descriptor, send
from atriz_realtime.engine.transports.websocket import CLOSE_GRACE, WebSocket

HIGH_WATER = 65_536
LOW_WATER = 16_384
"""Bytes in a connection's write buffer above which packets wait in the outbox, and below which
they leave again."""

UNSENT = 16_384
"""Unsent bytes that the kernel buffers for a slow client (TCP_NOTSENT_LOWAT).  Newer frames can
no longer replace those in there."""

MAX_IGNORED = 65_536
"""Bytes that are read from a client while its websocket closes, to find its closing frame; a
client that sends more is no longer read from."""

_INTERNET = (socket.AF_INET, socket.AF_INET6)

_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
_TCP_NOTSENT_LOWAT = 25 if sys.platform == "linux" else None
"""From ``linux/tcp.h``; Python has no name for it."""


class StreamWebSocket(WebSocket, asyncio.Protocol):
    """A websocket on a connection, from its handshake on, which a subclass answers."""

    __slots__ = ("_closing", "_fd", "_ignored", "_is_open", "_reader", "_response", "_transport")

    ack_timeout: ClassVar[int]
    """Milliseconds after which a connection with unacknowledged data is closed
    (TCP_USER_TIMEOUT)."""
    inherits_options: ClassVar[bool] = False
    """Whether connections have the options of the socket that accepted them."""

    def __init__(self) -> None:
        self._is_open = False
        self._probing = False
        self._reader: FrameReader | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._response = b""
        self._fd = -1
        self._ignored = 0

    def connection_made(self, transport: Any) -> None:
        """Store the transport."""
        self._transport: Any = transport

    def _start(self, response: bytes) -> None:
        """Read frames from now on.

        :param response: the response to the handshake, sent with the first packet.
        """
        transport = self._transport
        transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self._fd = descriptor(transport)
        if not self.inherits_options:
            self._set_options()
        self._response = response
        self._reader = FrameReader(self.sessions.max_payload)
        self._is_open = True

    # -- socket options --------------------------------------------------------------------

    def _set_options(self) -> None:
        connection = self._transport.get_extra_info("socket")
        if connection is None or connection.family not in _INTERNET:
            return
        # uvloop's own object asks the kernel for the socket's type with each option
        options = socket.socket(connection.family, socket.SOCK_STREAM, 0, connection.fileno())
        try:
            self._bound_buffers(options)
        finally:
            options.detach()  # the transport owns the descriptor

    @classmethod
    def _bound_buffers(cls, connection: socket.socket) -> None:
        """Bound what a client that does not read costs in memory and time."""
        with contextlib.suppress(OSError):  # an old kernel, or another one
            if _TCP_USER_TIMEOUT is not None:
                connection.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, cls.ack_timeout)
            if _TCP_NOTSENT_LOWAT is not None:
                connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT)

    @classmethod
    def listen_on(cls, sockets: Iterable[socket.socket]) -> None:
        """Set the options on the listening sockets that all connections come from.

        On Linux a connection inherits them, which saves the calls for each connection.
        """
        for listening in sockets:
            if listening.family in _INTERNET:
                cls._bound_buffers(listening)
        cls.inherits_options = sys.platform == "linux"

    # -- frames ----------------------------------------------------------------------------

    def _read_frames(self, data: bytes) -> None:
        if self._closing is not None:
            self._ignored += len(data)
            if self._ignored > MAX_IGNORED:
                self.pause_reading()  # until the connection is aborted
        if self._reader is None:
            return
        try:
            for received in self._reader.feed(data):
                if isinstance(received, Control):
                    self._control(received)
                elif self._closing is None:
                    self.received(received)
        except FrameError as error:
            self._reader = None  # the start of the next frame is unknown
            self.sessions.report("protocol broken", f"{error}; the websocket was closed")
            self._close_with(frames.encode_close(error.code, str(error)))
            if self._transport.can_write_eof():  # not over TLS
                self._transport.write_eof()  # no answer will be read
            self.disconnected()

    def _control(self, frame: Control) -> None:
        if frame.opcode == frames.PING:
            if self._transport.get_write_buffer_size() < HIGH_WATER:  # the client reads
                self._transport.write(frames.encode(frames.PONG, frame.payload))
        elif frame.opcode == frames.CLOSE:
            if self._closing is None:
                self._transport.write(frames.encode(frames.CLOSE, frame.payload[:2]))
            self._transport.close()
            self.disconnected()

    def write(self, content: list[Packet]) -> None:
        """Send packets in one write."""
        if len(content) == 1:
            data = content[0].frame
        else:
            data = b"".join([packet.frame for packet in content])
        send(self._transport, self._fd, data)

    def write_first(self, packet: Packet) -> None:
        """Send a session's first packet, in one write with the response to the handshake."""
        self._respond(packet.frame)

    def _respond(self, first: bytes = b"") -> None:
        """Send the response to the handshake, if that is still to be sent, and a first frame."""
        data, self._response = self._response + first, b""
        if data:
            send(self._transport, self._fd, data)

    def pause_writing(self) -> None:
        """Hold packets back: the client does not read."""
        if self._is_open and not self._probing:
            self.session.hold()

    def resume_writing(self) -> None:
        """Send packets again."""
        if self._is_open and not self._probing:
            self.session.release()

    def pause_reading(self) -> None:
        """Stop reading from the client."""
        with contextlib.suppress(RuntimeError):  # the transport is closing
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the client again."""
        with contextlib.suppress(RuntimeError):
            self._transport.resume_reading()

    # -- closing ---------------------------------------------------------------------------

    def close(self) -> None:
        """Close; the client has ``CLOSE_GRACE`` to read what was sent and to answer."""
        self._close_with(frames.encode_close(frames.NORMAL))

    def _close_with(self, frame: bytes) -> None:
        if self._closing is None and not self._transport.is_closing():
            self._respond()
            self._transport.write(frame)
            loop = asyncio.get_running_loop()
            self._closing = loop.call_later(CLOSE_GRACE, self._transport.abort)

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def shutdown(self) -> None:
        """Close because the server stops."""
        if self._is_open:
            self._close_with(frames.encode_close(frames.GOING_AWAY))
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """End the session."""
        if self._closing is not None:
            self._closing.cancel()
        if self._is_open:
            self.disconnected()
