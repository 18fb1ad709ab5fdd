"""What all connections of a server share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from atriz_realtime.api.http import HttpAnswer
from atriz_realtime.api.records import Endpoint
from atriz_realtime.engine.deadlines import Deadlines
from atriz_realtime.engine.request.errors import by
from atriz_realtime.engine.request.exchange import NO_STORE, Headers
from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.engine.request.request import Address
from atriz_realtime.engine.transports.connections import seen_through_proxies
from atriz_realtime.engine.transports.polling import PollingRequests
from atriz_realtime.engine.transports.uvicorn import UvicornWebSocket
from atriz_realtime.http.endpoints import HEADERS, HEADERS_OF, Endpoints
from atriz_realtime.http.request_deadlines import Incoming, request_deadlines
from atriz_realtime.http.unread_answers import UnreadAnswers

DefaultHeaders = list[tuple[bytes, bytes]]


@attrs.frozen(eq=False)
class Shared:
    """What all connections of a server share."""

    endpoints: Endpoints
    by_request_line: Mapping[bytes, Endpoint]
    """The endpoints by the first line of a request to them."""
    websocket: type[UvicornWebSocket]
    """The protocol for the websockets of Socket.IO."""
    polling: PollingRequests
    """Answers the polling requests of Socket.IO."""
    socket_lines: tuple[bytes, ...]
    """How the lines of both requests begin."""
    fallback: Callable[..., Any]
    """Makes uvicorn's own protocol, for everything else; takes this object, and what uvicorn
    passes."""
    proxies: TrustedProxies | None
    """The proxies to believe about the client's address; ``None``: those that uvicorn trusts."""
    unread: UnreadAnswers
    """Bounds how long answers wait for clients that do not read them."""
    requests: Deadlines[Incoming] = attrs.field(factory=request_deadlines)
    """The deadlines of first requests, of heads that have begun, and of parts of bodies."""
    response_starts: dict[object, tuple[Any, bytes]] = attrs.field(factory=dict)
    """By what the headers depend on: uvicorn's default headers, and the start of a response that
    has them and those that all such responses have."""

    def address(
        self, config: uvicorn.Config, client: Address | None, headers: list[tuple[bytes, bytes]]
    ) -> str | None:
        """The client's address, as far as the headers of its request have come.

        :param client: the other end of the connection.
        """
        address = None if client is None else client[0]
        if self.proxies is not None:
            return self.proxies.client(address, headers)
        return seen_through_proxies(config, address, headers) if config.proxy_headers else address

    def cut(self, transport: Any, address: str | None) -> None:
        """Cut off a client that sends on and on behind the last request of its connection."""
        if not transport.is_closing():
            line = f"it sent on behind the last request of its connection{by(address)}"
            self.websocket.sessions.report("flooding client cut", line)
            transport.abort()

    def answer(self, answer: HttpAnswer, defaults: DefaultHeaders, *, last: bool) -> bytes:
        """Encode the answer of an endpoint; the parameters are those of :meth:`response`."""
        status = answer.status
        cached = self.response_starts.get(status)
        if cached is None or cached[0] is not defaults:
            cached = self._start(status, status, HEADERS_OF.get(status, HEADERS), defaults)
        return self._encoded(cached[1], answer.headers, answer.body, last=last)

    def response(
        self,
        status: int,
        content_type: bytes,
        body: bytes,
        headers: Headers,
        defaults: DefaultHeaders,
        *,
        last: bool,
    ) -> bytes:
        """Encode a response that no cache stores.

        :param headers: its further headers.
        :param defaults: uvicorn's default headers: a new list each second, for the date.
        :param last: whether the connection closes after it.
        """
        kind = status, content_type
        cached = self.response_starts.get(kind)
        if cached is None or cached[0] is not defaults:
            fixed = [(b"content-type", content_type), NO_STORE]
            cached = self._start(kind, status, fixed, defaults)
        return self._encoded(cached[1], headers, body, last=last)

    def _start(
        self, kind: object, status: int, fixed: Headers, defaults: DefaultHeaders
    ) -> tuple[Any, bytes]:
        lines = [b"%b: %b\r\n" % header for header in (*defaults, *fixed)]
        start = self.response_starts[kind] = defaults, STATUS_LINE[status] + b"".join(lines)
        return start

    @staticmethod
    def _encoded(start: bytes, headers: Headers, body: bytes, *, last: bool) -> bytes:
        return b"%b%bcontent-length: %d\r\n%b\r\n%b" % (
            start,
            b"".join([b"%b: %b\r\n" % header for header in headers]) if headers else b"",
            len(body),
            b"connection: close\r\n" if last else b"",
            body,
        )
