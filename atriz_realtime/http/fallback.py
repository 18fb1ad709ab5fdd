"""uvicorn's own protocol, with bounds on the requests that it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from atriz_realtime.api.http import HttpAnswer
from atriz_realtime.engine.request.header_fields import MAX_LINES
from atriz_realtime.engine.request.request import MAX_HEAD
from atriz_realtime.engine.transports.connections import descriptor, is_readable
from atriz_realtime.http.connection import MAX_IGNORED, MAX_PIPELINED
from atriz_realtime.http.request_deadlines import is_fast_enough
from atriz_realtime.http.request_head import pieces
from atriz_realtime.http.shared import Shared
from atriz_realtime.http.unread_answers import close_soon


class FallbackProtocol(HttpToolsProtocol):
    """Serves what :class:`.HttpProtocol` does not.

    Time in which the application leaves a body unread does not count against the client.  What
    is neither a body nor the end of a head or a message is bounded as a head is: a head itself,
    trailers, and extensions of chunks.

    :param arguments: those that uvicorn passes.
    """

    def __init__(self, shared: Shared, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._application, self.app = self.app, self._answer_in_turn
        self._shared = shared
        self._first: Any = None  # the cycle of the request that is being answered, or was last
        self._in_body = False
        self._draining = False  # ignores what comes, and closes once earlier requests are answered
        self._ignored = 0  # bytes that came since
        self.stopping = False
        """Whether the connection closes after its next answer."""
        self._pending = 0  # bytes read since the parser last got on
        self._received = 0  # bytes of the body
        self._counted = 0  # those that had come when its deadline began
        self._refusal = shared.endpoints.malformed  # why the parser stops

    def data_received(self, data: bytes) -> None:
        """Read a part of a request; the first bytes begin the deadline of its head."""
        if self._draining:
            self._ignored += len(data)
            if self._ignored > MAX_IGNORED:
                self._shared.cut(self.transport, self._address())
            return
        if not self._in_body:
            self._shared.requests.begin(self)
        self._unset_keepalive_if_required()
        for piece in pieces(data):
            self._pending += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserError:  # uvicorn would log each
                self._refuse(self._refusal)
                return
            except httptools.HttpParserUpgrade:
                if self._should_upgrade() and self._is_answering():
                    self._refuse(self._refusal)  # it would overtake the earlier answers
                    return
                if self._should_upgrade():
                    self._shared.unread.end(self.transport)
                    self.handle_websocket_upgrade()
                    return
            if self._pending > MAX_HEAD:
                self._refuse(self._shared.endpoints.malformed)
                return

    def on_message_begin(self) -> None:
        """Start a request.

        :raises ConnectionError: when too many wait; the parser stops.
        """
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ConnectionError
        self._unset_keepalive_if_required()
        self._pending = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or one of the trailers.

        :raises ConnectionError: when there are too many; the parser stops.
        """
        if len(self.headers) >= MAX_LINES:
            self._refusal = self._shared.endpoints.too_many_headers
            raise ConnectionError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the deadline of the body; a server that is leaving closes after the answer."""
        self._pending = 0
        self._shared.requests.end(self)
        self._in_body = True
        self._received = self._counted = 0
        self._shared.requests.begin(self)
        super().on_headers_complete()
        if self._first is None or self._first.response_complete:
            self._first = self.cycle
        if self._is_answering() and (self.stopping or self._shared.endpoints.is_leaving()):
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Count a part of the body."""
        self._pending = 0
        self._received += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the deadline; if the request is answered already, the connection is idle now."""
        self._pending = 0
        self._in_body = False
        self._shared.requests.end(self)
        super().on_message_complete()
        if not self._is_answering() and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """Measure how fast the client takes what is left of the response."""
        self._shared.unread.begin(self.transport)
        if self.pipeline:
            self._first = self.pipeline[-1][0]
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Have the application wait, and measure how fast the client takes what it sent."""
        self._shared.unread.begin(self.transport)
        super().pause_writing()

    def shutdown(self) -> None:
        """Finish the request that has come, then close; uvicorn is stopping."""
        self.stopping = True
        is_reading = not (self._draining or self.flow.read_paused)
        if is_reading and is_readable(descriptor(self.transport)):
            return
        super().shutdown()
        if self.transport.is_closing():
            close_soon(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the deadlines, and tell the request being answered; uvicorn tells the last one."""
        self._shared.requests.end(self)
        self._shared.unread.end(self.transport)
        super().connection_lost(exc)
        if self._first is not None and not self._first.response_complete:
            self._first.disconnected = True
            self._first.message_event.set()

    def request_overdue(self) -> None:
        """Refuse a request that does not come in time; see :class:`.Incoming`."""
        if self._in_body:
            is_held_up = self.flow.read_paused or (
                self._is_answering() and self.cycle.waiting_for_100_continue
            )
            if is_held_up or is_fast_enough(self._received - self._counted):
                self._counted = self._received
                self._shared.requests.begin(self)
                return
        self._refuse(self._shared.endpoints.too_slow)

    async def _answer_in_turn(self, scope: Any, receive: Any, send: Any) -> None:
        """Have the application answer a request, in a turn of the loop that has time left."""
        turns = self._shared.websocket.sessions.turns
        if turns.is_over:
            await turns.next()
        await self._application(scope, receive, send)

    def _address(self) -> str | None:
        # None before the first request
        headers: list[tuple[bytes, bytes]] | None = self.headers
        return self._shared.address(self.config, self.client, headers or [])

    def _is_answering(self) -> bool:
        """Return whether the last request whose head has come is not answered yet."""
        cycle: Any = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _refuse(self, refusal: Callable[[str | None], HttpAnswer]) -> None:
        """Ignore what comes, and close with an answer that is not taken for another request's."""
        self._draining = True
        self._shared.requests.end(self)
        if self._is_answering() and not self._in_body:  # earlier requests
            self.shutdown()
            return
        answer = refusal(self._address())  # counts it
        is_own = not self.pipeline and self._is_answering() and not self.cycle.response_started
        if is_own or not self._in_body:
            defaults = self.server_state.default_headers
            self.transport.write(self._shared.answer(answer, defaults, last=True))
            self._shared.unread.begin(self.transport)
        self.transport.close()
