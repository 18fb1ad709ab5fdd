"""Websockets that uvicorn hands over, without ASGI between.

uvicorn's ``ws=`` takes a protocol class.  This one serves the websockets of one path: it
answers their handshakes, and exchanges frames straight between the socket and the session.
Websockets of other paths go to uvicorn's own implementation, untouched.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import functools
import hashlib
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import uvicorn
import websockets  # noqa: F401  # its mask function reads the frames
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from atriz_realtime.engine.admission import Admission
from atriz_realtime.engine.request import errors
from atriz_realtime.engine.request.errors import Refusal
from atriz_realtime.engine.request.proxies import FORWARDED_HOST, Header, TrustedProxies
from atriz_realtime.engine.request.request import Address, Request
from atriz_realtime.engine.sessions import Sessions
from atriz_realtime.engine.transports.stream import StreamWebSocket

if TYPE_CHECKING:
    from uvicorn.server import ServerState

_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, section 1.3."""

_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)


Arguments = tuple[uvicorn.Config, "ServerState", dict[str, Any]]
"""What uvicorn makes a protocol with."""


class UvicornWebSocket(StreamWebSocket):
    """A websocket on a connection of uvicorn's.

    uvicorn makes one for each request that asks for a websocket.
    """

    __slots__ = ("_arguments", "_connections", "_other")

    admission: ClassVar[Admission]
    proxies: ClassVar[TrustedProxies | None]
    path: ClassVar[str]
    other: ClassVar[str]
    """uvicorn's implementation for other paths."""

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        super().__init__()
        self._arguments: Arguments | None = (config, server_state, app_state)
        self._other: asyncio.Protocol | None = None
        self._connections: Any = server_state.connections

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

    def connection_lost(self, exc: Exception | None) -> None:
        """End the session."""
        self._connections.discard(self)
        super().connection_lost(exc)
        if self._other is not None:
            self._other.connection_lost(exc)

    # -- the handshake ---------------------------------------------------------------------

    def _begin_handshake(self, arguments: Arguments, head: bytes) -> None:
        self._arguments = None
        path = head.split(b" ", 2)[1].partition(b"?")[0].decode("latin-1")
        if path != self.path and path + "/" != self.path:
            self._pass_on(*arguments, head)
            return
        client = client_of(self._transport)
        self.accept(request_on(self._transport, client, head, arguments[0], self.proxies))

    def accept(self, request: Request) -> None:
        """Answer a handshake for the engine's path when it is its turn."""
        self._arguments = None
        self._connections.add(self)
        starting = self.admission.ready()
        if starting is not None:
            self.sessions.start_task(self._accept_later, starting, request)
        elif not self.admission.enqueue(functools.partial(self._answer, request)):
            self._refuse(errors.UNAVAILABLE)

    async def _accept_later(self, starting: Awaitable[None], request: Request) -> None:
        await starting
        self.accept(request)

    def _answer(self, request: Request) -> None:
        if self._transport.is_closing():
            return
        refusal, session = self.admission.check(request, self.name)
        key = None if refusal is not None else accept_key(request)
        if key is None:
            self._refuse(refusal or errors.BAD_REQUEST)
            return
        self._start(_SWITCHING % key)
        self.begin(request, session)
        self._respond()

    def _refuse(self, refusal: Refusal) -> None:
        self.admission.refused(refusal)
        body = refusal.body
        self._transport.write(
            b"HTTP/1.1 %d Refused\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (refusal.status, len(body), body)
        )
        self._transport.close()

    # -- other paths -----------------------------------------------------------------------

    def _pass_on(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        head: bytes,
    ) -> None:
        """Give the connection to uvicorn's own implementation."""
        others = uvicorn.Config(
            config.app,
            ws=self.other,
            log_config=None,
            ws_max_size=config.ws_max_size,
            ws_ping_interval=config.ws_ping_interval,
            ws_ping_timeout=config.ws_ping_timeout,
            ws_per_message_deflate=config.ws_per_message_deflate,
        )
        others.load()
        make: Any = others.ws_protocol_class
        if make is None:  # no implementation is installed
            self._refuse(errors.BAD_REQUEST)
            return
        other = self._other = make(config=config, server_state=server_state, app_state=app_state)
        other.connection_made(self._transport)
        other.data_received(head)
        # uvicorn makes this object the transport's protocol when this call returns
        asyncio.get_running_loop().call_soon(self._transport.set_protocol, other)

    def pause_writing(self) -> None:
        """Hold packets back: the client does not read."""
        if self._other is not None:
            self._other.pause_writing()
        else:
            super().pause_writing()

    def resume_writing(self) -> None:
        """Send packets again."""
        if self._other is not None:
            self._other.resume_writing()
        else:
            super().resume_writing()

    def eof_received(self) -> bool | None:
        """Close when the client has closed its side."""
        return self._other.eof_received() if self._other is not None else None


