"""python-socketio's server on this package's engine, room manager and packets.

It checks every packet before a handler sees it, and runs the package's own events without
a task each: see :class:`~atriz_realtime.core.clients.sockets.EventHandlers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import socketio
import socketio.exceptions
import socketio.packet

from atriz_realtime.api.errors import InvalidRequest, NotAuthorized, RateLimited, RealtimeError
from atriz_realtime.core.clients.events import OwnEvents
from atriz_realtime.core.clients.gateway import Gateway, refused_connection
from atriz_realtime.core.clients.socket_engine import Engine, Requests
from atriz_realtime.core.clients.sockets import EventHandlers
from atriz_realtime.core.hub.packets import InvalidPayload, SocketIOPacket, packet_class
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, RoomManager
from atriz_realtime.core.publish.service import TrackingParts
from atriz_realtime.core.runtime.eager import run_eagerly
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.token_bucket import (
    NAMESPACE_COST,
    PAYLOAD_COST,
    REFUSAL_COST,
    UNASKED_COST,
    PenaltyBudget,
)
from atriz_realtime.engine.deadlines import Deadlines
from atriz_realtime.engine.protocol.packets import message
from atriz_realtime.engine.request.errors import by
from atriz_realtime.engine.session import Session
from atriz_realtime.plugin_system.config import RealtimeConfig

RESERVED_EVENTS = frozenset({"connect", "connect_error", "disconnect"})
"""Events that only the server may emit."""


class SocketServer(socketio.AsyncServer):
    """The Socket.IO server behind ``server.socket_io``.

    :param gateway: accepts connections to the default namespace, and limits their events.
    :param own_handlers: the handlers of the package's own events and those of plugins.
    :param tracking_parts: what ``TrackingService(redis, socket_io)`` uses of the server.
    :param ready: called before each handshake; returns what it has to wait for, or ``None``.
    :param session_prefix: the beginning of each Engine.IO session id.
    """

    def __init__(
        self,
        config: RealtimeConfig,
        rooms: RoomManager,
        gateway: Gateway,
        own_handlers: EventHandlers,
        incidents: Incidents,
        tracking_parts: TrackingParts,
        ready: Callable[[], Awaitable[None] | None],
        session_prefix: str,
    ) -> None:
        self._gateway = gateway
        self._own_handlers = own_handlers
        self._own_events = OwnEvents(rooms, gateway, own_handlers, incidents)
        self._incidents = incidents
        self._unconnected = Deadlines(config.connect_timeout, self._never_connected)
        self._make_engine = lambda **_: Engine(
            config,
            self._unconnected.begin,
            self._receive,
            self._unasked,
            incidents,
            ready,
            session_prefix,
        )
        super().__init__(client_manager=rooms, serializer=packet_class(config), async_mode="asgi")
        self.environ = Requests(self.eio)
        self.manager_initialized = True
        self._sent_away: dict[str, set[str]] = {}  # the namespaces that sessions had to leave
        self.tracking_parts = tracking_parts
        self._errors = PenaltyBudget(config.max_errors_per_second, config.max_errors_burst)
        self._host_events = PenaltyBudget(config.max_events_per_second, config.max_events_burst)

    def _engineio_server_class(self) -> Callable[..., Engine]:
        """What makes the engine, without the options that python-socketio passes."""
        return self._make_engine

    def _never_connected(self, eio_sid: str, _: float) -> None:
        self._incidents.report("session never connected", "closed")
        self.start_background_task(self.eio.disconnect, eio_sid)

    async def _handle_eio_connect(self, eio_sid: str, environ: Any) -> None:
        """Do nothing: :meth:`Engine.call_connect` accepts sessions."""

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        self._unconnected.end(eio_sid)
        self._binary_packet.pop(eio_sid, None)
        for namespace in list(self.manager.get_namespaces()):
            await self._handle_disconnect(eio_sid, namespace, reason)
        self._sent_away.pop(eio_sid, None)
        self._errors.forget(eio_sid)
        self._host_events.forget(eio_sid)

    async def disconnect(
        self, sid: str, namespace: str | None = None, ignore_queue: bool = False
    ) -> None:
        """Disconnect a client from a namespace.

        A session that has left its last one is closed unless it connects to one in time.
        """
        namespace = namespace or DEFAULT_NAMESPACE
        eio_sid = self.manager.eio_sid_from_sid(sid, namespace)
        if self.manager.is_connected(sid, namespace):
            self._sent_away.setdefault(eio_sid, set()).add(namespace)
        await super().disconnect(sid, namespace, ignore_queue)
        if eio_sid is not None:
            self._restart_connect_timeout(eio_sid)

    async def _handle_disconnect(
        self, eio_sid: str, namespace: str | None, reason: str | None = None
    ) -> None:
        await super()._handle_disconnect(eio_sid, namespace, reason)
        self._restart_connect_timeout(eio_sid)

    def _restart_connect_timeout(self, eio_sid: str) -> None:
        """Start the connect timeout of a session that is in no namespace any more."""
        session = self.eio.sockets.get(eio_sid)
        if session is None or not session.is_open:
            return
        namespaces = self.manager.get_namespaces()
        if all(self.manager.sid_from_eio_sid(eio_sid, each) is None for each in namespaces):
            self._unconnected.begin(eio_sid)

    async def abort_all(self) -> None:
        """Close every connection as a server does that goes away: clients reconnect.

        After a Socket.IO disconnect they would not.
        """
        engine = self.eio
        await asyncio.gather(
            *(engine.abort(eio_sid) for eio_sid in list(engine.sockets)), return_exceptions=True
        )

    # -- errors of clients -----------------------------------------------------------------

    def _fault(self, session: Session, cost: int) -> bool:
        """Charge a client's error to its session; returns whether the client is told about it."""
        return self._take(self._errors, session, cost, "misbehaving client cut")

    def _take(self, budget: PenaltyBudget, session: Session, cost: int, cut: str) -> bool:
        """Take from a session's budget, or cut the session; returns whether it was within it."""
        spent = budget.spend(session.sid, cost, self._unconnected.loop.time())
        if spent == "over":
            self._incidents.report(cut, "it went over its budget")
            self.start_background_task(self.disconnect_session, session.sid)
        return spent == "within"

    def _unasked(self, session: Session) -> None:
        """Charge a packet that nobody waits for."""
        self._fault(session, UNASKED_COST)

    def count_errors(self, sid: str, count: int, namespace: str = DEFAULT_NAMESPACE) -> None:
        """Charge errors that an answer to a client reports."""
        session = self.manager.session(sid, namespace)
        if session is not None and count:
            self._fault(session, count * REFUSAL_COST)

    async def disconnect_session(self, eio_sid: str) -> None:
        """Disconnect a session from every namespace, and close it."""
        for namespace in list(self.manager.get_namespaces()):
            sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
            if sid is not None:
                await self.disconnect(sid, namespace, ignore_queue=True)
        await self.eio.disconnect(eio_sid)

    def _refuse_payload(self, session: Session, error: InvalidPayload) -> None:
        """Answer an event whose payload cannot be decoded.

        :raises ValueError: when the client is not connected to the namespace, so that
            nothing could be answered.
        """
        sid = self.manager.sid_from_eio_sid(session.sid, DEFAULT_NAMESPACE)
        if error.namespace not in (None, DEFAULT_NAMESPACE) or sid is None:
            raise error
        refusal = InvalidRequest()
        self._incidents.refused(str(error), refusal, session.request.address)
        if self._fault(session, PAYLOAD_COST):
            self.manager.send(sid, "error", refusal.message)
            self._own_events.acknowledge(session, error.number, refusal.to_wire())

    # -- packets ---------------------------------------------------------------------------

    def _receive(self, session: Session, data: str | bytes) -> Awaitable[None] | None:
        """Handle a packet, or an attachment of one; returns an awaitable if it has not finished.

        :raises ValueError: when a client must not send it.
        """
        eio_sid = session.sid
        packet: SocketIOPacket | None = self._binary_packet.get(eio_sid)
        if packet is None:
            if isinstance(data, bytes) and self._sent_away.get(eio_sid):
                self._unasked(session)  # an attachment of a packet that was dropped
                return None
            try:
                packet = self.packet_class(encoded_packet=data or " ", binary=False)
            except InvalidPayload as error:
                self._refuse_payload(session, error)
                return None
            if packet.attachment_count:
                self._sid_of(session, packet.namespace or DEFAULT_NAMESPACE)
                self._binary_packet[eio_sid] = packet
                return None
        elif packet.add_attachment(data):
            del self._binary_packet[eio_sid]
        else:
            return None
        kind, namespace = packet.packet_type, packet.namespace or DEFAULT_NAMESPACE
        if kind == socketio.packet.CONNECT:
            return run_eagerly(self._connect(session, namespace, packet.data))
        sid = self._sid_of(session, namespace)
        if sid is None:
            self._unasked(session)
            return None
        handling: Coroutine[Any, Any, None]
        if kind == socketio.packet.DISCONNECT:
            self._fault(session, REFUSAL_COST)
            handling = self._handle_disconnect(eio_sid, namespace, self.reason.CLIENT_DISCONNECT)
        elif kind in (socketio.packet.ACK, socketio.packet.BINARY_ACK):
            if not self.manager.awaits_answer(sid, packet.id):
                self._unasked(session)
                return None
            handling = self._handle_ack(eio_sid, namespace, packet.id, packet.data)
        elif kind == socketio.packet.BINARY_EVENT and self._refuses_bytes(packet):
            reason = "an event that takes no attachments"
            self._refuse_payload(session, InvalidPayload(reason, packet.namespace, packet.id))
            return None
        else:
            event: Any = packet.data
            handling = self._event(session, sid, namespace, event, packet.id)
            if namespace == DEFAULT_NAMESPACE and self._own_handlers.is_eager(event[0]):
                return run_eagerly(handling)
        return handling

    def _refuses_bytes(self, packet: SocketIOPacket) -> bool:
        """Whether an event may have no attachments; the host's own events may."""
        is_default = packet.namespace in (None, DEFAULT_NAMESPACE)
        event = str(packet.data[0]) if packet.data else ""
        return is_default and self._own_handlers.refuses_bytes(event)

    def _sid_of(self, session: Session, namespace: str) -> str | None:
        """The sid of a session in the namespace of a packet.

        ``None`` when the server has disconnected it: the client may not have known when it sent
        the packet.

        :raises ValueError: when it is not connected to that namespace.
        """
        sid: str | None = self.manager.sid_from_eio_sid(session.sid, namespace)
        if sid is None and namespace not in self._sent_away.get(session.sid, ()):
            raise ValueError("a packet before the connection to its namespace")
        return sid

    # -- connections -----------------------------------------------------------------------

    async def _connect(self, session: Session, namespace: str, auth: Any) -> None:
        """Connect a client to a namespace: the gateway decides first, then the host's handler.

        :raises ValueError: when it is connected to that namespace already.
        """
        if not self._is_namespace(namespace):
            self._refuse(session, namespace, {"message": "Invalid namespace"})
            return
        sid = self.manager.register(session.sid, namespace)
        if sid is None:
            raise ValueError("a second connection to one namespace")
        self._sent_away.get(session.sid, set()).discard(namespace)
        in_default = namespace == DEFAULT_NAMESPACE
        is_counted = False
        reason: Any = None
        try:
            if in_default:
                await self._gateway.connected(sid, session.request, auth)
                is_counted = True
            # the admin UI puts its function in place of the class's
            if self._has_handler("connect", namespace) or "_trigger_event" in vars(self):
                reason = await self._ask_host(session, namespace, sid, auth)
        except socketio.exceptions.ConnectionRefusedError as refusal:
            reason = refusal.error_args
        except ConnectionRefusedError:
            reason = {"message": "Connection refused by server"}
        except Exception as error:
            details = f"{namespace}: {type(error).__name__}: {error}"
            self._incidents.report("connect handler failed", details, error=error)
            reason = refused_connection(RealtimeError()).error_args
        if reason is not None:
            self._refuse(session, namespace, reason)
            if is_counted:
                self._gateway.disconnected(sid)
            await self.manager.disconnect(sid, namespace)
            return
        self._unconnected.end(session.sid)
        where = "" if in_default else f"{namespace},"
        welcome = message(f'{socketio.packet.CONNECT}{where}{{"sid":"{sid}"}}')
        self.manager.accept(sid, namespace, welcome)
        if not session.is_open:  # it was closed meanwhile
            await self._trigger_event("disconnect", namespace, sid, self.reason.TRANSPORT_CLOSE)
            await self.manager.disconnect(sid, namespace=namespace)

    def _is_namespace(self, namespace: str) -> bool:
        if namespace == DEFAULT_NAMESPACE:
            return True
        known = (self.handlers, self.namespace_handlers, self.namespaces)
        return self.namespaces == "*" or any(namespace in names for names in known)

    def _has_handler(self, event: str, namespace: str) -> bool:
        """Whether the host handles an event, or all of a namespace."""
        handler, _ = self._get_event_handler(event, namespace, ())
        if handler is None:
            handler, _ = self._get_namespace_handler(namespace, ())
        return handler is not None

    async def _ask_host(self, session: Session, namespace: str, sid: str, auth: Any) -> Any:
        """Call the host's ``connect`` handler; returns why it refuses, or ``None``."""
        environ = self.environ.get(session.sid) or session.request.environ()
        try:
            answer = await self._trigger_event("connect", namespace, sid, environ, auth or None)
        except TypeError:
            if auth:
                raise
            answer = await self._trigger_event(
                "connect", namespace, sid, environ
            )  # a handler without auth
        if answer is False:
            return socketio.exceptions.ConnectionRefusedError().error_args
        return None

    def _refuse(self, session: Session, namespace: str, reason: Any) -> None:
        packet = SocketIOPacket(socketio.packet.CONNECT_ERROR, data=reason, namespace=namespace)
        session.put(message(packet.encode()))
        data = reason.get("data") if isinstance(reason, dict) else None
        code = data.get("code", "") if isinstance(data, dict) else ""
        if code:
            self._incidents.refusals.count(str(code))
        self._incidents.report(
            "connection refused",
            f"{namespace!r} {code}{by(session.request.address)}",
            reason=str(code),
        )
        self._fault(session, NAMESPACE_COST)

    async def _trigger_event(self, event: str, namespace: str, *arguments: Any) -> Any:
        """Call the host's handlers; the gateway forgets a socket whatever they do."""
        try:
            return await super()._trigger_event(event, namespace, *arguments)
        finally:
            if event == "disconnect" and namespace == DEFAULT_NAMESPACE:
                self._gateway.disconnected(arguments[0])

    # -- events ----------------------------------------------------------------------------

    async def _event(
        self, session: Session, sid: str, namespace: str, data: list[Any], number: int | None
    ) -> None:
        """Handle an event, unless its client has left the namespace or sends too many.

        :param data: the event's name, followed by its arguments.
        :param number: the number of its acknowledgement.
        :raises ValueError: for an event that only the server may emit.
        """
        event = data[0]
        if event in RESERVED_EVENTS:
            raise ValueError(f"the event {event!r} is reserved")
        if not self.manager.is_connected(sid, namespace):
            return
        if namespace == DEFAULT_NAMESPACE:
            if not self._gateway.admit(sid):
                self._own_events.acknowledge(session, number, RateLimited().to_wire())
                return
            handler, arguments = self._own_handlers.find(event, data)
            if handler is None and self._gateway.is_single_entity(sid):
                handler = _not_authorized
            if handler is not None:
                handling = handler(sid, *arguments)
                await self._own_events.answer(session, sid, number, event, handling)
                return
        elif not self._take(self._host_events, session, 1, "flooding client cut"):
            return
        if number is not None and not self._has_handler(event, namespace):
            self._own_events.refuse_unknown(session, sid, namespace, number, event)
            return
        await self._handle_event(session.sid, namespace, number, data)


async def _not_authorized(*_: Any) -> None:
    raise NotAuthorized
