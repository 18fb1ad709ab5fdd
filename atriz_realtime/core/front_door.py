"""The front door: where connections come in, on uvicorn.

uvicorn's ``http=`` takes a protocol class. Ours looks at each request that comes: calls of
an endpoint are answered here, in one read and one write and without ASGI; new websockets
of Socket.IO go straight to their lane; everything else is uvicorn's own protocol's, as if
nothing stood before it. A request that is unusual in any way is everything else.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from atriz_realtime.api.contracts import Headers, HttpAnswer, HttpCall
from atriz_realtime.api.records import Endpoint
from atriz_realtime.core.endpoints import HEADERS, HEADERS_OF, Endpoints
from atriz_realtime.engine.lane import Lane, request_on
from atriz_realtime.engine.proxies import seen_through_proxies

if TYPE_CHECKING:
    from uvicorn.server import ServerState

MAX_WAITING = 16
"""Calls that one connection may send without waiting for answers."""

_END = b"\r\n\r\n"

_UNUSUAL = re.compile(rb"\n(?:origin|expect|transfer-|upgrade)", re.IGNORECASE)
"""Headers that make a call somebody else's: CORS, 100-continue, chunks, upgrades."""

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,18})\r\n", re.IGNORECASE)


class FrontDoor(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_body",
        "_config",
        "_endpoint",
        "_headers",
        "_idle_since",
        "_loop",
        "_ordinary",
        "_ordinary_only",
        "_parser",
        "_peer",
        "_previous_cycle",
        "_server_state",
        "_serving",
        "_state",
        "_stopping",
        "_timer",
        "_transport",
        "_waiting",
    )

    endpoints: ClassVar[Endpoints]
    lane: ClassVar[type[Lane]]
    ordinary: ClassVar[type[HttpToolsProtocol]]
    calls: ClassVar[dict[bytes, Endpoint]]
    """Endpoints by how a call of them begins."""
    socket_call: ClassVar[bytes]
    """How a handshake of Socket.IO begins."""
    heads: ClassVar[dict[int, tuple[Any, bytes]]]
    """What responses begin with, by status, with uvicorn's headers that are in it."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server_state: Any = server_state
        self._state = app_state
        self._ordinary: HttpToolsProtocol | None = None
        self._ordinary_only = False
        self._previous_cycle: Any = None
        self._parser: Any = None
        self._endpoint: Endpoint | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._waiting: deque[tuple[Endpoint, HttpCall, bool]] = deque()
        self._serving: asyncio.Task[None] | None = None
        self._stopping = False
        self._peer: str | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- asyncio.Protocol ------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Take the connection; who sends nothing is not waited for."""
        self._transport: Any = transport
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else None
        self._server_state.connections.add(self)
        self._loop = asyncio.get_running_loop()
        self._idle_since = self._loop.time()
        self._timer = self._loop.call_later(self._config.timeout_keep_alive, self._look)

    def data_received(self, data: bytes) -> None:
        """Take bytes to whoever answers them."""
        if self._endpoint is not None:  # the rest of a call
            self._feed(data)
        elif self._ordinary is not None and not self._between_requests():
            self._ordinary_only = True
            self._ordinary.data_received(data)
        else:
            self._begin(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end."""
        self._server_state.connections.discard(self)
        self._stopping = True
        self._parser = None
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._ordinary is not None:
            self._ordinary.connection_lost(exc)

    def eof_received(self) -> None:
        """Close when the client has closed its side."""

    def pause_writing(self) -> None:
        """Pass on: an endpoint's answers are short."""
        if self._ordinary is not None:
            self._ordinary.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        if self._ordinary is not None:
            self._ordinary.resume_writing()

    def shutdown(self) -> None:
        """Answer what is under way, and close: uvicorn stops."""
        self._stopping = True
        if self._ordinary is not None:
            self._ordinary.shutdown()
        elif self._serving is None:
            self._transport.close()

    # -- who answers -----------------------------------------------------------------------

    def _begin(self, data: bytes) -> None:
        """Look at how a request begins."""
        endpoint = self.calls.get(data[: data.find(b"\r\n") + 2])
        if endpoint is not None:
            end = data.find(_END)
            if end >= 0 and _UNUSUAL.search(data, 0, end) is None:
                self._call(endpoint, data)
                return
        elif data.startswith(self.socket_call) and self._opens_websocket(data):
            return
        self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        """Let uvicorn's own protocol have a request, or whatever it is."""
        ordinary = self._ordinary
        if ordinary is None:
            ordinary = self._ordinary = self.ordinary(
                config=self._config, server_state=self._server_state, app_state=self._state
            )
            ordinary.connection_made(self._transport)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._previous_cycle = ordinary.cycle
        self._ordinary_only = self._ordinary_only or not is_whole(data)
        ordinary.data_received(data)

    def _between_requests(self) -> bool:
        """Whether uvicorn's protocol has answered the one request that it was given."""
        cycle: Any = self._ordinary.cycle if self._ordinary is not None else None
        return not self._ordinary_only and (
            cycle is not self._previous_cycle and cycle.response_complete
        )

    # -- websockets ------------------------------------------------------------------------

    def _opens_websocket(self, data: bytes) -> bool:
        """Hand a handshake for a new session to the lane, if that is what it is."""
        line = data[: data.find(b"\r\n")]
        whole = data.endswith(_END) and data.count(_END) == 1
        if not whole or b"transport=websocket" not in line or b"&sid=" in line:
            return False
        headers: list[tuple[bytes, bytes]] = []
        try:
            httptools.HttpRequestParser(_Collected(headers)).feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            return False
        else:
            return False
        self._server_state.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        lane = self.lane(
            config=self._config, server_state=self._server_state, app_state=self._state
        )
        lane.connection_made(self._transport)
        self._transport.set_protocol(lane)
        head = b"%b\r\n%b" % (line, b"".join([b"%b: %b\r\n" % header for header in headers]))
        lane.accept(request_on(self._transport, head, self._config))
        return True

    # -- calls of endpoints ----------------------------------------------------------------

    def _call(self, endpoint: Endpoint, data: bytes) -> None:
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        if self._ordinary is not None:
            self._ordinary._unset_keepalive_if_required()  # noqa: SLF001  # as a request does
        self._endpoint = endpoint
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._write(HttpAnswer(b'{"success":false,"code":"bad_request"}', 400), last=True)

    def on_message_begin(self) -> None:
        """A request begins: the parser calls this, and the following."""
        self._headers = []
        self._body = []

    def on_url(self, url: bytes) -> None:
        """The path; a further request in the same bytes may be for another."""
        if self._endpoint is None:
            method = self._parser.get_method()
            self._endpoint = self.calls.get(b"%b %b HTTP/1.1\r\n" % (method, url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        """A part of the body; one that is too long is not kept."""
        self._body.append(body)
        if len(self._body) > 1:
            self._body = [b"".join(self._body)]
        if len(self._body[0]) > self.endpoints.max_body:
            self._write(self.endpoints.too_large(), last=True)

    def on_message_complete(self) -> None:
        """The request is there: answer it, after those before."""
        endpoint, self._endpoint = self._endpoint, None
        if self._stopping:
            return
        if endpoint is None or len(self._waiting) >= MAX_WAITING:
            self._stopping = True  # the client sends it again, on another connection
            return
        body = self._body[0] if self._body else b""
        address = self._peer
        if self._config.proxy_headers:
            address = seen_through_proxies(self._config, address, self._headers)
        call = HttpCall(Headers(self._headers), body, address)
        self._waiting.append((endpoint, call, self._parser.should_keep_alive()))
        if self._serving is None:
            self._serving = self._loop.create_task(self._serve())

    async def _serve(self) -> None:
        """Answer calls one after another."""
        waiting = self._waiting
        try:
            while waiting:
                endpoint, call, keep_alive = waiting.popleft()
                answer = await self.endpoints.answer(endpoint, call)
                self._server_state.total_requests += 1
                self._write(answer, last=not keep_alive or (self._stopping and not waiting))
        finally:
            self._serving = None

    def _write(self, answer: HttpAnswer, *, last: bool) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        body = answer.body
        transport.write(
            b"%b%bcontent-length: %d\r\n\r\n%b"
            % (
                self._head(answer.status),
                b"connection: close\r\n" if last else b"",
                len(body),
                body,
            )
        )
        if last:
            self._stopping = True
            transport.close()
            return
        self._idle_since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._config.timeout_keep_alive, self._look)

    def _head(self, status: int) -> bytes:
        """What responses of a status begin with; uvicorn's own headers change each second."""
        always = self._server_state.default_headers
        kept = self.heads.get(status)
        if kept is None or kept[0] is not always:
            headers = [*always, *HEADERS_OF.get(status, HEADERS)]
            lines = [b"%b: %b\r\n" % header for header in headers]
            kept = self.heads[status] = always, STATUS_LINE[status] + b"".join(lines)
        return kept[1]

    def _look(self) -> None:
        """Close a connection on which nothing has happened for a while."""
        self._timer = None
        if self._serving is not None:
            return
        left = self._idle_since + self._config.timeout_keep_alive - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._transport.close()


class _Collected:
    """Takes the headers of one request off a parser."""

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self._headers = headers

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._headers.append((name.lower(), value))


def is_whole(data: bytes) -> bool:
    """Whether these bytes are one whole request and nothing else."""
    head = data.find(_END)
    if head < 0 or b"ransfer-" in data[:head]:
        return False
    declared = _LENGTH.search(data, 0, head + 2)
    length = int(declared[1]) if declared is not None else 0
    return len(data) == head + len(_END) + length


def front_door(
    endpoints: Endpoints,
    lane: type[Lane],
    ordinary: type[HttpToolsProtocol] = HttpToolsProtocol,
) -> type[asyncio.Protocol]:
    """What to hand to uvicorn as ``http=``.

    :param ordinary: uvicorn's protocol, for everything else.
    """
    doors, lanes, others = endpoints, lane, ordinary

    class BoundFrontDoor(FrontDoor):
        __slots__ = ()

        endpoints = doors
        lane = lanes
        ordinary = others
        calls = {  # noqa: RUF012  # of the class, and never changed
            f"{method} {path} HTTP/1.1\r\n".encode(): endpoint
            for (method, path), endpoint in endpoints.by_call.items()
        }
        socket_call = f"GET {lane.path}?".encode()
        heads = {}  # noqa: RUF012  # kept for all connections

    return BoundFrontDoor
