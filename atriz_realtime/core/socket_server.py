"""python-socketio's server on our rooms, outboxes and packets, with a stricter front.

The events that the gateway registers run in order, inside the connection that sent
them, without a task each.  Handlers that a host application puts on ``socket_io``
itself run as python-socketio runs them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import engineio
import socketio
import socketio.exceptions
import socketio.packet

from atriz_realtime.api.errors import RealtimeError
from atriz_realtime.core.incidents import Incidents
from atriz_realtime.core.outbox import Outbox
from atriz_realtime.core.packets import Packet
from atriz_realtime.core.rooms import DEFAULT_NAMESPACE, Rooms
from atriz_realtime.core.tracking import TrackingSource
from atriz_realtime.host.config import RealtimeConfig

Handler = Callable[..., Awaitable[Any]]
"""Takes the sid and the event's arguments; returns the acknowledgement."""


class Edge(Protocol):
    """What stands at the server's own edge, before any handler of the host's."""

    async def connected(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        """Accept a connection, or raise python-socketio's ``ConnectionRefusedError``."""

    def disconnected(self, sid: str) -> None:
        """Forget a connection; called once for each that was accepted."""

    def admit(self, sid: str) -> bool:
        """Whether the socket may send one more event now."""


RESERVED_EVENTS = frozenset({"connect", "connect_error", "disconnect"})
"""Names that a client must not send as events: they are the server's own."""


class Engine(engineio.AsyncServer):
    """python-engineio's server with bounded, conflating outboxes for queues."""

    max_frames = 256
    max_lag = 60.0
    incidents: Incidents
    session_prefix = ""
    """How session ids begin, where several processes must tell theirs apart."""

    def generate_id(self) -> str:
        """A new session id."""
        return f"{self.session_prefix}{super().generate_id()}"

    def create_queue(self, *_: Any, **__: Any) -> Outbox:
        """Make the outbox of a new session."""
        return Outbox(max_frames=self.max_frames, max_lag=self.max_lag, overflow=self._cut)

    def _cut(self, outbox: Outbox, reason: str) -> None:
        for eio_sid, socket in self.sockets.items():
            if socket.queue is outbox:
                self.incidents.report("slow client cut", reason)
                self.start_background_task(self.abort, eio_sid)
                return

    async def abort(self, eio_sid: str) -> None:
        """Close a session without waiting for its client to take anything."""
        socket = self.sockets.pop(eio_sid, None)
        if socket is not None:
            await socket.close(wait=False, abort=True)
            socket.queue.put_nowait(None)  # ends the writer


class SocketServer(socketio.AsyncServer):
    """The Socket.IO server behind ``server.socket_io``.

    :param tracking_source: lets ``TrackingService(redis, socket_io)`` find its server.
    """

    def __init__(
        self,
        config: RealtimeConfig,
        rooms: Rooms,
        incidents: Incidents,
        tracking_source: TrackingSource,
    ) -> None:
        super().__init__(
            client_manager=rooms,
            serializer=Packet,
            async_mode="asgi",
            ping_interval=config.ping_interval / 1000,
            ping_timeout=config.ping_timeout / 1000,
            max_http_buffer_size=config.max_payload,
            cors_allowed_origins=engine_origins(config.cors_origin),
        )
        self.eio.max_frames = config.max_pending_frames
        self.eio.max_lag = config.max_lag
        self.eio.incidents = incidents
        self.tracking_source = tracking_source
        self.edge: Edge | None = None
        self._connect_timeout = config.connect_timeout
        self._incidents = incidents
        self._own_handlers: dict[str, Handler] = {}
        self._unconnected: dict[str, asyncio.TimerHandle] = {}

    def on_event(self, event: str, handler: Handler) -> None:
        """Handle an event of the default namespace in order, without a task."""
        self._own_handlers[event] = handler

    async def close_session(self, eio_sid: str) -> None:
        """Close the Engine.IO session of a client that broke the protocol."""
        await self.eio.disconnect(eio_sid)

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> Any:
        result = await super()._handle_eio_connect(eio_sid, environ)
        if self._connect_timeout:
            self._unconnected[eio_sid] = asyncio.get_running_loop().call_later(
                self._connect_timeout, self._never_connected, eio_sid
            )
        return result

    def _never_connected(self, eio_sid: str) -> None:
        if self._unconnected.pop(eio_sid, None) is not None:
            self._incidents.report("session never connected", "closed")
            self.start_background_task(self.eio.disconnect, eio_sid)

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        await super()._handle_connect(eio_sid, namespace, data)
        namespace = namespace or DEFAULT_NAMESPACE
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if sid is None:
            return
        self._cancel_connect_timer(eio_sid)
        if eio_sid not in self.environ:  # it left while it was being let in
            await self._trigger_event("disconnect", namespace, sid, self.reason.TRANSPORT_CLOSE)
            await self.manager.disconnect(sid, namespace=namespace)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        self._cancel_connect_timer(eio_sid)
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None:  # ends a poll or a writer that waits, after what is still sent
            asyncio.get_running_loop().call_soon(socket.queue.put_nowait, None)
        await super()._handle_eio_disconnect(eio_sid, reason)

    def _cancel_connect_timer(self, eio_sid: str) -> None:
        timer = self._unconnected.pop(eio_sid, None)
        if timer is not None:
            timer.cancel()

    async def _handle_event(
        self,
        eio_sid: str,
        namespace: str | None,
        id: int | None,  # noqa: A002  # their name
        data: Any,
    ) -> None:
        namespace = namespace or DEFAULT_NAMESPACE
        if not isinstance(data, list) or not data or not isinstance(data[0], str):
            self._incidents.report("malformed event", "the session was closed")
            await self.close_session(eio_sid)
            return
        event = data[0]
        if event in RESERVED_EVENTS:
            self._incidents.report("reserved event", "the session was closed")
            await self.close_session(eio_sid)
            return
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if sid is None or not self.manager.is_connected(sid, namespace):
            return
        if namespace != DEFAULT_NAMESPACE:
            await super()._handle_event(eio_sid, namespace, id, data)
            return
        if self.edge is not None and not self.edge.admit(sid):
            return
        arguments = data[1:]
        wildcard = f"{event.partition(':')[0]}:*"
        handler = None if event == wildcard else self._own_handlers.get(event)
        if handler is None:
            handler = self._own_handlers.get(wildcard)
            arguments = data
        if handler is None:
            await super()._handle_event(eio_sid, namespace, id, data)
            return
        answer = await self._answer(handler, sid, event, arguments)
        if id is not None:
            await self._send_packet(
                eio_sid,
                self.packet_class(socketio.packet.ACK, namespace=namespace, id=id, data=[answer]),
            )

    async def _trigger_event(self, event: str, namespace: str, *arguments: Any) -> Any:
        """Let the edge see connections first, so that no handler of the host's replaces it."""
        if event == "connect":
            return await self._let_in(namespace, *arguments)
        try:
            return await super()._trigger_event(event, namespace, *arguments)
        finally:
            if event == "disconnect" and namespace == DEFAULT_NAMESPACE and self.edge is not None:
                self.edge.disconnected(arguments[0])

    async def _let_in(self, namespace: str, sid: str, environ: dict[str, Any], *auth: Any) -> Any:
        """Ask the edge, then the host's handler; one that fails refuses the connection."""
        edge = self.edge if namespace == DEFAULT_NAMESPACE else None
        if edge is not None and auth:
            await edge.connected(sid, environ, *auth)
        keep = False
        try:
            result = await super()._trigger_event("connect", namespace, sid, environ, *auth)
            keep = result is not False
        except (ConnectionRefusedError, socketio.exceptions.ConnectionRefusedError):
            raise
        except Exception as error:
            if auth == (None,) and isinstance(error, TypeError):
                keep = True  # python-socketio asks again, without auth, for older handlers
                raise
            self._incidents.report(
                "connect handler failed", f"{namespace}: {type(error).__name__}: {error}"
            )
            raise socketio.exceptions.ConnectionRefusedError(
                RealtimeError.default_message, {"code": RealtimeError.code}
            ) from error
        finally:
            if edge is not None and not keep:
                edge.disconnected(sid)
        return result

    async def _answer(self, handler: Handler, sid: str, event: str, arguments: list[Any]) -> Any:
        """Run a handler; a refusal becomes ``error`` and a negative acknowledgement."""
        try:
            return await handler(sid, *arguments)
        except RealtimeError as refusal:
            error = refusal
            self._incidents.report(
                f"refused {refusal.code}", f"{event}: {refusal.message}", level=logging.INFO
            )
        except Exception as failure:
            error = RealtimeError()
            self._incidents.report(
                "event handler failed", f"{event}: {type(failure).__name__}: {failure}"
            )
        self.manager.send(sid, "error", error.message)
        return error.to_wire()


def engine_origins(origins: tuple[str, ...]) -> Any:
    """The configured origins as python-engineio takes them; ``None``: the server's own."""
    if not origins:
        return None
    return "*" if "*" in origins else list(origins)
