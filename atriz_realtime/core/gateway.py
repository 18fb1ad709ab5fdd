"""Socket events into the core: connect, authenticate, track, untrack, and plugins' own."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import (
    AuthenticationRejected,
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
from atriz_realtime.api.wire import (
    TRACKING_REVOKED,
    SocketEvents,
    event_json,
    track_event,
    untrack_event,
)
from atriz_realtime.api.wire import Rooms as RoomNames
from atriz_realtime.core.access import AccessControl
from atriz_realtime.core.allowance import Allowance, Allowances
from atriz_realtime.core.containment import Containment
from atriz_realtime.core.incidents import Incidents
from atriz_realtime.core.interest import Interest
from atriz_realtime.core.lifetimes import Lifetimes
from atriz_realtime.core.pipeline import Pipeline
from atriz_realtime.core.rooms import DEFAULT_NAMESPACE
from atriz_realtime.core.socket_server import SocketServer, refused_by
from atriz_realtime.core.views import Viewpoint
from atriz_realtime.engine.request import Request
from atriz_realtime.host.config import RealtimeConfig


@attrs.define(eq=False)
class Session:
    """One connected socket, and who it is."""

    sid: str
    address: str
    allowance: Allowance
    identity: Identity | None = None
    shared: Allowance | None = None
    """What all sockets of its user may send together."""
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
        self._allowances = Allowances(
            config.max_user_events_per_second, config.max_user_events_burst
        )
        self._per_user: Counter[str] = Counter()
        self._per_address: Counter[str] = Counter()
        self._pipeline = pipeline
        self._views = interest.rooms.views
        self._revision = 0
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
            if self.is_narrow(sid):
                raise NotAuthorized
            client = Client(self._server, session)
            try:
                signature.bind(client, *arguments)
            except TypeError as error:
                raise InvalidRequest(f"{event.name}: {error}") from error
            return await self._containment.run(
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
        identity = None if session is None else session.identity
        return identity is not None and identity.only is not None

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
        is_proper = isinstance(auth, dict | None) and isinstance(token, str | None)
        credentials = Credentials(
            token=token if isinstance(token, str) and token else None,
            source="handshake",
            headers=RequestHeaders(request),
            auth=fields,
            address=address,
        )
        try:
            if not is_proper:
                raise AuthenticationRejected("auth is no object with a string as its token")
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
                known=session.identity is not None,
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
        refused, viewpoints = await self._reconsider(session, identity)
        if sid in self._sessions:
            self._become(session, identity)
            for room in refused:
                self._throw_out(session, room)
            self._look_anew(session, viewpoints)
            self._rooms.send(sid, SocketEvents.AUTHENTICATED, {"success": True})
        return {"success": True}

    async def _reconsider(
        self, session: Session, identity: Identity
    ) -> tuple[set[str], Mapping[str, Viewpoint]]:
        """The rooms that a user's new token may not watch, and how it sees the others."""
        if session.identity is None or session.identity.user_id != identity.user_id:
            return set(), {}
        revision, viewpoints, refused = -1, {}, set()
        while revision != self._revision:  # what is taken back meanwhile is asked about again
            revision = self._revision
            entities = {room: EntityRef(*room.split(":", 1)) for room in session.tracked}
            refused = {
                room
                for room, entity in entities.items()
                if not await self._access.may_track(identity, entity)
            }
            seen = [entity for room, entity in entities.items() if room not in refused]
            viewpoints = await self._viewpoints(identity, seen)
        return refused, viewpoints

    def _become(self, session: Session, identity: Identity) -> None:
        """Give a socket its identity, taking away what belonged to another."""
        previous = session.identity
        if previous is not None and (
            previous.user_id != identity.user_id or previous.only != identity.only
        ):
            uncount(self._per_user, previous.user_id)
            for room in [RoomNames.user(previous.user_id), *session.tracked]:
                self._rooms.basic_leave_room(session.sid, DEFAULT_NAMESPACE, room)
            session.tracked.clear()
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
            revision, viewpoints = -1, {}
            while revision != self._revision:  # what is taken back meanwhile is asked about again
                revision = self._revision
                for entity in entities:
                    if not await self._access.may_track(session.identity, entity):
                        raise NotAuthorized
                viewpoints = await self._viewpoints(session.identity, entities)
            await self._watch(session, entities, viewpoints)
            return {"success": True}

        return track

    async def _watch(
        self, session: Session, entities: list[EntityRef], viewpoints: Mapping[str, Viewpoint]
    ) -> None:
        """Join the entities' rooms, then show where each is now.

        A socket joins before the cache is read, so it misses nothing; the cached
        location is sent only when nothing newer went out to the room meanwhile.
        """
        joined: list[tuple[EntityRef, str, bytes | None]] = []
        for entity in entities:
            room = RoomNames.entity(entity)
            if self._rooms.is_connected(session.sid, DEFAULT_NAMESPACE):
                if self._views is not None:
                    self._views.set(room, session.sid, viewpoints[room])
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

    # -- what is taken back ----------------------------------------------------------------

    def throw_out(self, user_id: str, entity: EntityRef) -> None:
        """Take a user's sockets out of an entity's room, and tell them."""
        self._revision += 1
        for session in self._sessions_of(user_id):
            self._throw_out(session, RoomNames.entity(entity))

    async def recheck_tracked(self, user_id: str | None) -> None:
        """Ask the authorizers again about all that a user's sockets track, or everybody's."""
        self._revision += 1
        if self._access.authorizes:
            for session in self._sessions_of(user_id):
                await self._recheck_session(session)
                await asyncio.sleep(0)  # others get a turn of the loop

    def _sessions_of(self, user_id: str | None) -> list[Session]:
        if user_id is None:
            return list(self._sessions.values())
        members = self._rooms.get_participants(DEFAULT_NAMESPACE, RoomNames.user(user_id))
        found = [self._sessions.get(sid) for sid, _ in members]
        return [
            session
            for session in found
            if session is not None
            and session.identity is not None
            and session.identity.user_id == user_id
        ]

    async def _recheck_session(self, session: Session) -> None:
        for room in list(session.tracked):
            identity = session.identity
            if identity is None:
                return
            kind, _, entity_id = room.partition(":")
            allowed = await self._access.may_track(identity, EntityRef(kind, entity_id))
            if not allowed and session.identity is identity:
                self._throw_out(session, room)

    def _throw_out(self, session: Session, room: str) -> None:
        if room in session.tracked:
            session.tracked.discard(room)
            self._rooms.basic_leave_room(session.sid, DEFAULT_NAMESPACE, room)
            kind, _, entity_id = room.partition(":")
            self._rooms.send(session.sid, TRACKING_REVOKED, {"type": kind, "entityId": entity_id})

    async def _unknown_type(self, _: str, event: str, *__: Any) -> None:
        raise UnknownEntityType(field=event[:64])

    # -- views -----------------------------------------------------------------------------

    async def _viewpoints(
        self, identity: Identity, entities: Iterable[EntityRef]
    ) -> dict[str, Viewpoint]:
        """How an identity sees entities, by room; nothing when everybody sees them whole."""
        if self._views is None:
            return {}
        return {
            RoomNames.entity(entity): await self._views.chosen(identity, entity)
            for entity in entities
        }

    def _look_anew(self, session: Session, viewpoints: Mapping[str, Viewpoint]) -> None:
        """Show a socket what it tracks as it sees it from now on."""
        for room, viewpoint in viewpoints.items():
            if (
                self._views is not None
                and room in session.tracked
                and self._views.set(room, session.sid, viewpoint)
                and (last := self._rooms.last(room)) is not None
            ):
                self._rooms.show(session.sid, room, last)

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
        if allowance.refused == 1:
            self._incidents.report("refused rate_limited", "events came too fast")
            self._rooms.send(sid, SocketEvents.ERROR, RateLimited.default_message)
        if answer == "exhausted":
            self._incidents.report("flooding client cut", "events kept coming too fast")
            eio_sid = self._rooms.eio_sid_from_sid(sid, DEFAULT_NAMESPACE)
            if eio_sid is not None:
                self._server.start_background_task(self._server.expel, eio_sid)
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
