"""What sockets track: the events that begin and end it, and what takes it back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any

from atriz_realtime.api.errors import (
    InvalidEntityId,
    InvalidRequest,
    NotAuthenticated,
    NotAuthorized,
    SubscriptionLimit,
    Unavailable,
    UnknownEntityType,
)
from atriz_realtime.api.model import EntityRef, Identity
from atriz_realtime.api.wire import TRACKING_REVOKED, event_json, track_event, untrack_event
from atriz_realtime.api.wire import Rooms as RoomNames
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.clients.connected import ConnectedSocket
from atriz_realtime.core.clients.socket_server import SocketServer
from atriz_realtime.core.hub.channels import ChannelSubscriptions
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE
from atriz_realtime.core.hub.views import ViewChain
from atriz_realtime.core.publish.pipeline import Pipeline
from atriz_realtime.core.runtime.incidents import Incidents


class Subscriptions:
    """Handles ``track:<type>`` and ``untrack:<type>``.

    :param sessions: the connected sockets by their ids, which the gateway keeps.
    :param most: entities that one socket may track.
    """

    def __init__(
        self,
        *,
        sessions: Mapping[str, ConnectedSocket],
        server: SocketServer,
        access: AccessControl,
        channels: ChannelSubscriptions,
        incidents: Incidents,
        pipeline: Pipeline,
        kinds: Iterable[str],
        most: int,
    ) -> None:
        self._sessions = sessions
        self._access = access
        self._channels = channels
        self._rooms = channels.rooms
        self._views = channels.rooms.views
        self._incidents = incidents
        self._pipeline = pipeline
        self._most = most
        self._revision = 0
        server.on_event("track:*", self._unknown_type)
        server.on_event("untrack:*", self._unknown_type)
        for kind in kinds:
            server.on_event(track_event(kind), self._tracker(kind))
            server.on_event(untrack_event(kind), self._untracker(kind))

    def _tracker(self, kind: str) -> Any:
        async def track(sid: str, ids: Any = None, *_: Any) -> dict[str, Any]:
            session = self._sessions[sid]
            if session.identity is None:
                raise NotAuthenticated
            entities = [self._pipeline.entity(kind, entity_id) for entity_id in as_ids(ids)]
            wanted = session.tracked | {RoomNames.entity(entity) for entity in entities}
            if len(wanted) > self._most:
                raise SubscriptionLimit
            revision, chains = -1, {}
            while revision != self._revision:  # what is taken back meanwhile is asked about again
                revision = self._revision
                for entity in entities:
                    if not await self._access.may_track(session.identity, entity):
                        raise NotAuthorized
                chains = await self._view_chains(session.identity, entities)
            await self._watch(session, entities, chains)
            return {"success": True}

        return track

    async def _watch(
        self, session: ConnectedSocket, entities: list[EntityRef], chains: Mapping[str, ViewChain]
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
                    self._views.set(room, session.sid, chains[room])
                self._rooms.basic_enter_room(session.sid, DEFAULT_NAMESPACE, room)
                session.tracked.add(room)
                joined.append((entity, room, self._rooms.last(room)))
        for _, room, __ in joined:
            await self._channels.ready(room)
        # all are asked for before one is awaited, so that they share a round trip
        reading = [self._pipeline.current(entity) for entity, _, __ in joined]
        for (entity, room, before), location in zip(joined, reading, strict=True):
            await self._show(session, entity, room, before, location)

    async def _show(
        self,
        session: ConnectedSocket,
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
                self._leave(session, f"{kind}:{entity_id}")
            return {"success": True}

        return untrack

    async def _unknown_type(self, _: str, event: str, *__: Any) -> None:
        raise UnknownEntityType(field=event[:64])

    # -- what is taken back ----------------------------------------------------------------

    def kick(self, user_id: str, entity: EntityRef) -> None:
        """Take a user's sockets out of an entity's room, and tell them."""
        self._revision += 1
        for session in self._sessions_of(user_id):
            self.revoke(session, RoomNames.entity(entity))

    async def recheck_tracked(self, user_id: str | None) -> None:
        """Ask the authorizers again about all that a user's sockets track, or everybody's."""
        self._revision += 1
        if self._access.authorizes:
            for session in self._sessions_of(user_id):
                await self._recheck_session(session)
                await asyncio.sleep(0)  # others get a turn of the loop

    def _sessions_of(self, user_id: str | None) -> list[ConnectedSocket]:
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

    async def _recheck_session(self, session: ConnectedSocket) -> None:
        for room in list(session.tracked):
            identity = session.identity
            if identity is None:
                return
            kind, _, entity_id = room.partition(":")
            allowed = await self._access.may_track(identity, EntityRef(kind, entity_id))
            if not allowed and session.identity is identity:
                self.revoke(session, room)

    def revoke(self, session: ConnectedSocket, room: str) -> None:
        """Take a socket out of an entity's room, and tell it."""
        if self._leave(session, room):
            kind, _, entity_id = room.partition(":")
            self._rooms.send(session.sid, TRACKING_REVOKED, {"type": kind, "entityId": entity_id})

    def _leave(self, session: ConnectedSocket, room: str) -> bool:
        """Take a socket out of an entity's room; whether it was in it."""
        if room not in session.tracked:
            return False
        session.tracked.discard(room)
        self._rooms.basic_leave_room(session.sid, DEFAULT_NAMESPACE, room)
        return True

    # -- another identity ------------------------------------------------------------------

    def forget(self, session: ConnectedSocket) -> None:
        """Take a socket out of the rooms that it tracks: it is somebody else from now on."""
        for room in list(session.tracked):
            self._leave(session, room)

    async def reconsider(
        self, session: ConnectedSocket, identity: Identity
    ) -> tuple[set[str], Mapping[str, ViewChain]]:
        """The rooms that a user's new token may not watch, and how it sees the others."""
        if session.identity is None or session.identity.user_id != identity.user_id:
            return set(), {}
        revision, chains, refused = -1, {}, set()
        while revision != self._revision:  # what is taken back meanwhile is asked about again
            revision = self._revision
            entities = {room: EntityRef(*room.split(":", 1)) for room in session.tracked}
            refused = {
                room
                for room, entity in entities.items()
                if not await self._access.may_track(identity, entity)
            }
            seen = [entity for room, entity in entities.items() if room not in refused]
            chains = await self._view_chains(identity, seen)
        return refused, chains

    async def _view_chains(
        self, identity: Identity, entities: Iterable[EntityRef]
    ) -> dict[str, ViewChain]:
        """How an identity sees entities, by room; nothing when everybody sees them whole."""
        if self._views is None:
            return {}
        return {
            RoomNames.entity(entity): await self._views.chosen(identity, entity)
            for entity in entities
        }

    def refresh_views(self, session: ConnectedSocket, chains: Mapping[str, ViewChain]) -> None:
        """Show a socket what it tracks as it sees it from now on."""
        for room, chain in chains.items():
            if (
                self._views is not None
                and room in session.tracked
                and self._views.set(room, session.sid, chain)
                and (last := self._rooms.last(room)) is not None
            ):
                self._rooms.show(session.sid, room, last)


def as_ids(ids: Any) -> list[Any]:
    """The argument of ``track`` and ``untrack``: one id, or a list of them.

    :raises InvalidRequest: when there is none.
    """
    if ids is None:
        raise InvalidRequest("an entity id is required", field="entityId")
    return list(ids) if isinstance(ids, list) else [ids]