def websocket_protocol(
    sessions: Sessions,
    admission: Admission,
    path: str,
    *,
    proxies: TrustedProxies | None,
    other: str,
) -> type[UvicornWebSocket]:
    """The class to pass to uvicorn as ``ws=``.

    :param path: the path of the engine's websockets.
    :param proxies: the trusted proxies; ``None`` for those that uvicorn trusts.
    :param other: uvicorn's implementation for the websockets of other paths.
    """

    class BoundUvicornWebSocket(UvicornWebSocket):
        __slots__ = ()

        ack_timeout = int((sessions.ping_interval + sessions.ping_timeout) * 1000)

    bound = BoundUvicornWebSocket
    bound.sessions, bound.admission, bound.proxies = sessions, admission, proxies
    bound.path = path if path.endswith("/") else f"{path}/"
    bound.other = other
    return bound


def accept_key(request: Request) -> bytes | None:
    """The ``Sec-WebSocket-Accept`` of a handshake; ``None`` when it is not a valid one."""
    key = request.header(b"sec-websocket-key") or ""
    version = request.header(b"sec-websocket-version")
    try:
        is_valid = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        is_valid = False
    if not is_valid or version != "13" or request.method != "GET":
        return None
    digest = hashlib.sha1(key.encode() + _ACCEPT_SALT, usedforsecurity=False).digest()
    return base64.b64encode(digest)


# -- the client of a request -------------------------------------------------------------------


def client_of(transport: Any) -> Address | None:
    """The peer's address; ``None`` when it has none, as on a Unix socket."""
    peer = transport.get_extra_info("peername")
    return (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None


def request_on(
    transport: Any,
    client: Address | None,
    head: bytes,
    config: uvicorn.Config,
    proxies: TrustedProxies | None,
) -> Request:
    """The request that came on a connection, with the client that trusted proxies name.

    :param client: the peer's address.
    :param proxies: the trusted proxies; ``None`` for those that uvicorn trusts.
    """
    secure = transport.get_extra_info("sslcontext") is not None
    request = Request(head, client, "https" if secure else "http")
    if (proxies is not None or config.proxy_headers) and b"\r\nx-forwarded-" in head.lower():
        scope = request.scope()
        if proxies is not None:
            proxies.rewrite(scope)
        else:
            _rewrite_as_uvicorn(config, scope)
        request = Request(head, scope["client"], scope["scheme"], scope.get(FORWARDED_HOST))
    return request


def seen_through_proxies(
    config: uvicorn.Config, address: str | None, headers: Sequence[Header]
) -> str | None:
    """The client's address, as applications behind uvicorn's middleware see it.

    :param address: the peer's.
    """
    for name, _ in headers:
        if name == b"x-forwarded-for":
            break
    else:
        return address
    scope = {"type": "http", "client": (address, 0), "scheme": "http", "headers": headers}
    _rewrite_as_uvicorn(config, scope)
    client: str | None = scope["client"][0]  # type: ignore[assignment]
    return client


def _rewrite_as_uvicorn(config: uvicorn.Config, scope: dict[str, Any]) -> None:
    """Set a scope's client and scheme as uvicorn's middleware does."""
    hosts = config.forwarded_allow_ips or "127.0.0.1"
    middleware = _middleware(hosts if isinstance(hosts, str) else ",".join(hosts))
    with contextlib.suppress(StopIteration):  # it awaits nothing
        middleware(scope, _no_application, _no_application).send(None)


@functools.cache
def _middleware(hosts: str) -> Any:
    return ProxyHeadersMiddleware(_no_application, hosts)


async def _no_application(*_: Any) -> None:
    """Stand in for the application behind the middleware."""
