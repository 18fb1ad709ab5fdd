"""The protocol for uvicorn's ``http=``: it decides which protocol answers each request.

Requests to endpoints are answered here, in one read and one write and without ASGI; new
websockets of Socket.IO go straight to the engine.  Everything else, and every request that
is unusual in any way, goes to uvicorn's own protocol, as if this one were not there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.engine.transports.connections import request_on
from atriz_realtime.engine.transports.uvicorn import UvicornWebSocket
from atriz_realtime.http.connection import EndpointConnection, Shared
from atriz_realtime.http.endpoints import Endpoints
from atriz_realtime.http.fallback import FallbackProtocol
from atriz_realtime.http.request_head import END, FALLBACK_HEADER, is_handshake, is_whole

if TYPE_CHECKING:
    from uvicorn.server import ServerState


@attrs.define(eq=False, repr=False, weakref_slot=False)
class HttpProtocol(EndpointConnection):
    """One connection, which uvicorn's own protocol may share or take over.

    :param app_state: the state of the application's lifespan, for uvicorn's own protocol.
    """

    _app_state: dict[str, Any] = attrs.field(kw_only=True)
    _fallback: HttpToolsProtocol | None = None
    _previous_cycle: Any = None

    # -- asyncio.Protocol ------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Pass the bytes to the protocol that reads their request."""
        if self._in_request or self._answering is not None:  # the rest of it, or pipelined ones
            self._feed(data)
        elif self._draining:
            pass
        elif self._fallback is not None and not self._between_requests():
            self._hand_over(self._fallback, data)
        else:
            self._dispatch(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what is queued, and tell uvicorn's own protocol."""
        super().connection_lost(exc)
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
        """Finish the request that is being read or answered, then close; uvicorn is stopping."""
        self._stopping = True
        if self._answering is not None or self._in_request:
            return
        if self._fallback is not None:
            self._fallback.shutdown()
        else:
            self._transport.close()

    # -- dispatch --------------------------------------------------------------------------

    def _dispatch(self, data: bytes) -> None:
        """Pass a new request to the protocol that answers it."""
        limit, state = self._config.limit_concurrency, self._server_state
        if limit is not None and (len(state.connections) >= limit or len(state.tasks) >= limit):
            self._fall_back(data)  # uvicorn's own protocol answers 503
            return
        if self._read_cached(data):
            self._stop_keep_alive_timer()
            return
        endpoint = self._shared.by_request_line.get(data[: data.find(b"\r\n") + 2])
        if endpoint is not None:
            end = data.find(END)
            if end >= 0 and FALLBACK_HEADER.search(data, 0, end) is None:
                self._stop_keep_alive_timer()
                self._read(endpoint, data)
                return
        elif data.startswith(self._shared.socket_line) and self._opens_websocket(data):
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

    # -- websockets ------------------------------------------------------------------------

    def _opens_websocket(self, data: bytes) -> bool:
        """Give a new session's handshake to the engine; returns whether it is one."""
        line = data[: data.find(b"\r\n")]
        if b"transport=websocket" not in line or b"sid=" in line:
            return False
        if not is_handshake(data):
            return False
        self._server_state.connections.discard(self)
        self._stop_timer()
        self._stop_keep_alive_timer()
        websocket = self._shared.websocket(
            config=self._config, server_state=self._server_state, app_state=self._app_state
        )
        websocket.connection_made(self._transport)
        self._transport.set_protocol(websocket)
        head = data[: -len(END) + 2]
        proxies = self._shared.proxies
        websocket.accept(request_on(self._transport, self._client, head, self._config, proxies))
        return True


def http_protocol(
    endpoints: Endpoints,
    websocket: type[UvicornWebSocket],
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
        socket_line=f"GET {websocket.path}?".encode(),
        fallback=type("BoundFallback", bases, {}),
        proxies=proxies,
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
