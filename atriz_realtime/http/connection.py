"""The endpoint requests of one connection: parsed, queued, and answered in order.

A request costs one read and one write, and no ASGI.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import attrs
import httptools
import uvicorn

from atriz_realtime.api.errors import RealtimeError
from atriz_realtime.api.http import Headers, HttpAnswer, HttpCall
from atriz_realtime.api.records import Endpoint
from atriz_realtime.engine.request.header_fields import MAX_LINES
from atriz_realtime.engine.request.request import MAX_HEAD, Address
from atriz_realtime.engine.transports.connections import (
    client_of,
    descriptor,
    scheme_of,
    send,
)
from atriz_realtime.http.bodies import SMALL_BODY
from atriz_realtime.http.request_deadlines import is_fast_enough
from atriz_realtime.http.request_head import (
    FALLBACK_HEADERS,
    MAX_CACHED_HEADS,
    HeadCache,
    pieces,
)
from atriz_realtime.http.shared import Shared

MAX_PIPELINED = 16
"""Requests that may wait on one connection while an earlier one is answered; at the next one the
server ignores what comes, and closes the connection after the answers.  So it does once the bodies
of those that wait have more than ``SMALL_BODY`` bytes together."""

MAX_IGNORED = 1_048_576
"""Bytes that are read and dropped behind the last request of a connection, so that the client can
still read the answers; one that sends more is cut off."""

MAX_HEAD_MISSES = 4
"""After this many different heads in a row the connection stops caching them: it is probably
a proxy's."""


Cached = tuple[HeadCache, Endpoint, HttpCall]
"""The head of a connection's requests, where they go, and such a request without its body."""


