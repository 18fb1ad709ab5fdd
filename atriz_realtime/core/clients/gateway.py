"""Sockets into the core: their connections, identities and limits, and plugins' own events."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import (
    AuthenticationRejected,
    InvalidRequest,
    NotAuthenticated,
    NotAuthorized,
    RateLimited,
    RealtimeError,
)
from atriz_realtime.api.model import Credentials, Identity, format_timestamp
from atriz_realtime.api.records import SocketEvent
from atriz_realtime.api.wire import Rooms as RoomNames
from atriz_realtime.api.wire import SocketEvents
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.clients.connected import Client, ConnectedSocket, RequestHeaders
from atriz_realtime.core.clients.expiry import IdentityExpiry
from atriz_realtime.core.clients.socket_server import SocketServer, refused_by
from atriz_realtime.core.clients.subscriptions import Subscriptions
from atriz_realtime.core.hub.channels import ChannelSubscriptions
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE
from atriz_realtime.core.publish.pipeline import Pipeline
from atriz_realtime.core.runtime.incidents import REFUSED, Incidents
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.core.runtime.token_bucket import TokenBucket, UserBuckets
from atriz_realtime.engine.request.request import Request
from atriz_realtime.plugin_system.config import RealtimeConfig


class Gateway:
    """Handles the events of the default namespace."""

    def __init__(
        self,
        *,
        config: RealtimeConfig,
        server: SocketServer,
        access: AccessControl,
        plugin_runner: PluginRunner,
        channels: ChannelSubscriptions,
        incidents: Incidents,
        clock: Clock,
        pipeline: Pipeline,
        kinds: Iterable[str],
    ) -> None:
        self._config = config
        self._server = server
        self._access = access
        self._plugin_runner = plugin_runner
        self._rooms = channels.rooms
        self._incidents = incidents
        self._clock = clock
        self._sessions: dict[str, ConnectedSocket] = {}
        self._allowances = UserBuckets(
            config.max_user_events_per_second, config.max_user_events_burst
        )
        self._per_user: Counter[str] = Counter()
        self._per_address: Counter[str] = Counter()
        self._lifetimes = IdentityExpiry(
            clock, config.token_notice, expiring=self._expiring, expired=self._expired
        )
        server.edge = self
        server.on_event(SocketEvents.AUTHENTICATE, self._authenticate)
        self.subscriptions = Subscriptions(
            sessions=self._sessions,
            server=server,
            access=access,
            channels=channels,
            incidents=incidents,
            pipeline=pipeline,
            kinds=kinds,
            most=config.max_subscriptions,
        )

    @property
    def connections(self) -> int:
        """Sockets connected to this server."""
        return len(self._sessions)

    def add_event(self, plugin: str, event: SocketEvent) -> None:
        """Offer a plugin's event."""
        what = f"event {event.name!r}"
        signature = inspect.signature(event.handle)

        async def handle(sid: str, *arguments: Any) -> Any:
            session = self._sessions[sid]
            if event.authenticated and session.identity is None:
                raise NotAuthenticated
            if session.is_narrow:
                raise NotAuthorized
            client = Client(self._server, session)
            try:
                signature.bind(client, *arguments)
            except TypeError as error:
                raise InvalidRequest(f"{event.name}: {error}") from error
            return await self._plugin_runner.run(
                plugin, what, event.handle(client, *arguments), event.timeout
            )

        self._server.on_event(event.name, handle, binary=event.binary)

    def identities(self) -> list[tuple[str, Identity]]:
        """The sid of each authenticated socket, and who it is."""
        return [
            (sid, session.identity)
            for sid, session in self._sessions.items()
            if session.identity is not None
        ]

    async def withdraw(self, sid: str, identity: Identity) -> None:
        """Close a socket, unless it is somebody else by now."""
        session = self._sessions.get(sid)
        if session is not None and session.identity is identity:
            await self._server.disconnect(sid)

    async def disconnect_all(self) -> None:
        """Drop every connection, as a server that goes away does: clients come back by themselves.

        A Socket.IO disconnect would tell them that they are not wanted, and they would not.
        """
        engine = self._server.eio
        await asyncio.gather(
            *(engine.abort(eio_sid) for eio_sid in list(engine.sockets)), return_exceptions=True
        )

    def is_narrow(self, sid: str) -> bool:
        """Whether a socket is good for one entity only, and may send what tracks it alone."""
        session = self._sessions.get(sid)
        return session is not None and session.is_narrow

    # -- connection ------------------------------------------------------------------------

    async def connected(self, sid: str, request: Request, auth: Any) -> None:
        """Accept a connection, authenticated if its handshake is.

        :raises socketio.exceptions.ConnectionRefusedError: over a limit, or when
            ``require_handshake_auth`` is on and the handshake is not.
        """
        address = request.client[0] if request.client else ""
        limit = self._config.max_connections_per_address
        if limit and self._per_address[address] >= limit:
            raise refused_by(RateLimited("Too many connections"))
        self._per_address[address] += 1  # before others are let in while this one is asked about
        try:
            identity = await self._identify_handshake(auth, request, address)
            if identity is None and self._config.require_handshake_auth:
                raise refused_by(NotAuthenticated())
        except BaseException:
            uncount(self._per_address, address)
            raise
        allowance = TokenBucket(
            self._config.max_events_per_second,
            self._config.max_events_burst,
            self._clock.monotonic(),
        )
        session = self._sessions[sid] = ConnectedSocket(sid, address, allowance)
        if identity is not None:
            self._become(session, identity)
        elif self._config.auth_timeout:
            session.deadline = asyncio.get_running_loop().call_later(
                self._config.auth_timeout, self._never_authenticated, sid
            )

    async def _identify_handshake(
        self, auth: Any, request: Request, address: str
    ) -> Identity | None:
        fields = auth if isinstance(auth, dict) else {}
        token = fields.get("token")
        is_proper = (auth is None or fields is auth) and (token is None or isinstance(token, str))
        credentials = Credentials(
            token=token if isinstance(token, str) and token else None,
            source="handshake",
            headers=RequestHeaders(request),
            auth=fields,
            address=address,
        )
        try:
            if not is_proper:
                reason = "auth is no object with a string as its token"
                self._incidents.report("refused credentials", reason, level=logging.INFO)
                raise AuthenticationRejected(reason)
            identity = await self._access.authenticate(credentials, narrow=True)
            self._check_user_limit(identity)
        except RealtimeError as error:
            guessing = isinstance(error, RateLimited) and error.retry_after is not None
            if self._config.require_handshake_auth or guessing:
                raise refused_by(error) from error
            return None
        return identity

    def disconnected(self, sid: str) -> None:
        """Forget a connection."""
        session = self._sessions.pop(sid, None)
        if session is None:
            return
        if session.deadline is not None:
            session.deadline.cancel()
        uncount(self._per_address, session.address)
        if session.identity is not None:
            self._lifetimes.forget(sid)
            uncount(self._per_user, session.identity.user_id)

    def _never_authenticated(self, sid: str) -> None:
        session = self._sessions.get(sid)
        if session is not None and session.identity is None:
            self._incidents.report("never authenticated", "the socket was closed")
            self._server.start_background_task(self._server.disconnect, sid)

    def _expiring(self, sid: str, expires_at: float) -> None:
        notice = {
            "expiresAt": format_timestamp(datetime.fromtimestamp(expires_at, UTC)),
            "expiresIn": max(round(expires_at - self._clock.now()), 0),
        }
        self._rooms.send(sid, SocketEvents.TOKEN_EXPIRING, notice)

    def _expired(self, sid: str) -> None:
        self._incidents.report("token expired", "the socket was closed", level=logging.INFO)
        self._server.start_background_task(self._server.disconnect, sid)

    # -- authentication --------------------------------------------------------------------

    async def _authenticate(self, sid: str, token: Any = None, *_: Any) -> dict[str, Any]:
        session = self._sessions[sid]
        try:
            identity = await self._access.authenticate(
                Credentials(
                    token=token if isinstance(token, str) and token else None,
                    source="event",
                    address=session.address,
                ),
                narrow=True,
                already_authenticated=session.identity is not None,
            )
            if session.identity is None or session.identity.user_id != identity.user_id:
                self._check_user_limit(identity)
        except RealtimeError as error:
            answer = {"success": False, "message": "Authentication failed"}
            self._rooms.send(sid, SocketEvents.AUTHENTICATED, answer)
            if isinstance(error, RateLimited):
                self._rooms.send(sid, SocketEvents.ERROR, error.message)
            self._server.start_background_task(self._server.disconnect, sid)
            return {**answer, "code": error.code}
        refused, chains = await self.subscriptions.reconsider(session, identity)
        if sid in self._sessions:
            self._become(session, identity)
            for room in refused:
                self.subscriptions.revoke(session, room)
            self.subscriptions.refresh_views(session, chains)
            self._rooms.send(sid, SocketEvents.AUTHENTICATED, {"success": True})
        return {"success": True}

    def _become(self, session: ConnectedSocket, identity: Identity) -> None:
        """Give a socket its identity, taking away what belonged to another."""
        previous = session.identity
        if previous is not None and (
            previous.user_id != identity.user_id or previous.only != identity.only
        ):
            uncount(self._per_user, previous.user_id)
            room = RoomNames.user(previous.user_id)
            self._rooms.basic_leave_room(session.sid, DEFAULT_NAMESPACE, room)
            self.subscriptions.forget(session)
            previous = None
        session.identity = identity
        session.shared = self._allowances.of(identity.user_id, self._clock.monotonic())
        if identity.expires_at is not None or session.sid in self._lifetimes:
            self._lifetimes.set(session.sid, identity.expires_at)
        if session.deadline is not None:
            session.deadline.cancel()
            session.deadline = None
        if previous is None:
            self._per_user[identity.user_id] += 1
            self._enter(session.sid, RoomNames.user(identity.user_id))
            if identity.only is None:
                self._enter(session.sid, RoomNames.AUTHENTICATED)
            else:  # what everybody is told is not for whoever may see one entity
                self._rooms.basic_leave_room(
                    session.sid, DEFAULT_NAMESPACE, RoomNames.AUTHENTICATED
                )

    def _enter(self, sid: str, room: str) -> None:
        self._rooms.basic_enter_room(sid, DEFAULT_NAMESPACE, room)

    def _check_user_limit(self, identity: Identity) -> None:
        limit = self._config.max_connections_per_user
        if limit and self._per_user[identity.user_id] >= limit:
            raise RateLimited("Too many connections")

    # -- limits ----------------------------------------------------------------------------

    def admit(self, sid: str) -> bool:
        """Take one event from the socket's allowance; whoever ignores refusals is cut."""
        session = self._sessions.get(sid)
        if session is None:
            return False
        now, allowance = self._clock.monotonic(), session.allowance
        answer = allowance.take(now)
        if answer == "granted":
            if session.shared is None:
                return True
            allowance = session.shared
            answer = allowance.take(now)
            if answer == "granted":
                return True
            if allowance.refused > allowance.burst:  # each socket that goes on
                answer = "exhausted"
        self._incidents.refusals.count(RateLimited.code)
        if allowance.refused == 1:
            code = {"code": RateLimited.code}
            self._incidents.report(REFUSED, "events came too fast", labels=code)
            self._rooms.send(sid, SocketEvents.ERROR, RateLimited.default_message)
        if answer == "exhausted":
            self._incidents.report("flooding client cut", "events kept coming too fast")
            eio_sid = self._rooms.eio_sid_from_sid(sid, DEFAULT_NAMESPACE)
            if eio_sid is not None:
                self._server.start_background_task(self._server.disconnect_session, eio_sid)
        return False


def uncount(counter: Counter[str], key: str) -> None:
    """Count one less, and forget the key at zero."""
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
