"""The websocket lane: a protocol that uvicorn hands connections to, without ASGI between.

uvicorn's ``ws=`` takes a protocol class.  Ours serves the websockets of one path: its
handshake, its frames and the packets in them, straight between the socket and the session,
with no task for a connection.  Websockets of other paths go to uvicorn's own
implementation, untouched.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import functools
import hashlib
import socket
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import uvicorn

from atriz_realtime.engine.protocol import frames
from atriz_realtime.engine.protocol.frames import Control, FrameError, FrameReader
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.request import errors
from atriz_realtime.engine.request.errors import Refusal
from atriz_realtime.engine.request.proxies import FORWARDED_HOST, TrustedProxies, look_through
from atriz_realtime.engine.request.request import Address, Request
from atriz_realtime.engine.transports.raw_write import descriptor, send
from atriz_realtime.engine.transports.websocket import CLOSE_GRACE, Websocket

if TYPE_CHECKING:
    from uvicorn.server import ServerState

    from atriz_realtime.engine.server import EngineServer

HIGH_WATER = 65_536
LOW_WATER = 16_384
"""Bytes that may wait in a connection's write buffer before its packets wait in the outbox,
and until they no longer do."""

UNSENT = 16_384
"""Bytes that the kernel keeps for a client that does not take them (TCP_NOTSENT_LOWAT): what
is in there can no longer be replaced by something newer."""

MAX_IGNORED = 65_536
"""Bytes that are taken from a client whose websocket is being closed, to find its own closing
frame: one that sends on is read no more."""

_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, section 1.3."""

_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)

_INTERNET = (socket.AF_INET, socket.AF_INET6)

_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
_TCP_NOTSENT_LOWAT = 25 if sys.platform == "linux" else None
"""From ``linux/tcp.h``; Python has no name for it."""


