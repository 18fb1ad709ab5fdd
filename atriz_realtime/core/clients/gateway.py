"""The sockets of the default namespace: connections, identities, limits, and plugins' events."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import socketio.exceptions

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import (
    AuthenticationRejected,
    InvalidRequest,
    NotAuthenticated,
    NotAuthorized,
    RateLimited,
    RealtimeError,
)
from atriz_realtime.api.http import Headers
from atriz_realtime.api.model import Credentials, Identity, format_timestamp
from atriz_realtime.api.records import SocketEvent
from atriz_realtime.api.wire import Rooms as RoomNames
from atriz_realtime.api.wire import SocketEvents
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.access.auth_backoff import network
from atriz_realtime.core.clients.expiry import IdentityExpiry
from atriz_realtime.core.clients.sockets import Client, ConnectedSocket, EventHandlers
from atriz_realtime.core.clients.subscriptions import Subscriptions
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, RoomManager
from atriz_realtime.core.runtime.incidents import REFUSED, Incidents
from atriz_realtime.core.runtime.plugin_runner import PluginRunner, awaiting
from atriz_realtime.core.runtime.token_bucket import TokenBucket, UserBuckets
from atriz_realtime.engine.request.errors import by
from atriz_realtime.engine.request.request import Request
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.plugin_system.registry import HandleOf, Registry
from atriz_realtime.plugin_system.signatures import shown, signature_of


class Gateway:
    """Accepts sockets, gives them identities and enforces their limits.

    :param subscriptions: what the sockets track.
    :param sockets: the connected sockets by sid, which this fills.
    """

    def __init__(
        self,
        *,
        config: RealtimeConfig,
        rooms: RoomManager,
        handlers: EventHandlers,
        sockets: dict[str, ConnectedSocket],
        subscriptions: Subscriptions,
        access: AccessControl,
        plugin_runner: PluginRunner,
        incidents: Incidents,
        clock: Clock,
    ) -> None:
        self._config = config
        self._rooms = rooms
        self._handlers = handlers
        self._sockets = sockets
        self._subscriptions = subscriptions
        self._access = access
        self._plugin_runner = plugin_runner
        self._incidents = incidents
        self._clock = clock
        self._user_buckets = UserBuckets(
            config.max_user_events_per_second, config.max_user_events_burst, incidents.report
        )
        self._per_user: Counter[str] = Counter()
        self._per_address: Counter[str] = Counter()
        self._expiry = IdentityExpiry(
            clock, config.token_notice, expiring=self._expiring, expired=self._expired
        )
        handlers.add(SocketEvents.AUTHENTICATE, self._authenticate, eager=True)

    def add_events(self, registry: Registry, server: HandleOf) -> None:
        """Let plugins handle the events that they register."""
        for event in registry.socket_events(server):
            self._add_event(registry.owner(event), event)

    def _add_event(self, plugin: str, event: SocketEvent) -> None:
        what = f"event {event.name!r}"
        signature = signature_of(event.handle)
        handling = awaiting(event.handle)

        async def handle(sid: str, *arguments: Any) -> Any:
            socket = self._sockets[sid]
            if event.authenticated and socket.identity is None:
                raise NotAuthenticated
            if socket.is_single_entity:
                raise NotAuthorized
            client = Client(self._rooms, socket)
            if signature is not None:
                _check_arguments(event.name, signature, arguments)
            answer = await self._plugin_runner.run(
                plugin, what, handling(client, *arguments), event.timeout
            )
            if callable(answer):
                raise self._plugin_runner.wrong_answer(plugin, what, "JSON", answer)
            return answer

        self._handlers.add(event.name, handle, binary=event.binary, plugin=plugin)

    def identities(self) -> Iterator[tuple[str, Identity]]:
        """The sid and the current identity of each authenticated socket.

        Sockets that connect meanwhile are left out.
        """
        for sid, socket in list(self._sockets.items()):
            if socket.identity is not None:
                yield sid, socket.identity

    async def withdraw(self, sid: str, identity: Identity) -> None:
        """Disconnect a socket, unless it has another identity by now."""
        socket = self._sockets.get(sid)
        if socket is not None and socket.identity is identity:
            await self._rooms.server.disconnect(sid)

    def is_single_entity(self, sid: str) -> bool:
        """Whether a socket may watch one entity, and do nothing else."""
        socket = self._sockets.get(sid)
        return socket is not None and socket.is_single_entity

    async def connected(self, sid: str, request: Request, auth: Any) -> None:
        """Accept a connection, and authenticate it when its handshake has credentials.

        :raises socketio.exceptions.ConnectionRefusedError: over a limit, or when
            ``require_handshake_auth`` is on and the handshake does not authenticate.
        """
        address = request.address or ""
        counted = network(address)
        limit = self._config.max_connections_per_address
        if limit and self._per_address[counted] >= limit:
            raise refused_connection(RateLimited("Too many connections"))
        self._per_address[counted] += 1  # counts already while its authentication is awaited
        try:
            identity = await self._authenticate_handshake(auth, request, address)
            if identity is None and self._config.require_handshake_auth:
                raise refused_connection(NotAuthenticated())
        except BaseException:
            decrement(self._per_address, counted)
            raise
        bucket = TokenBucket(
            self._config.max_events_per_second,
            self._config.max_events_burst,
            self._clock.monotonic(),
        )
        socket = self._sockets[sid] = ConnectedSocket(sid, address, bucket)
        if identity is not None:
            self._set_identity(socket, identity)
        elif self._config.auth_timeout:
            socket.deadline = asyncio.get_running_loop().call_later(
                self._config.auth_timeout, self._never_authenticated, sid
            )

    async def _authenticate_handshake(
        self, auth: Any, request: Request, address: str
    ) -> Identity | None:
        fields = auth if isinstance(auth, dict) else {}
        token = fields.get("token")
        is_proper = (auth is None or fields is auth) and (token is None or isinstance(token, str))
        credentials = Credentials(
            token=token if isinstance(token, str) else None,
            source="handshake",
            headers=HandshakeHeaders(request),
            auth=fields,
            address=address,
        )
        try:
            if not is_proper:
                reason = "auth must be an object, and its token a string"
                self._incidents.report(
                    "refused credentials", f"{reason}{by(address)}", reason=reason
                )
                raise AuthenticationRejected(reason)
            identity = await self._access.authenticate(credentials, narrow=True)
            self._check_user_limit(identity)
        except RealtimeError as error:
            if self._config.require_handshake_auth or isinstance(error, RateLimited):
                raise refused_connection(error) from error
            return None
        return identity

    def disconnected(self, sid: str) -> None:
        """Forget a socket that has disconnected."""
        socket = self._sockets.pop(sid, None)
        if socket is None:
            return
        if socket.deadline is not None:
            socket.deadline.cancel()
        decrement(self._per_address, network(socket.address))
        if socket.identity is not None:
            self._expiry.forget(sid)
            decrement(self._per_user, socket.identity.user_id)

    def _never_authenticated(self, sid: str) -> None:
        socket = self._sockets.get(sid)
        if socket is not None and socket.identity is None:
            self._incidents.report("never authenticated", "the socket was closed")
            self._rooms.disconnect_soon(sid)

    def _expiring(self, sid: str, expires_at: float) -> None:
        notice = {
            "expiresAt": format_timestamp(datetime.fromtimestamp(expires_at, UTC)),
            "expiresIn": max(round(expires_at - self._clock.now()), 0),
        }
        self._rooms.send(sid, SocketEvents.TOKEN_EXPIRING, notice)

    def _expired(self, sid: str) -> None:
        self._incidents.report("token expired", "the socket was closed", level=logging.INFO)
        self._rooms.disconnect_soon(sid)

    async def _authenticate(self, sid: str, token: Any = None, *_: Any) -> dict[str, Any]:
        socket = self._sockets[sid]
        try:
            identity = await self._access.authenticate(
                Credentials(
                    token=token if isinstance(token, str) else None,
                    source="event",
                    address=socket.address,
                ),
                narrow=True,
                already_authenticated=socket.identity is not None,
            )
            if socket.identity is None or socket.identity.user_id != identity.user_id:
                self._check_user_limit(identity)
        except RealtimeError as error:
            return self._reject(sid, error)
        refused, chains = await self._subscriptions.reauthorize(socket, identity)
        if not self._access.is_accepted(identity):  # revoked while authorizers were asked
            self._incidents.report(
                "refused credentials", f"revoked{by(socket.address)}", reason="revoked"
            )
            return self._reject(sid, AuthenticationRejected("revoked"))
        if sid in self._sockets:
            self._set_identity(socket, identity)
            for room in refused:
                self._subscriptions.revoke(socket, room)
            await self._subscriptions.refresh_views(socket, chains)
            self._rooms.send(sid, SocketEvents.AUTHENTICATED, {"success": True})
        return {"success": True}

    def _reject(self, sid: str, error: RealtimeError) -> dict[str, Any]:
        """Tell a socket that it is not authenticated, and disconnect it."""
        answer = {"success": False, "message": "Authentication failed"}
        self._rooms.send(sid, SocketEvents.AUTHENTICATED, answer)
        if isinstance(error, RateLimited):
            self._rooms.send(sid, SocketEvents.ERROR, error.message)
        self._rooms.disconnect_soon(sid)
        return {**answer, "code": error.code}

    def _set_identity(self, socket: ConnectedSocket, identity: Identity) -> None:
        """Set a socket's identity; another user's rooms and subscriptions end first."""
        previous = socket.identity
        if previous is not None and (
            previous.user_id != identity.user_id or previous.only != identity.only
        ):
            decrement(self._per_user, previous.user_id)
            self._leave(socket.sid, RoomNames.user(previous.user_id))
            self._subscriptions.revoke_all(socket)
            previous = None
        socket.identity = identity
        socket.user_bucket = self._user_buckets.of(identity.user_id, self._clock.monotonic())
        if identity.expires_at is not None or socket.sid in self._expiry:
            self._expiry.set(socket.sid, identity.expires_at)
        if socket.deadline is not None:
            socket.deadline.cancel()
            socket.deadline = None
        if previous is None:
            self._per_user[identity.user_id] += 1
            self._enter(socket.sid, RoomNames.user(identity.user_id))
            if identity.only is None:
                self._enter(socket.sid, RoomNames.AUTHENTICATED)
            else:  # broadcasts to all users are not for the holder of a link
                self._leave(socket.sid, RoomNames.AUTHENTICATED)

    def _enter(self, sid: str, room: str) -> None:
        self._rooms.basic_enter_room(sid, DEFAULT_NAMESPACE, room)

    def _leave(self, sid: str, room: str) -> None:
        self._rooms.basic_leave_room(sid, DEFAULT_NAMESPACE, room)

    def _check_user_limit(self, identity: Identity) -> None:
        limit = self._config.max_connections_per_user
        if limit and self._per_user[identity.user_id] >= limit:
            raise RateLimited("Too many connections")

    def would_admit(self, sid: str) -> bool:
        """Whether :meth:`admit` would let an event of a socket run."""
        socket = self._sockets.get(sid)
        buckets = (socket.bucket, socket.user_bucket) if socket is not None else ()
        return all(bucket is None or bucket.left >= 1 for bucket in buckets)

    def admit(self, sid: str) -> bool:
        """Take one event from the buckets of a socket and its user; returns whether it may run.

        A socket that goes on sending after many refusals is disconnected.
        """
        socket = self._sockets.get(sid)
        if socket is None:
            return False
        now, bucket = self._clock.monotonic(), socket.bucket
        answer = bucket.take(now)
        if answer == "granted":
            if socket.user_bucket is None:
                return True
            bucket = socket.user_bucket
            answer = bucket.take(now)
            if answer == "granted":
                return True
            if bucket.refused > bucket.burst:  # disconnects each socket that goes on
                answer = "exhausted"
        self._incidents.refusals.count(RateLimited.code)
        if bucket.refused == 1:
            code = {"code": RateLimited.code}
            line = f"events came too fast{by(socket.address)}"
            self._incidents.report(REFUSED, line, labels=code)
            self._rooms.send(sid, SocketEvents.ERROR, RateLimited.default_message)
        if answer == "exhausted":
            line = f"events kept coming too fast{by(socket.address)}"
            self._incidents.report("flooding client cut", line)
            eio_sid = self._rooms.eio_sid_from_sid(sid, DEFAULT_NAMESPACE)
            if eio_sid is not None:
                server = self._rooms.server
                server.start_background_task(server.disconnect_session, eio_sid)
        return False


class HandshakeHeaders(Headers):
    """The headers of a handshake; they are parsed when an authenticator reads one."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request

    @property
    def _raw(self) -> list[tuple[bytes, bytes]]:  # type: ignore[override]  # it is read only
        return self._request.headers


def refused_connection(error: RealtimeError) -> socketio.exceptions.ConnectionRefusedError:
    """A refused connection: ``connect_error`` with the message, and the code in its data."""
    return socketio.exceptions.ConnectionRefusedError(error.message, {"code": error.code})


def decrement(counter: Counter[str], key: str) -> None:
    """Count one less, and drop the key at zero."""
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


def _check_arguments(event: str, signature: inspect.Signature, arguments: tuple[Any, ...]) -> None:
    """Refuse an event whose arguments do not fit its handler, which takes the client first."""
    try:
        signature.bind(None, *arguments)
    except TypeError as error:
        taken = shown(signature, after=1)
        raise InvalidRequest(
            f"{event} takes the arguments {taken}, and got {len(arguments)}"
        ) from error
