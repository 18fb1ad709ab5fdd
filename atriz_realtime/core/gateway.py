"""Socket events into the core: connect, authenticate, track, untrack, and plugins' own."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Iterable
from datetime import UTC, datetime
from typing import Any

import attrs

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import (
    InvalidEntityId,
    InvalidRequest,
    NotAuthenticated,
    NotAuthorized,
    RateLimited,
    RealtimeError,
    SubscriptionLimit,
    Unavailable,
    UnknownEntityType,
)
from atriz_realtime.api.http import Headers
from atriz_realtime.api.model import Credentials, EntityRef, Identity, format_timestamp
from atriz_realtime.api.records import SocketEvent
from atriz_realtime.api.wire import Rooms as RoomNames
from atriz_realtime.api.wire import SocketEvents, event_json, track_event, untrack_event
from atriz_realtime.core.access import AccessControl
from atriz_realtime.core.allowance import Allowance
from atriz_realtime.core.containment import Containment
from atriz_realtime.core.incidents import Incidents
from atriz_realtime.core.interest import Interest
from atriz_realtime.core.lifetimes import Lifetimes
from atriz_realtime.core.pipeline import Pipeline
from atriz_realtime.core.rooms import DEFAULT_NAMESPACE
from atriz_realtime.core.socket_server import SocketServer, refused_by
from atriz_realtime.engine.request import Request
from atriz_realtime.host.config import RealtimeConfig


@attrs.define(eq=False)
class Session:
    """One connected socket, and who it is."""

    sid: str
    address: str
    allowance: Allowance
    identity: Identity | None = None
    tracked: set[str] = attrs.field(factory=set)
    """The entity rooms it joined with ``track:<type>``."""
    deadline: asyncio.TimerHandle | None = None
    """Closes the socket unless it authenticates before."""


@attrs.frozen
class Client:
    """See :class:`~atriz_realtime.api.SocketClient`."""

    _server: SocketServer
    _session: Session

    @property
    def sid(self) -> str:
        """The Socket.IO session id."""
        return self._session.sid

    @property
    def identity(self) -> Identity | None:
        """Who it is."""
        return self._session.identity

    async def emit(self, event: str, data: Any) -> None:
        """Send an event to this socket alone."""
        self._server.manager.send(self.sid, event, data)

    async def disconnect(self) -> None:
        """Close it."""
        await self._server.disconnect(self.sid)


class RequestHeaders(Headers):
    """The headers of a handshake, taken apart when somebody asks for one."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request

    @property
    def _raw(self) -> list[tuple[bytes, bytes]]:  # type: ignore[override]  # it is read only
        return self._request.headers