class UvicornWebSocket(Websocket, asyncio.Protocol):
    """One connection.

    It is made by uvicorn, once for each request that asks for a websocket.
    """

    __slots__ = (
        "_agreement",
        "_closing",
        "_connections",
        "_fd",
        "_ignored",
        "_open",
        "_other",
        "_reader",
        "_transport",
        "_uvicorn",
    )

    path: ClassVar[str]
    other: ClassVar[str]
    patience: ClassVar[int]
    """Milliseconds that a client may leave unacknowledged what it was sent."""
    inherits: ClassVar[bool] = False
    """Whether connections have their limits from where they came to."""

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        self._uvicorn: tuple[uvicorn.Config, ServerState, dict[str, Any]] | None = (
            config,
            server_state,
            app_state,
        )
        self._other: asyncio.Protocol | None = None
        self._connections: Any = server_state.connections
        self._open = False
        self._reader: FrameReader | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._agreement = b""
        self._probing = False
        self._fd = -1
        self._ignored = 0

    # -- the handshake ---------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Take the connection."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Take bytes: the request first, as uvicorn writes it again, then frames."""
        if self._open:
            self._frames(data)
        elif self._other is not None:
            self._other.data_received(data)
        else:
            self._shake_hands(data)

    def _shake_hands(self, head: bytes) -> None:
        config, server_state, app_state = self._uvicorn or _never()
        target = head.split(b" ", 2)[1]
        if not self._is_ours(target):
            self._hand_over(config, server_state, app_state, head)
            return
        client = client_of(self._transport)
        self.accept(request_on(self._transport, client, head, config, self.engine.proxies))

    def accept(self, request: Request) -> None:
        """Serve a request for the engine's path, on the connection that was made."""
        self._uvicorn = None
        self._connections.add(self)
        if self.engine.starting is not None:
            self.engine.start_background_task(self._start_and_accept, request)
        elif not self.engine.admission.ask(functools.partial(self._answer, request)):
            self.engine.report("admission refused", "too many clients connect at once")
            self._refuse(errors.UNAVAILABLE)

    def _is_ours(self, target: bytes) -> bool:
        path = target.partition(b"?")[0].decode("latin-1")
        return path == self.path or path + "/" == self.path

    async def _start_and_accept(self, request: Request) -> None:
        if self.engine.starting is not None:
            await self.engine.starting()
        self.accept(request)

    def _answer(self, request: Request) -> None:
        if self._transport.is_closing():
            return
        refusal, session = self.engine.find(request, self.name)
        accept = None if refusal is not None else accept_key(request)
        if accept is None:
            self._refuse(refusal or errors.BAD_REQUEST)
            return
        self._prepare()
        self._agreement = _SWITCHING % accept
        self._open = True
        self._reader = FrameReader(self.engine.max_payload)
        self.begin(request, session)
        self._agree()

    def welcome(self, packet: Packet) -> None:
        """Send a session's first packet, in one write with the answer to the handshake."""
        self._agree(packet.frame)

    def _agree(self, first: bytes = b"") -> None:
        """Answer the handshake, unless that is done, and send what is first to follow."""
        data, self._agreement = self._agreement + first, b""
        if data:
            send(self._transport, self._fd, data)

    def _refuse(self, refusal: Refusal) -> None:
        errors.count(refusal, self.engine)
        body = refusal.body
        self._transport.write(
            b"HTTP/1.1 %d Refused\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (refusal.status, len(body), body)
        )
        self._transport.close()

    def _prepare(self) -> None:
        """Set the limits that keep a client which does not read from costing memory."""
        transport = self._transport
        transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self._fd = descriptor(transport)
        if self.inherits:
            return
        connection = transport.get_extra_info("socket")
        if connection is None or connection.family not in _INTERNET:
            return
        # uvloop's own object asks the kernel again for each option what kind of socket it is
        options = socket.socket(connection.family, socket.SOCK_STREAM, 0, connection.fileno())
        try:
            self._limit(options)
        finally:
            options.detach()  # it is the transport's

    @classmethod
    def _limit(cls, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # an old kernel, or another
            if _TCP_USER_TIMEOUT is not None:
                connection.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, cls.patience)
            if _TCP_NOTSENT_LOWAT is not None:
                connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT)

    @classmethod
    def listens(cls, sockets: Iterable[socket.socket]) -> None:
        """Say that all connections come from these, so that they need not be limited each.

        On Linux a connection has the options of the socket that it came to.
        """
        for listening in sockets:
            if listening.family in _INTERNET:
                cls._limit(listening)
        cls.inherits = sys.platform == "linux"

    # -- another path's --------------------------------------------------------------------

    def _hand_over(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        head: bytes,
    ) -> None:
        """Let uvicorn's own implementation have the connection."""
        ordinary = uvicorn.Config(
            config.app,
            ws=self.other,
            log_config=None,
            ws_max_size=config.ws_max_size,
            ws_ping_interval=config.ws_ping_interval,
            ws_ping_timeout=config.ws_ping_timeout,
            ws_per_message_deflate=config.ws_per_message_deflate,
        )
        ordinary.load()
        make: Any = ordinary.ws_protocol_class
        if make is None:  # no implementation is installed
            self._refuse(errors.BAD_REQUEST)
            return
        other = self._other = make(config=config, server_state=server_state, app_state=app_state)
        self._uvicorn = None
        other.connection_made(self._transport)
        other.data_received(head)
        # uvicorn makes this object the transport's protocol when we return
        asyncio.get_running_loop().call_soon(self._transport.set_protocol, other)

    # -- frames ----------------------------------------------------------------------------

    def _frames(self, data: bytes) -> None:
        if self._closing is not None:
            self._ignored += len(data)
            if self._ignored > MAX_IGNORED:
                self.pause_reading()  # until the grace is over
        if self._reader is None:
            return
        try:
            for received in self._reader.feed(data):
                if isinstance(received, Control):
                    self._control(received)
                elif self._closing is None:
                    self.received(received)
        except FrameError as error:
            self._reader = None  # where the next frame begins is not known
            self.engine.report("protocol broken", f"{error}; the websocket was closed")
            self._close_with(frames.encode_close(error.code, str(error)))
            if self._transport.can_write_eof():  # over TLS it cannot
                self._transport.write_eof()  # nothing more is read: no answer can come
            self.gone()

    def _control(self, frame: Control) -> None:
        if frame.opcode == frames.PING:
            if self._transport.get_write_buffer_size() < HIGH_WATER:  # else it does not read
                self._transport.write(frames.encode(frames.PONG, frame.payload))
        elif frame.opcode == frames.CLOSE:
            if self._closing is None:
                self._transport.write(frames.encode(frames.CLOSE, frame.payload[:2]))
            self._transport.close()
            self.gone()

    def write(self, content: list[Packet]) -> None:
        """Send packets in one write: past the transport while it has nothing to send."""
        if len(content) == 1:
            data = content[0].frame
        else:
            data = b"".join([packet.frame for packet in content])
        send(self._transport, self._fd, data)

    def pause_writing(self) -> None:
        """Let packets wait: the client does not take what it was sent."""
        if self._other is not None:
            self._other.pause_writing()
        elif self._open and not self._probing:
            self.session.hold()

    def resume_writing(self) -> None:
        """Send again."""
        if self._other is not None:
            self._other.resume_writing()
        elif self._open and not self._probing:
            self.session.release()

    def pause_reading(self) -> None:
        """Read no more from the client."""
        with contextlib.suppress(RuntimeError):  # it is closing
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        with contextlib.suppress(RuntimeError):
            self._transport.resume_reading()

    # -- the end ---------------------------------------------------------------------------

    def close(self) -> None:
        """Close the websocket; the client has a moment to take what was sent and to agree."""
        self._close_with(frames.encode_close(frames.NORMAL))

    def _close_with(self, data: bytes) -> None:
        if self._closing is None and not self._transport.is_closing():
            self._agree()
            self._transport.write(data)
            loop = asyncio.get_running_loop()
            self._closing = loop.call_later(CLOSE_GRACE, self._transport.abort)

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def shutdown(self) -> None:
        """Close because uvicorn stops; it calls this for every connection."""
        if self._open:
            self._close_with(frames.encode_close(frames.GOING_AWAY))
        else:
            self._transport.close()

    def eof_received(self) -> bool | None:
        """Close when the client has closed its side."""
        return self._other.eof_received() if self._other is not None else None

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end."""
        self._connections.discard(self)
        if self._closing is not None:
            self._closing.cancel()
        if self._other is not None:
            self._other.connection_lost(exc)
        elif self._open:
            self.gone()


def accept_key(request: Request) -> bytes | None:
    """The answer to a websocket handshake's key; ``None`` when it is no proper handshake."""
    key = request.header(b"sec-websocket-key") or ""
    version = request.header(b"sec-websocket-version")
    try:
        proper = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        proper = False
    if not proper or version != "13" or request.method != "GET":
        return None
    digest = hashlib.sha1(key.encode() + _ACCEPT_SALT, usedforsecurity=False).digest()
    return base64.b64encode(digest)