@attrs.define(eq=False, repr=False, weakref_slot=False)  # a repr would show tokens
class EndpointConnection(asyncio.Protocol):
    """Reads and answers requests to endpoints on one connection."""

    _shared: Shared
    _config: uvicorn.Config
    _server_state: Any
    _loop: asyncio.AbstractEventLoop = attrs.field(init=False)
    _transport: Any = attrs.field(init=False)
    _client: Address | None = None
    _scheme: str = attrs.field(init=False)
    _parser: Any = None
    _fd: int = attrs.field(init=False)
    _in_request: bool = False  # a request was started and is not complete
    _in_head: bool = False
    _is_arriving: bool = False  # a part of the body was counted
    _counted: int = 0  # bytes of the body when its deadline began
    _head_size: int = 0
    _is_routed: bool = False  # the endpoint was found before the parser saw the head
    _endpoint: Endpoint | None = None
    _url: bytes = b""
    _headers: list[tuple[bytes, bytes]] = attrs.field(factory=list)
    _body: bytes | bytearray = b""
    _cached: Cached | None = None
    _head_misses: int = 0
    _queue: list[tuple[Endpoint, HttpCall, bool]] = attrs.field(factory=list)  # a deque is larger
    _answering: asyncio.Task[None] | None = None
    _error: HttpAnswer | None = None  # sent after the answers to what is queued
    _draining: bool = False  # ignores what comes, and closes once the queue is answered
    _ignored: int = 0  # bytes that came since
    _stopping: bool = False
    _write_paused: bool = False
    _read_paused: bool = False
    _timer: asyncio.TimerHandle | None = None
    _idle_since: float = attrs.field(init=False)

    # -- asyncio.Protocol ------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Begin the deadline of the first request."""
        self._transport = transport
        self._fd = descriptor(transport)
        self._client = client_of(transport)
        self._scheme = scheme_of(transport)
        self._server_state.connections.add(self)
        self._loop = self._shared.requests.loop
        self._idle_since = self._loop.time()
        self._shared.requests.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Drop the requests that are not being answered yet."""
        self._server_state.connections.discard(self)
        self._shared.unread.end(self._transport)
        self._draining = True
        self._parser = None
        self._drop_queue()
        self._forget_head()
        self._stop_timer()

    def pause_writing(self) -> None:
        """Stop reading after the next answer: the client does not read its answers."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Read again; a request that has begun has its whole time."""
        self._write_paused = False
        if self._read_paused:
            self._read_paused = False
            if self._in_request:
                self._counted = len(self._body)
                self._shared.requests.begin(self)
                self._shared.endpoints.bodies.resume(self)
            with contextlib.suppress(RuntimeError):  # it is closing
                self._transport.resume_reading()

    # -- requests --------------------------------------------------------------------------

    def refuse(self, error: RealtimeError) -> None:
        """Give up the body that is being read: see :class:`.Receiver`."""
        self._drain(self._shared.endpoints.refused(error, self._address()))

    def _read(self, endpoint: Endpoint, data: bytes) -> None:
        """Read a request whose whole head is in ``data``, and cache that head."""
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        self._endpoint = endpoint
        self._is_routed = True
        self._feed(data)
        if self._queue and not self._in_request and self._head_misses < MAX_HEAD_MISSES:
            head = HeadCache.of(data)
            if head is not None and self._shared.endpoints.cached_heads < MAX_CACHED_HEADS:
                call = self._queue[-1][1]
                bare = HttpCall(call.headers, b"", call.address, call.credentials())
                self._cached = head, endpoint, bare
                self._shared.endpoints.cached_heads += head.size

    def _forget_head(self) -> None:
        """Drop the cached head."""
        if self._cached is not None:
            self._shared.endpoints.cached_heads -= self._cached[0].size
            self._cached = None

    def _read_cached(self, cached: Cached, data: bytes) -> bool:
        """Read a whole request that has the cached head; returns whether it is one."""
        head, endpoint, bare = cached
        body = head.body(data, self._shared.endpoints.max_body)
        if body is None:
            self._forget_head()
            self._head_misses += 1
            return False
        self._head_misses = 0
        call = HttpCall(bare.headers, body, bare.address, bare.offered)
        self._enqueue(endpoint, call, keep_alive=True)
        return True

    def _feed(self, data: bytes) -> None:
        for piece in pieces(data):
            if self._draining:
                self._ignore(piece)
                continue
            self._head_size += len(piece)
            try:
                self._parser.feed_data(piece)
                is_malformed = self._in_head and self._head_size > MAX_HEAD
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                is_malformed = not self._draining  # or a callback has stopped the parser
            if is_malformed:
                self._drain(self._shared.endpoints.malformed(self._address()))
        if self._in_request:
            self._shared.requests.begin(self)
            if self._body:
                self._is_arriving = True
                self._shared.endpoints.bodies.arrived(self, len(self._body))

    # -- callbacks of the parser -----------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start a request.

        :raises ConnectionError: when no further one is read; the parser stops.
        """
        if self._draining:
            raise ConnectionError
        self._in_request = self._in_head = True
        self._head_size = 0
        self._url = b""
        self._headers = []
        self._body = bytearray()

    def on_url(self, url: bytes) -> None:
        """Append a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Append a header.

        :raises ConnectionError: when there are too many; the parser stops.
        """
        if len(self._headers) >= MAX_LINES:
            self._drain(self._shared.endpoints.too_many_headers(self._address()))
            raise ConnectionError
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Find the endpoint of a pipelined request.

        Where there is none the connection closes, and the client sends the request on a new one.
        """
        self._in_head = False
        self._counted = 0
        self._shared.requests.end(self)
        if self._is_routed:
            self._is_routed = False
            return
        parser = self._parser
        line = (parser.get_method(), self._url, parser.get_http_version().encode())
        self._endpoint = self._shared.by_request_line.get(b"%b %b HTTP/%b\r\n" % line)
        if self._endpoint is None or any(name in FALLBACK_HEADERS for name, _ in self._headers):
            self._drain()

    def on_body(self, body: bytes) -> None:
        """Append a part of the body, up to the limit."""
        if self._draining:
            return
        self._body += body
        if len(self._body) > self._shared.endpoints.max_body:
            self._drain(self._shared.endpoints.too_large(self._address()))

    def on_message_complete(self) -> None:
        """Queue the request."""
        self._in_request = False
        self._shared.requests.end(self)
        self._end_arriving()
        endpoint, self._endpoint = self._endpoint, None
        if self._draining or endpoint is None:
            return
        if self._queue and self._is_queue_full():
            self._drain()
            return
        body, self._body = bytes(self._body), b""  # an idle connection keeps none
        call = HttpCall(Headers(self._headers), body, self._address())
        self._enqueue(endpoint, call, keep_alive=self._parser.should_keep_alive())

    # -- answers ---------------------------------------------------------------------------

    def _enqueue(self, endpoint: Endpoint, call: HttpCall, *, keep_alive: bool) -> None:
        self._draining = not keep_alive
        if self._answering is not None:  # it waits
            endpoint, call = self._shared.endpoints.admitted(endpoint, call)
        self._queue.append((endpoint, call, keep_alive))
        if self._answering is None:
            self._answering = self._loop.create_task(self._answer_queue())

    def _is_queue_full(self) -> bool:
        """Whether no further request may wait; the first of the queue is being answered."""
        waiting = self._queue[1:]
        bodies = sum([len(call.body) for _, call, _ in waiting])
        return len(waiting) >= MAX_PIPELINED or bodies > SMALL_BODY

    def _drop_queue(self) -> None:
        """Drop the requests that are not being answered yet."""
        for _, call, _ in self._queue[1:]:
            self._shared.endpoints.bodies.handled -= len(call.body)
        self._queue.clear()

    async def _answer_queue(self) -> None:
        queue, turns = self._queue, self._shared.websocket.sessions.turns
        has_waited = False
        try:
            while queue:
                endpoint, call, keep_alive = queue[0]
                if not has_waited:  # only now: others of this turn may have been refused at once
                    endpoint, call = self._shared.endpoints.admitted(endpoint, call)
                    has_waited = True  # the next ones
                try:
                    if turns.is_over:
                        await turns.next()
                    answer = await self._shared.endpoints.answer(endpoint, call)
                finally:
                    self._shared.endpoints.bodies.handled -= len(call.body)
                self._server_state.total_requests += 1
                closing = self._draining or self._is_leaving()
                ends = closing and len(queue) <= 1 and self._error is None
                self._write(answer, last=ends or not keep_alive)
                del queue[:1]  # a lost connection has none
        finally:
            self._answering = None
        if self._error is not None:
            self._write(self._error, last=True)

    def _ignore(self, data: bytes) -> None:
        """Drop bytes that come behind the connection's last request, up to a bound."""
        self._ignored += len(data)
        if self._ignored > MAX_IGNORED:
            self._shared.cut(self._transport, self._address())

    def _drain(self, error: HttpAnswer | None = None) -> None:
        """Ignore what comes, and close once the queue is answered; ``error`` is the last answer."""
        if self._draining:
            return
        self._draining = True
        self._in_request = False
        self._shared.requests.end(self)
        self._end_arriving()
        self._headers = []
        self._body = b""
        if self._answering is not None:
            self._error = error
        elif error is not None:
            self._write(error, last=True)
        else:
            self._transport.close()

    def _write(self, answer: HttpAnswer, *, last: bool) -> None:
        defaults = self._server_state.default_headers
        self._send(self._shared.answer(answer, defaults, last=last), last=last)

    def _send(self, response: bytes, *, last: bool) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        if send(transport, self._fd, response):
            self._shared.unread.begin(transport)
        if last:
            self._draining = True
            transport.close()
            return
        if self._write_paused:
            self._read_paused = True
            self._shared.requests.end(self)  # the client may have sent the rest
            self._shared.endpoints.bodies.pause(self)
            transport.pause_reading()
        self._restart_timer()

    def _address(self) -> str | None:
        return self._shared.address(self._config, self._client, self._headers)

    def _is_leaving(self) -> bool:
        """Return whether the connection closes after its next answer."""
        return self._stopping or self._shared.endpoints.is_leaving()

    def _is_busy(self) -> bool:
        """Return whether a request is being read or answered."""
        return self._answering is not None or self._in_request

    # -- timeouts --------------------------------------------------------------------------

    def request_overdue(self) -> None:
        """Refuse a request that does not come in time; see :class:`Incoming`."""
        if not self._in_request:  # the first one has not begun
            self._transport.close()
        elif not self._in_head and is_fast_enough(len(self._body) - self._counted):
            self._counted = len(self._body)
            self._shared.requests.begin(self)
        else:
            self._drain(self._shared.endpoints.too_slow(self._address()))

    def _restart_timer(self) -> None:
        """Restart the keep-alive timeout."""
        self._idle_since = self._loop.time()
        if self._timer is None:
            due = self._idle_since + self._config.timeout_keep_alive
            self._timer = self._loop.call_at(due, self._check_idle)

    def _check_idle(self) -> None:
        """Close the connection if it has been idle for the timeout; else check again later."""
        self._timer = None
        if self._is_busy():
            return
        due = self._idle_since + self._config.timeout_keep_alive
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self._check_idle)
        else:
            self._transport.close()

    def _end_arriving(self) -> None:
        if self._is_arriving:
            self._is_arriving = False
            self._shared.endpoints.bodies.end(self)

    def _stop_timer(self) -> None:
        self._shared.requests.end(self)
        self._end_arriving()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
