"""The protocol for uvicorn's ``http=``: it decides which protocol answers each request.

Requests to endpoints are answered here, in one read and one write and without ASGI; those of
Socket.IO, for polling as for websockets, go straight to the engine.  Everything else, and every
request that is unusual in any way, goes to uvicorn's own protocol, as if this one were not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from atriz_realtime.engine.request.exchange import Exchange, Headers
from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.transports.connections import is_readable, request_on
from atriz_realtime.engine.transports.polling import PollingRequests
from atriz_realtime.engine.transports.uvicorn import UvicornWebSocket
from atriz_realtime.http.connection import EndpointConnection
from atriz_realtime.http.endpoints import Endpoints
from atriz_realtime.http.fallback import FallbackProtocol
from atriz_realtime.http.request_head import (
    FALLBACK_HEADER,
    end_of_head,
    is_whole,
    split,
)
from atriz_realtime.http.shared import Shared
from atriz_realtime.http.unread_answers import close_soon

if TYPE_CHECKING:
    from uvicorn.server import ServerState


class HttpExchange(Exchange):
    """A request that came in one read.

    :param send: called once with the exchange, the status, the content type, the body and the
        further headers.
    """

    __slots__ = ("_body", "_is_answered", "_is_sent", "_send", "_transport", "keep_alive")

    def __init__(
        self,
        request: Request,
        query: Mapping[str, str],
        body: bytes,
        keep_alive: bool,
        send: Callable[[HttpExchange, int, bytes, bytes, Headers], None],
        transport: Any,
    ) -> None:
        super().__init__(request, query)
        self._transport = transport
        self._body = body
        self._send = send
        self._is_answered = False
        self._is_sent = False
        self.keep_alive = keep_alive

    def read(self, limit: int, received: Callable[[bytes | None], object]) -> None:
        """Call back with the body at once."""
        received(self._body if len(self._body) <= limit else None)

    def respond(self, status: int, content_type: bytes, body: bytes, headers: Headers = ()) -> None:
        """Send the response at once."""
        self._is_answered = True
        self._send(self, status, content_type, body, headers)

    def is_unread(self) -> bool:
        """Whether there is no response yet, or a part of it waits in the connection's buffer.

        Once that was empty, what waits in it belongs to others, whose requests a proxy may send on
        the same connection.
        """
        if self._is_answered and not self._transport.get_write_buffer_size():
            self._is_sent = True
        return not self._is_sent


@attrs.define(eq=False, repr=False, weakref_slot=False)
class HttpProtocol(EndpointConnection):
    """One connection, which uvicorn's own protocol may share or take over.

    :param app_state: the state of the application's lifespan, for uvicorn's own protocol.
    """

    passes_on: ClassVar[bool] = False
    """Whether uvicorn's own protocol is given every request that is of no session here: the one
    that was passed to :func:`http_protocol` may give it to another process."""

    _app_state: dict[str, Any] = attrs.field(kw_only=True)
    _fallback: FallbackProtocol | None = None
    _previous_cycle: Any = None
    _exchange: HttpExchange | None = None  # the engine has not responded yet
    _unread: HttpExchange | None = None  # the last one whose response could not be sent at once

    # -- asyncio.Protocol ------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Pass the bytes to the protocol that reads their request."""
        if self._exchange is not None:  # a pipelined request: the client sends it again
            self._draining = True
            self._ignore(data)
        elif self._in_request or self._answering is not None:  # the rest of it, or pipelined ones
            self._feed(data)
        elif self._draining:
            self._ignore(data)
        elif self._fallback is not None and not self._between_requests():
            self._hand_over(self._fallback, data)
        else:
            self._dispatch(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what is queued, and tell the engine and uvicorn's own protocol."""
        super().connection_lost(exc)
        exchange, self._exchange = self._exchange, None
        if exchange is not None and exchange.abandoned is not None:
            exchange.abandoned()
        if self._fallback is not None:
            self._fallback.connection_lost(exc)

    def pause_writing(self) -> None:
        """Stop reading after the next answer, and tell uvicorn's own protocol."""
        super().pause_writing()
        if self._fallback is not None:
            self._fallback.pause_writing()

    def resume_writing(self) -> None:
        """Read again, and tell uvicorn's own protocol."""
        super().resume_writing()
        if self._fallback is not None:
            self._fallback.resume_writing()

    def shutdown(self) -> None:
        """Finish the request that has come, then close; uvicorn is stopping."""
        self._stopping = True
        if self._is_busy() or (not self._read_paused and is_readable(self._fd)):
            return
        if self._fallback is not None:
            self._fallback.shutdown()
        else:
            close_soon(self._transport)

    # -- dispatch --------------------------------------------------------------------------

    def _dispatch(self, data: bytes) -> None:
        """Pass a new request to the protocol that answers it."""
        if self._unread is not None:
            self._unread.is_unread()  # before the next response waits in the same buffer
            self._unread = None
        limit, state = self._config.limit_concurrency, self._server_state
        if limit is not None and (len(state.connections) >= limit or len(state.tasks) >= limit):
            self._fall_back(data)  # uvicorn's own protocol answers 503
            return
        if self.passes_on:
            endpoint = None
        elif self._cached is not None and self._read_cached(self._cached, data):
            self._stop_keep_alive_timer()
            return
        else:
            endpoint = self._shared.by_request_line.get(data[: data.find(b"\r\n") + 2])
        if endpoint is not None:
            end = end_of_head(data)
            if end >= 0 and FALLBACK_HEADER.search(data, 0, end) is None:
                self._stop_keep_alive_timer()
                self._read(endpoint, data)
                return
        elif (
            data.startswith(self._shared.socket_lines)
            and end_of_head(data) >= 0
            and self._pass_to_engine(data)
        ):
            return
        self._fall_back(data)

    def _stop_keep_alive_timer(self) -> None:
        """Stop the timer of uvicorn's own protocol, as a request to it would."""
        if self._fallback is not None:
            self._fallback._unset_keepalive_if_required()  # noqa: SLF001

    # -- uvicorn's own protocol ------------------------------------------------------------

    def _fall_back(self, data: bytes) -> None:
        """Pass bytes to uvicorn's own protocol: for one request, or with the connection."""
        self._stop_timer()
        fallback = self._fallback
        if fallback is None:
            fallback = self._fallback = self._shared.fallback(
                self._shared,
                config=self._config,
                server_state=self._server_state,
                app_state=self._app_state,
            )
            fallback.connection_made(self._transport)
            if self._write_paused:
                fallback.pause_writing()
            self._server_state.connections.discard(fallback)  # count the connection once
        if not is_whole(data):
            self._hand_over(fallback, data)
            return
        self._previous_cycle = fallback.cycle
        fallback.stopping = self._stopping
        fallback.data_received(data)

    def _hand_over(self, fallback: HttpToolsProtocol, data: bytes) -> None:
        """Give up the connection for good: where its requests end is not known here."""
        self._forget_head()
        self._server_state.connections.discard(self)
        self._server_state.connections.add(fallback)
        self._transport.set_protocol(fallback)
        fallback.data_received(data)

    def _between_requests(self) -> bool:
        """Return whether uvicorn's own protocol has answered the request that it was given."""
        cycle: Any = self._fallback.cycle if self._fallback is not None else None
        return cycle is not self._previous_cycle and bool(cycle.response_complete)

    # -- the engine ------------------------------------------------------------------------

    def _pass_to_engine(self, data: bytes) -> bool:
        """Pass on a request of Socket.IO; returns False for one that is not taken here.

        Whose session is unknown may be that of another worker.
        """
        parts = split(data)
        if parts is None:
            return False
        head, body = parts
        config, proxies = self._config, self._shared.proxies
        request = request_on(self._scheme, self._client, head, config, proxies)
        fields, query = request.fields, request.query()
        sid = query.get("sid")
        if fields.are_too_many:  # the engine refuses it unread, and the connection closes
            body = b""
        elif (
            sid is not None or self.passes_on
        ) and sid not in self._shared.websocket.sessions.by_id:
            return False
        elif query.get("transport") == UvicornWebSocket.name:
            if fields.opens_websocket and not body:
                self._open_websocket(request)
                return True
            return False
        elif fields.body_size != len(body):
            return False
        self._shared.requests.end(self)
        self._stop_keep_alive_timer()
        self._exchange = HttpExchange(
            request, query, body, fields.keep_alive, self._respond, self._transport
        )
        self._shared.polling.answer(self._exchange)
        return True

    def _respond(
        self,
        exchange: HttpExchange,
        status: int,
        content_type: bytes,
        body: bytes,
        headers: Headers,
    ) -> None:
        if self._exchange is not exchange:  # the client has gone
            return
        self._exchange = None
        self._server_state.total_requests += 1
        last = self._draining or self._is_leaving() or not exchange.keep_alive
        defaults = self._server_state.default_headers
        response = self._shared.response(status, content_type, body, headers, defaults, last=last)
        self._send(response, last=last)
        if exchange.is_unread():
            self._unread = exchange

    def _is_busy(self) -> bool:
        return self._exchange is not None or super()._is_busy()

    def _open_websocket(self, request: Request) -> None:
        """Pass on the handshake of a websocket."""
        self._server_state.connections.discard(self)
        self._stop_timer()
        self._stop_keep_alive_timer()
        self._shared.unread.end(self._transport)
        websocket = self._shared.websocket(
            config=self._config, server_state=self._server_state, app_state=self._app_state
        )
        websocket.connection_made(self._transport)
        self._transport.set_protocol(websocket)
        websocket.accept(request)


def http_protocol(
    endpoints: Endpoints,
    websocket: type[UvicornWebSocket],
    polling: PollingRequests,
    fallback: type[HttpToolsProtocol] | None = None,
    proxies: TrustedProxies | None = None,
) -> type[asyncio.Protocol]:
    """Make the class for uvicorn's ``http=``, which uvicorn instantiates for each connection.

    :param fallback: serves everything else; default: uvicorn's own protocol.
    :param proxies: the proxies to believe, instead of those that uvicorn trusts.
    """
    # what was passed comes first: it may give a connection away before a request is read
    bases = (FallbackProtocol,) if fallback is None else (fallback, FallbackProtocol)
    shared = Shared(
        endpoints=endpoints,
        by_request_line={
            f"{method} {path} HTTP/1.1\r\n".encode(): endpoint
            for (method, path), endpoint in endpoints.by_route.items()
        },
        websocket=websocket,
        polling=polling,
        socket_lines=tuple(f"{method} {websocket.path}?".encode() for method in ("GET", "POST")),
        fallback=type("BoundFallback", bases, {}),
        proxies=proxies,
        unread=endpoints.unread,
    )

    class BoundHttpProtocol(HttpProtocol):
        __slots__ = ()

        def __init__(
            self,
            config: uvicorn.Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(shared, config, server_state, app_state=app_state)

    return BoundHttpProtocol