class Gateway:
    """Handles the events of the default namespace."""

    def __init__(
        self,
        *,
        config: RealtimeConfig,
        server: SocketServer,
        access: AccessControl,
        containment: Containment,
        interest: Interest,
        incidents: Incidents,
        clock: Clock,
        pipeline: Pipeline,
        kinds: Iterable[str],
    ) -> None:
        self._config = config
        self._server = server
        self._access = access
        self._containment = containment
        self._interest = interest
        self._rooms = interest.rooms
        self._incidents = incidents
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._per_user: Counter[str] = Counter()
        self._per_address: Counter[str] = Counter()
        self._pipeline = pipeline
        self._lifetimes = Lifetimes(
            clock, config.token_notice, expiring=self._expiring, expired=self._expired
        )
        server.edge = self
        server.on_event(SocketEvents.AUTHENTICATE, self._authenticate)
        server.on_event("track:*", self._unknown_type)
        server.on_event("untrack:*", self._unknown_type)
        for kind in kinds:
            server.on_event(track_event(kind), self._tracker(kind))
            server.on_event(untrack_event(kind), self._untracker(kind))

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
            client = Client(self._server, session)
            try:
                signature.bind(client, *arguments)
            except TypeError as error:
                raise InvalidRequest(f"{event.name}: {error}") from error
            return await self._containment.run(
                plugin, what, event.handle(client, *arguments), event.timeout
            )

        self._server.on_event(event.name, handle)

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
        allowance = Allowance(
            self._config.max_events_per_second,
            self._config.max_events_burst,
            self._clock.monotonic(),
        )
        session = self._sessions[sid] = Session(sid, address, allowance)
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
        credentials = Credentials(
            token=token if isinstance(token, str) and token else None,
            source="handshake",
            headers=RequestHeaders(request),
            auth=fields,
            address=address,
        )
        try:
            identity = await self._access.authenticate(credentials)
            self._check_user_limit(identity)
        except RealtimeError as error:
            if self._config.require_handshake_auth:
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
                )
            )
            if session.identity is None or session.identity.user_id != identity.user_id:
                self._check_user_limit(identity)
        except RealtimeError as error:
            answer = {"success": False, "message": "Authentication failed"}
            self._rooms.send(sid, SocketEvents.AUTHENTICATED, answer)
            self._server.start_background_task(self._server.disconnect, sid)
            return {**answer, "code": error.code}
        if sid in self._sessions:
            self._become(session, identity)
            await self._retain(session, identity)
            self._rooms.send(sid, SocketEvents.AUTHENTICATED, {"success": True})
        return {"success": True}

    async def _retain(self, session: Session, identity: Identity) -> None:
        """Ask the authorizers again about what a socket watches; leave what they refuse."""
        left = False
        for room in list(session.tracked):
            kind, _, entity_id = room.partition(":")
            if not await self._access.may_track(identity, EntityRef(kind, entity_id)):
                left = True
                session.tracked.discard(room)
                self._rooms.basic_leave_room(session.sid, DEFAULT_NAMESPACE, room)
        if left:
            self._rooms.send(session.sid, SocketEvents.ERROR, NotAuthorized.default_message)

    def _become(self, session: Session, identity: Identity) -> None:
        """Give a socket its identity, taking away what belonged to another."""
        previous = session.identity
        if previous is not None and previous.user_id != identity.user_id:
            uncount(self._per_user, previous.user_id)
            for room in [RoomNames.user(previous.user_id), *session.tracked]:
                self._rooms.basic_leave_room(session.sid, DEFAULT_NAMESPACE, room)
            session.tracked.clear()
            previous = None
        session.identity = identity
        if identity.expires_at is not None or session.sid in self._lifetimes:
            self._lifetimes.set(session.sid, identity.expires_at)
        if session.deadline is not None:
            session.deadline.cancel()
            session.deadline = None
        if previous is None:
            self._per_user[identity.user_id] += 1
            self._enter(session.sid, RoomNames.user(identity.user_id))
            self._enter(session.sid, RoomNames.AUTHENTICATED)

    def _enter(self, sid: str, room: str) -> None:
        self._rooms.basic_enter_room(sid, DEFAULT_NAMESPACE, room)

    def _check_user_limit(self, identity: Identity) -> None:
        limit = self._config.max_connections_per_user
        if limit and self._per_user[identity.user_id] >= limit:
            raise RateLimited("Too many connections")

    # -- tracking --------------------------------------------------------------------------

    def _tracker(self, kind: str) -> Any:
        async def track(sid: str, ids: Any = None, *_: Any) -> dict[str, Any]:
            session = self._sessions[sid]
            if session.identity is None:
                raise NotAuthenticated
            entities = [self._pipeline.entity(kind, entity_id) for entity_id in as_ids(ids)]
            wanted = session.tracked | {RoomNames.entity(entity) for entity in entities}
            if len(wanted) > self._config.max_subscriptions:
                raise SubscriptionLimit
            for entity in entities:
                if not await self._access.may_track(session.identity, entity):
                    raise NotAuthorized
            await self._watch(session, entities)
            return {"success": True}

        return track

    async def _watch(self, session: Session, entities: list[EntityRef]) -> None:
        """Join the entities' rooms, then show where each is now.

        A socket joins before the cache is read, so it misses nothing; the cached
        location is sent only when nothing newer went out to the room meanwhile.
        """
        joined: list[tuple[EntityRef, str, bytes | None]] = []
        for entity in entities:
            room = RoomNames.entity(entity)
            if self._rooms.is_connected(session.sid, DEFAULT_NAMESPACE):
                self._enter(session.sid, room)
                session.tracked.add(room)
                joined.append((entity, room, self._rooms.last(room)))
        for _, room, __ in joined:
            await self._interest.ready(room)
        # all are asked for before one is awaited, so that they share a round trip
        reading = [self._pipeline.current(entity) for entity, _, __ in joined]
        for (entity, room, before), location in zip(joined, reading, strict=True):
            await self._show(session, entity, room, before, location)

    async def _show(
        self,
        session: Session,
        entity: EntityRef,
        room: str,
        before: bytes | None,
        reading: Awaitable[bytes | None],
    ) -> None:
        try:
            location = await reading
        except Unavailable as error:
            self._incidents.report("cache unavailable", error.message)
            return
        if location is not None and self._rooms.last(room) is before:
            self._rooms.show(session.sid, room, event_json(entity, location))

    def _untracker(self, kind: str) -> Any:
        async def untrack(sid: str, ids: Any = None, *_: Any) -> dict[str, Any]:
            session = self._sessions[sid]
            for entity_id in as_ids(ids):
                if not isinstance(entity_id, str):
                    raise InvalidEntityId(field="entityId")
                room = f"{kind}:{entity_id}"
                if room in session.tracked:
                    session.tracked.discard(room)
                    self._rooms.basic_leave_room(sid, DEFAULT_NAMESPACE, room)
            return {"success": True}

        return untrack

    async def _unknown_type(self, _: str, event: str, *__: Any) -> None:
        raise UnknownEntityType(field=event[:64])

    # -- limits ----------------------------------------------------------------------------

    def admit(self, sid: str) -> bool:
        """Take one event from the socket's allowance; whoever ignores refusals is cut."""
        session = self._sessions.get(sid)
        if session is None:
            return False
        answer = session.allowance.take(self._clock.monotonic())
        if answer == "granted":
            return True
        if session.allowance.refused == 1:
            self._incidents.report("refused rate_limited", "events came too fast")
            self._rooms.send(sid, SocketEvents.ERROR, RateLimited.default_message)
        if answer == "exhausted":
            self._incidents.report("flooding client cut", "events kept coming too fast")
            self._server.start_background_task(self._server.disconnect, sid)
        return False


def as_ids(ids: Any) -> list[Any]:
    """The argument of ``track`` and ``untrack``: one id, or a list of them.

    :raises InvalidRequest: when there is none.
    """
    if ids is None:
        raise InvalidRequest("an entity id is required", field="entityId")
    return list(ids) if isinstance(ids, list) else [ids]


def uncount(counter: Counter[str], key: str) -> None:
    """Count one less, and forget the key at zero."""
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
