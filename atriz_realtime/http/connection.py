"""The calls of endpoints on one connection: read, answered one after another, and waited for.

A call costs one read and one write, and no ASGI.  Who sends further calls without waiting
for answers gets them in order.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from atriz_realtime.api.http import Headers, HttpAnswer, HttpCall
from atriz_realtime.api.records import Endpoint
from atriz_realtime.engine.deadlines import Deadlines
from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.engine.request.request import Address
from atriz_realtime.engine.transports.raw_write import descriptor, send
from atriz_realtime.engine.transports.uvicorn import client_of, seen_through_proxies
from atriz_realtime.http.endpoints import HEADERS, HEADERS_OF, Endpoints
from atriz_realtime.http.request_head import UNUSUAL, HeadCache

if TYPE_CHECKING:
    from uvicorn.server import ServerState

MAX_WAITING = 16
"""EndpointConnection that one connection may send without waiting for answers."""

MAX_HEAD = 65_536
"""Bytes that the head of a call which is sent ahead may have."""

MAX_UNLIKE = 4
"""Heads in a row, each unlike the one before, after which a connection's are no longer kept
to be known again: a proxy's, which has the calls of many."""

PATIENCE = 5.0
"""Seconds that a client has at least to send something, however short keep-alive is."""


class EndpointConnection(asyncio.Protocol):
    """The calls on one connection."""

    __slots__ = (
        "_body",
        "_client",
        "_config",
        "_deaf",
        "_endpoint",
        "_fd",
        "_full",
        "_head_size",
        "_headers",
        "_held",
        "_idle_since",
        "_in_head",
        "_known",
        "_loop",
        "_parser",
        "_receiving",
        "_refusal",
        "_repeated",
        "_server_state",
        "_serving",
        "_stopping",
        "_timer",
        "_transport",
        "_unlike",
        "_url",
        "_waiting",
    )

    endpoints: ClassVar[Endpoints]
    proxies: ClassVar[TrustedProxies | None]
    """Whose word on the client's address is taken; ``None``: of those that uvicorn trusts."""
    calls: ClassVar[dict[bytes, Endpoint]]
    """Endpoints by how a call of them begins."""
    newcomers: ClassVar[Deadlines[EndpointConnection]]
    """Who has not sent anything yet."""
    heads: ClassVar[dict[int, tuple[Any, bytes]]]
    """What responses begin with, by status, with uvicorn's headers that are in it."""

    def __init__(self, config: uvicorn.Config, server_state: ServerState) -> None:
        self._config = config
        self._server_state: Any = server_state
        self._client: Address | None = None
        self._parser: Any = None
        self._fd = -1
        self._receiving = False  # a request has begun and is not complete
        self._in_head = False
        self._head_size = 0
        self._known = False  # whose call it is, before the parser has seen it
        self._endpoint: Endpoint | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: bytes | bytearray = b""
        self._repeated: tuple[HeadCache, Endpoint, HttpCall] | None = None
        self._unlike = 0
        self._waiting: list[tuple[Endpoint, HttpCall, bool]] = []  # few: no deque, which is large
        self._serving: asyncio.Task[None] | None = None
        self._refusal: HttpAnswer | None = None  # after everything that waits
        self._deaf = False  # nothing more is read
        self._stopping = False
        self._full = self._held = False  # the client does not read; nor do we, then
        self._timer: asyncio.TimerHandle | None = None

    # -- asyncio.Protocol ------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Take the connection; who sends nothing is not waited for."""
        self._transport: Any = transport
        self._client = client_of(transport)
        self._server_state.connections.add(self)
        self._loop = self.newcomers.loop
        self._idle_since = self._loop.time()
        self.newcomers.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Take note of the end."""
        self._server_state.connections.discard(self)
        self._deaf = True
        self._parser = None
        self._waiting.clear()
        self._stop_timer()

    def eof_received(self) -> None:
        """Close when the client has closed its side."""

    def pause_writing(self) -> None:
        """Take note that the client does not read."""
        self._full = True

    def resume_writing(self) -> None:
        """Take note that it does again."""
        self._full = False
        if self._held:
            self._held = False
            with contextlib.suppress(RuntimeError):  # it is closing
                self._transport.resume_reading()

    # -- calls -----------------------------------------------------------------------------

    def _take(self, endpoint: Endpoint, data: bytes) -> None:
        """Take a call whose head is in ``data``."""
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
            self._fd = descriptor(self._transport)
        self._endpoint = endpoint
        self._known = True
        self._feed(data)
        if self._waiting and not self._receiving and self._unlike < MAX_UNLIKE:
            head = HeadCache.of(data)
            if head is not None:
                call = self._waiting[-1][1]
                bare = HttpCall(call.headers, b"", call.address, call.credentials())
                self._repeated = head, endpoint, bare

    def _take_again(self, data: bytes) -> bool:
        """Take a call that differs from the one before in its body alone; whether it is one."""
        if self._repeated is None:
            return False
        head, endpoint, bare = self._repeated
        body = head.body(data, self.endpoints.max_body)
        if body is None:
            self._repeated = None
            self._unlike += 1
            return False
        self._unlike = 0
        call = HttpCall(bare.headers, body, bare.address, bare.offered)
        self._accept(endpoint, call, keep_alive=True)
        return True

    def _feed(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self._end(self.endpoints.broken())
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end(self.endpoints.broken())
        if self._receiving:
            self._wait()

    def on_message_begin(self) -> None:
        """A request begins: the parser calls this, and the following."""
        self._receiving = self._in_head = True
        self._head_size = 0
        self._url = b""
        self._headers = []
        self._body = b""

    def on_url(self, url: bytes) -> None:
        """A part of the path."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is there: of a call that was sent ahead, look whose it is."""
        self._in_head = False
        if self._known:
            self._known = False
            return
        parser = self._parser
        begins = (parser.get_method(), self._url, parser.get_http_version().encode())
        self._endpoint = self.calls.get(b"%b %b HTTP/%b\r\n" % begins)
        if self._endpoint is None or any(name in UNUSUAL for name, _ in self._headers):
            self._end()  # the client sends it again, on another connection

    def on_body(self, body: bytes) -> None:
        """A part of the body; of one that is too long no more is kept."""
        if self._deaf:
            return
        if not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body
        if len(self._body) > self.endpoints.max_body:
            self._end(self.endpoints.too_large())

    def on_message_complete(self) -> None:
        """The request is there."""
        self._receiving = False
        endpoint, self._endpoint = self._endpoint, None
        if self._deaf or endpoint is None:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._end()
            return
        address = None if self._client is None else self._client[0]
        if self.proxies is not None:
            address = self.proxies.client(address, self._headers)
        elif self._config.proxy_headers:
            address = seen_through_proxies(self._config, address, self._headers)
        call = HttpCall(Headers(self._headers), bytes(self._body), address)
        self._accept(endpoint, call, keep_alive=self._parser.should_keep_alive())

    def _accept(self, endpoint: Endpoint, call: HttpCall, *, keep_alive: bool) -> None:
        """Answer a call, after those before."""
        self._deaf = not keep_alive
        self._waiting.append((endpoint, call, keep_alive))
        if self._serving is None:
            self._serving = self._loop.create_task(self._serve())

    async def _serve(self) -> None:
        """Answer calls one after another."""
        waiting = self._waiting
        try:
            while waiting:
                endpoint, call, keep_alive = waiting.pop(0)
                answer = await self.endpoints.answer(endpoint, call)
                self._server_state.total_requests += 1
                ends = (self._deaf or self._stopping) and not waiting and self._refusal is None
                self._write(answer, last=ends or not keep_alive)
        finally:
            self._serving = None
        if self._refusal is not None:
            self._write(self._refusal, last=True)

    def _end(self, refusal: HttpAnswer | None = None) -> None:
        """Read no more, and close once everything before is answered, and with this."""
        if self._deaf:
            return
        self._deaf = True
        self._receiving = False
        self._headers = []
        self._body = b""
        if self._serving is not None:
            self._refusal = refusal
        elif refusal is not None:
            self._write(refusal, last=True)
        else:
            self._transport.close()

    def _write(self, answer: HttpAnswer, *, last: bool) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        body = answer.body
        response = b"%b%b%bcontent-length: %d\r\n\r\n%b" % (
            self._head(answer.status),
            b"".join([b"%b: %b\r\n" % header for header in answer.headers])
            if answer.headers
            else b"",
            b"connection: close\r\n" if last else b"",
            len(body),
            body,
        )
        send(transport, self._fd, response)
        if last:
            self._deaf = True
            transport.close()
            return
        if self._full:
            self._held = True
            transport.pause_reading()
        self._wait()

    def _head(self, status: int) -> bytes:
        """What responses of a status begin with; uvicorn's own headers change each second."""
        always = self._server_state.default_headers
        kept = self.heads.get(status)
        if kept is None or kept[0] is not always:
            headers = [*always, *HEADERS_OF.get(status, HEADERS)]
            lines = [b"%b: %b\r\n" % header for header in headers]
            kept = self.heads[status] = always, STATUS_LINE[status] + b"".join(lines)
        return kept[1]

    # -- patience --------------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait for the client from now on, but not for long."""
        now = self._idle_since = self._loop.time()
        patience = self._patience()
        if self._timer is not None and self._timer.when() > now + patience:
            self._stop_timer()
        if self._timer is None:
            self._timer = self._loop.call_at(now + patience, self.look)

    def look(self) -> None:
        """Close the connection if nothing has happened on it for a while."""
        self._timer = None
        if self._serving is not None:
            return
        due = self._idle_since + self._patience()
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self.look)
        else:
            self._transport.close()

    def _patience(self) -> float:
        """Seconds that the client has now."""
        keep_alive: float = self._config.timeout_keep_alive
        return max(keep_alive, PATIENCE) if self._receiving else keep_alive

    def _stop_timer(self) -> None:
        self.newcomers.end(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def patience_for_newcomers() -> Deadlines[EndpointConnection]:
    """Waits for what connections send first."""
    return Deadlines(PATIENCE, EndpointConnection.look)
