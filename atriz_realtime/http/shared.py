"""What all connections of a server share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from atriz_realtime.api.http import HttpAnswer
from atriz_realtime.api.records import Endpoint
from atriz_realtime.engine.deadlines import Deadlines
from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.engine.transports.polling import PollingRequests
from atriz_realtime.engine.transports.uvicorn import UvicornWebSocket
from atriz_realtime.http.endpoints import HEADERS, HEADERS_OF, Endpoints
from atriz_realtime.http.request_deadlines import Incoming, request_deadlines
from atriz_realtime.http.unread_answers import UnreadAnswers


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
    fallback: Callable[..., HttpToolsProtocol]
    """Makes uvicorn's own protocol, for everything else; takes this object, and what uvicorn
    passes."""
    proxies: TrustedProxies | None
    """The proxies to believe about the client's address; ``None``: those that uvicorn trusts."""
    unread: UnreadAnswers
    """Bounds how long answers wait for clients that do not read them."""
    requests: Deadlines[Incoming] = attrs.field(factory=request_deadlines)
    """The deadlines of first requests, of heads that have begun, and of parts of bodies."""
    response_heads: dict[int, tuple[Any, bytes]] = attrs.field(factory=dict)
    """By status: uvicorn's default headers, and the start of a response that has them."""

    def response(
        self, answer: HttpAnswer, defaults: list[tuple[bytes, bytes]], *, last: bool
    ) -> bytes:
        """Encode a response.

        :param defaults: uvicorn's default headers: a new list each second, for the date.
        :param last: whether the connection closes after it.
        """
        status, body = answer.status, answer.body
        cached = self.response_heads.get(status)
        if cached is None or cached[0] is not defaults:
            headers = [*defaults, *HEADERS_OF.get(status, HEADERS)]
            lines = [b"%b: %b\r\n" % header for header in headers]
            cached = defaults, STATUS_LINE[status] + b"".join(lines)
            self.response_heads[status] = cached
        return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (
            cached[1],
            b"".join([b"%b: %b\r\n" % header for header in answer.headers])
            if answer.headers
            else b"",
            b"connection: close\r\n" if last else b"",
            len(body),
            body,
        )