def client_of(transport: Any) -> Address | None:
    """The address at the other end of a connection; ``None`` when it has none."""
    peer = transport.get_extra_info("peername")
    return (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None


def request_on(
    transport: Any,
    client: Address | None,
    head: bytes,
    config: uvicorn.Config,
    proxies: TrustedProxies | None,
) -> Request:
    """A request that came on a connection, from whom trusted proxies say that it comes.

    :param client: the other end.
    :param proxies: instead of those that uvicorn trusts.
    """
    secure = transport.get_extra_info("sslcontext") is not None
    request = Request(head, client, "https" if secure else "http")
    if (proxies is not None or config.proxy_headers) and b"\r\nx-forwarded-" in head.lower():
        scope = request.scope()
        if proxies is not None:
            proxies.look_through(scope)
        else:
            look_through(config, scope)
        request = Request(head, scope["client"], scope["scheme"], scope.get(FORWARDED_HOST))
    return request


def _never() -> Any:
    raise RuntimeError("uvicorn sends one request to a protocol")


def websocket_protocol(
    engine: EngineServer, path: str = "/engine.io/", *, other: str = "auto"
) -> type[UvicornWebSocket]:
    """What to hand to uvicorn as ``ws=``.

    :param path: the path whose websockets the engine serves.
    :param other: uvicorn's implementation for other paths' websockets.
    """
    served, whose = engine, path if path.endswith("/") else f"{path}/"

    class BoundLane(UvicornWebSocket):
        __slots__ = ()

        engine = served
        patience = int((served.ping_interval + served.ping_timeout) * 1000)
        path = whose

    BoundLane.other = other
    return BoundLane
