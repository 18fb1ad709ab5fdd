"""The front door: where connections come in, on uvicorn.

uvicorn's ``http=`` takes a protocol class. Ours looks at each request that comes: calls of
an endpoint are answered here, in one read and one write and without ASGI; new websockets
of Socket.IO go straight to their lane; everything else is uvicorn's own protocol's, as if
nothing stood before it. A request that is unusual in any way is everything else.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from atriz_realtime.api.records import Endpoint
from atriz_realtime.engine.request.proxies import TrustedProxies
from atriz_realtime.engine.transports.uvicorn import UvicornWebSocket, request_on
from atriz_realtime.http.connection import EndpointConnection, patience_for_newcomers
from atriz_realtime.http.endpoints import Endpoints
from atriz_realtime.http.request_head import END, is_handshake, is_unusual, is_whole

if TYPE_CHECKING:
    from uvicorn.server import ServerState


class HttpProtocol(EndpointConnection):
    """One connection."""

    __slots__ = ("_ordinary", "_previous_cycle", "_state")

    lane: ClassVar[type[UvicornWebSocket]]
    ordinary: ClassVar[type[HttpToolsProtocol]]
    socket_call: ClassVar[bytes]
    """How a handshake of Socket.IO begins."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state)
        self._state = app_state
        self._ordinary: HttpToolsProtocol | None = None
        self._previous_cycle: Any = None

    # -- asyncio.Protocol ------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes to whoever answers them."""
        if self._receiving or self._serving is not None:  # the rest of a call, or further ones
            self._feed(data)
        elif self._deaf:
            pass
        elif self._ordinary is not None and not self._between_requests():
            self._hand_over(self._ordinary, data)
        else:
            self._begin(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end."""
        super().connection_lost(exc)
        if self._ordinary is not None:
            self._ordinary.connection_lost(exc)

    def pause_writing(self) -> None:
        """Take note that the client does not read."""
        super().pause_writing()
        if self._ordinary is not None:
            self._ordinary.pause_writing()

    def resume_writing(self) -> None:
        """Take note that it does again."""
        super().resume_writing()
        if self._ordinary is not None:
            self._ordinary.resume_writing()

    def shutdown(self) -> None:
        """Answer what is under way, and close: uvicorn stops."""
        self._stopping = True
        if self._serving is not None or self._receiving:
            return
        if self._ordinary is not None:
            self._ordinary.shutdown()
        else:
            self._transport.close()

    # -- who answers -----------------------------------------------------------------------

    def _begin(self, data: bytes) -> None:
        """Look at how a request begins."""
        most = self._config.limit_concurrency
        if most is not None and self._is_full(most):
            self._pass_on(data)  # uvicorn's own protocol says so
            return
        if self._take_again(data):
            self._stop_other_timer()
            return
        endpoint = self.calls.get(data[: data.find(b"\r\n") + 2])
        if endpoint is not None:
            end = data.find(END)
            if end >= 0 and not is_unusual(data, end):
                self._call(endpoint, data)
                return
        elif data.startswith(self.socket_call) and self._opens_websocket(data):
            return
        self._pass_on(data)

    def _is_full(self, most: int) -> bool:
        state = self._server_state
        return len(state.connections) >= most or len(state.tasks) >= most

    def _pass_on(self, data: bytes) -> None:
        """Let uvicorn's own protocol have a request, or whatever it is."""
        self._stop_timer()
        ordinary = self._ordinary
        if ordinary is None:
            ordinary = self._ordinary = self.ordinary(
                config=self._config, server_state=self._server_state, app_state=self._state
            )
            ordinary.connection_made(self._transport)
            if self._full:
                ordinary.pause_writing()
            self._server_state.connections.discard(ordinary)  # it is one connection with ours
        if not is_whole(data):
            self._hand_over(ordinary, data)
            return
        self._previous_cycle = ordinary.cycle
        ordinary.data_received(data)

    def _hand_over(self, ordinary: HttpToolsProtocol, data: bytes) -> None:
        """Let it have the connection for good: where its requests end is not known here."""
        self._server_state.connections.discard(self)
        self._server_state.connections.add(ordinary)
        self._transport.set_protocol(ordinary)
        ordinary.data_received(data)

    def _between_requests(self) -> bool:
        """Whether uvicorn's protocol has answered the one request that it was given."""
        cycle: Any = self._ordinary.cycle if self._ordinary is not None else None
        return cycle is not self._previous_cycle and bool(cycle.response_complete)

    def _opens_websocket(self, data: bytes) -> bool:
        """Hand a handshake for a new session to the lane, if that is what it is."""
        line = data[: data.find(b"\r\n")]
        if b"transport=websocket" not in line or b"sid=" in line:
            return False
        if not is_handshake(data):
            return False
        self._server_state.connections.discard(self)
        self._stop_timer()
        self._stop_other_timer()
        lane = self.lane(
            config=self._config, server_state=self._server_state, app_state=self._state
        )
        lane.connection_made(self._transport)
        self._transport.set_protocol(lane)
        head = data[: -len(END) + 2]
        lane.accept(request_on(self._transport, self._client, head, self._config, self.proxies))
        return True

    # -- calls of endpoints ----------------------------------------------------------------

    def _call(self, endpoint: Endpoint, data: bytes) -> None:
        self.newcomers.end(self)
        self._stop_other_timer()
        self._take(endpoint, data)

    def _stop_other_timer(self) -> None:
        """Stop what uvicorn's own protocol waits with, as a request does."""
        if self._ordinary is not None:
            self._ordinary._unset_keepalive_if_required()  # noqa: SLF001


def http_protocol(
    endpoints: Endpoints,
    lane: type[UvicornWebSocket],
    ordinary: type[HttpToolsProtocol] = HttpToolsProtocol,
    trusted: TrustedProxies | None = None,
) -> type[asyncio.Protocol]:
    """What to hand to uvicorn as ``http=``.

    :param ordinary: uvicorn's protocol, for everything else.
    :param trusted: the proxies to believe, instead of those that uvicorn does.
    """
    doors, lanes, others, arriving = endpoints, lane, ordinary, patience_for_newcomers()

    class BoundHttpProtocol(HttpProtocol):
        __slots__ = ()

        endpoints = doors
        lane = lanes
        ordinary = others
        proxies = trusted
        calls = {  # noqa: RUF012  # of the class, and never changed
            f"{method} {path} HTTP/1.1\r\n".encode(): endpoint
            for (method, path), endpoint in endpoints.by_call.items()
        }
        socket_call = f"GET {lane.path}?".encode()
        newcomers = arriving
        heads = {}  # noqa: RUF012  # kept for all connections

    return BoundHttpProtocol
