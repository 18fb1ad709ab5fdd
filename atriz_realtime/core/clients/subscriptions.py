"""The entities that sockets track: ``track:<type>``, ``untrack:<type>``, and revocation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
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
from atriz_realtime.core.clients.sockets import ConnectedSocket, EventHandlers, Handler
from atriz_realtime.core.hub.broadcast import LocationBroadcaster
from atriz_realtime.core.hub.channels import ChannelSubscriptions
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, RoomManager
from atriz_realtime.core.hub.views import ViewChain, Views
from atriz_realtime.core.publish.pipeline import Pipeline
from atriz_realtime.core.runtime.incidents import Incidents

SNAPSHOT_RETRY = 1.0
"""Seconds until the current locations that could not be read are read again."""

Snapshot = tuple[EntityRef, bytes | None]
"""An entity whose current location is owed, and the last event of its room before."""


class Subscriptions:
    """Handles ``track:<type>`` and ``untrack:<type>``.

    :param sockets: the connected sockets by sid, which the gateway fills.
    :param limit: entities that one socket may track.
    """

    def __init__(
        self,
        *,
        sockets: Mapping[str, ConnectedSocket],
        handlers: EventHandlers,
        rooms: RoomManager,
        views: Views | None,
        broadcaster: LocationBroadcaster,
        channels: ChannelSubscriptions,
        access: AccessControl,
        pipeline: Pipeline,
        incidents: Incidents,
        kinds: Iterable[str],
        limit: int,
    ) -> None:
        self._sockets = sockets
        self._rooms = rooms
        self._views = views
        self._broadcaster = broadcaster
        self._channels = channels
        self._access = access
        self._pipeline = pipeline
        self._incidents = incidents
        self._limit = limit
        self._owed: dict[tuple[str, str], Snapshot] = {}  # by sid and room
        self._retry: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._revision = 0
        """Counts revocations; an authorization during which it changes starts again."""
        handlers.add("track:*", self._unknown_type)
        handlers.add("untrack:*", self._unknown_type)
        for kind in kinds:
            handlers.add(track_event(kind), self._tracker(kind))
            handlers.add(untrack_event(kind), self._untracker(kind))

    def _tracker(self, kind: str) -> Handler:
        async def track(sid: str, ids: Any = None, *_: Any) -> dict[str, Any]:
            socket = self._sockets[sid]
            if socket.identity is None:
                raise NotAuthenticated
            entities = [self._pipeline.entity(kind, entity_id) for entity_id in as_ids(ids)]
            rooms = {RoomNames.entity(each) for each in entities}
            if len(socket.tracked | rooms) > self._limit:
                raise SubscriptionLimit
            joining = rooms - socket.tracked
            revision, chains = -1, {}
            while revision != self._revision:
                revision = self._revision
                for entity in entities:
                    if not await self._access.may_track(socket.identity, entity):
                        raise NotAuthorized
                chains = await self._chains(socket.identity, entities)
                if not rooms - joining <= socket.tracked:  # revoked, and the client was told
                    raise NotAuthorized
            await self._watch(socket, entities, chains)
            if sid in self._sockets and not rooms <= socket.tracked:
                for room in joining:
                    self._leave(socket, room)
                raise NotAuthorized
            return {"success": True}

        return track

    async def _watch(
        self, socket: ConnectedSocket, entities: list[EntityRef], chains: Mapping[str, ViewChain]
    ) -> None:
        """Join the entities' rooms, then send the current location of each.

        A socket joins before the cache is read, so it misses nothing; the cached location
        is sent only when nothing newer went out to the room meanwhile.
        """
        joined: dict[tuple[str, str], Snapshot] = {}
        for entity in entities:
            room = RoomNames.entity(entity)
            if self._rooms.is_connected(socket.sid, DEFAULT_NAMESPACE):
                if self._views is not None:
                    self._views.set(room, socket.sid, chains[room])
                self._rooms.basic_enter_room(socket.sid, DEFAULT_NAMESPACE, room)
                socket.tracked.add(room)
                joined[socket.sid, room] = (entity, self._broadcaster.last(room))
        for _, room in joined:
            await self._channels.confirmed(room)
        await self._send_current(joined)

    async def _send_current(self, owed: Mapping[tuple[str, str], Snapshot]) -> None:
        """Send current locations; one that cannot be read is owed, and read again later."""
        # every read is started before one is awaited, so that they share a round trip
        reading = [self._pipeline.current(entity) for entity, _ in owed.values()]
        for (member, (entity, before)), read in zip(owed.items(), reading, strict=True):
            try:
                location = await read
            except Unavailable as error:
                self._incidents.report("cache unavailable", error.message)
                self._owed[member] = entity, before
                continue
            sid, room = member
            if location is not None and self._broadcaster.last(room) is before:
                self._broadcaster.send_current(sid, room, event_json(entity, location))
        self._schedule_owed()

    def _send_owed(self) -> None:
        """Read again what is owed to members that have been sent nothing newer."""
        owed, self._owed = self._owed, {}
        wanted = {
            (sid, room): (entity, before)
            for (sid, room), (entity, before) in owed.items()
            if sid in self._sockets
            and room in self._sockets[sid].tracked
            and self._broadcaster.last(room) is before
        }
        self._retry = None
        if wanted:
            self._retry = asyncio.ensure_future(self._send_current(wanted))
            self._retry.add_done_callback(self._sent_owed)

    def _sent_owed(self, _: object) -> None:
        self._retry = None
        self._schedule_owed()

    def _schedule_owed(self) -> None:
        if self._owed and self._retry is None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(SNAPSHOT_RETRY, self._send_owed)

    def _untracker(self, kind: str) -> Handler:
        async def untrack(sid: str, ids: Any = None, *_: Any) -> dict[str, Any]:
            socket = self._sockets[sid]
            for entity_id in as_ids(ids):
                if not isinstance(entity_id, str):
                    raise InvalidEntityId(field="entityId")
                self._leave(socket, f"{kind}:{entity_id}")
            return {"success": True}

        return untrack

    async def _unknown_type(self, _: str, event: str, *__: Any) -> None:
        raise UnknownEntityType(field=event[:64])

    def kick(self, user_id: str, entity: EntityRef) -> None:
        """Take a user's sockets out of an entity's room, and tell them."""
        self._revision += 1
        for socket in self._sockets_of(user_id):
            self.revoke(socket, RoomNames.entity(entity))

    async def reauthorize_all(self, user_id: str | None) -> None:
        """Ask the authorizers again about all entities that a user tracks; ``None``: all users."""
        self._revision += 1
        if self._access.authorizes:
            for socket in self._sockets_of(user_id):
                await self._revoke_refused(socket)
                await asyncio.sleep(0)  # let other connections run

    def _sockets_of(self, user_id: str | None) -> list[ConnectedSocket]:
        if user_id is None:
            return list(self._sockets.values())
        members = self._rooms.get_participants(DEFAULT_NAMESPACE, RoomNames.user(user_id))
        found = [self._sockets.get(sid) for sid, _ in members]
        return [
            socket
            for socket in found
            if socket is not None
            and socket.identity is not None
            and socket.identity.user_id == user_id
        ]

    async def _revoke_refused(self, socket: ConnectedSocket) -> None:
        for room, entity in _entities(socket.tracked):
            identity = socket.identity
            if identity is None:
                return
            allowed = await self._access.may_track(identity, entity)
            if not allowed and socket.identity is identity:
                self.revoke(socket, room)

    def revoke(self, socket: ConnectedSocket, room: str) -> None:
        """Take a socket out of an entity's room, and tell it."""
        if self._leave(socket, room):
            for _, entity in _entities([room]):
                notice = {"type": entity.type, "entityId": entity.id}
                self._rooms.send(socket.sid, TRACKING_REVOKED, notice)

    def leave_all(self, socket: ConnectedSocket) -> None:
        """Take a socket out of all that it tracks, without telling it."""
        for room in list(socket.tracked):
            self._leave(socket, room)

    def _leave(self, socket: ConnectedSocket, room: str) -> bool:
        """Take a socket out of an entity's room; returns whether it was in it."""
        if room not in socket.tracked:
            return False
        socket.tracked.discard(room)
        self._rooms.basic_leave_room(socket.sid, DEFAULT_NAMESPACE, room)
        return True

    async def reauthorize(
        self, socket: ConnectedSocket, identity: Identity
    ) -> tuple[set[str], Mapping[str, ViewChain]]:
        """Work out what a new token of the same user changes.

        :returns: the rooms that it may not watch, and the views of the others by room.
        """
        if socket.identity is None or socket.identity.user_id != identity.user_id:
            return set(), {}
        revision, chains, refused = -1, {}, set()
        while revision != self._revision:
            revision = self._revision
            tracked = _entities(socket.tracked)
            refused = {
                room
                for room, entity in tracked
                if not await self._access.may_track(identity, entity)
            }
            chains = await self._chains(
                identity, [entity for room, entity in tracked if room not in refused]
            )
        return refused, chains

    async def _chains(
        self, identity: Identity, entities: Iterable[EntityRef]
    ) -> dict[str, ViewChain]:
        """The views of an identity by room; empty when no plugin has views."""
        if self._views is None:
            return {}
        return {
            RoomNames.entity(entity): await self._views.chain(identity, entity)
            for entity in entities
        }

    def refresh_views(self, socket: ConnectedSocket, chains: Mapping[str, ViewChain]) -> None:
        """Set a socket's views, and resend the locations that it now sees differently."""
        for room, chain in chains.items():
            if (
                self._views is not None
                and room in socket.tracked
                and self._views.set(room, socket.sid, chain)
                and (last := self._broadcaster.last(room)) is not None
            ):
                self._broadcaster.send_current(socket.sid, room, last)


def _entities(rooms: Iterable[str]) -> list[tuple[str, EntityRef]]:
    """Rooms of entities, each with its entity."""
    parsed = [(room, EntityRef.parse(room)) for room in rooms]
    return [(room, entity) for room, entity in parsed if entity is not None]


def as_ids(ids: Any) -> list[Any]:
    """The argument of ``track`` and ``untrack``: one id, or a list of them.

    :raises InvalidRequest: when it is missing.
    """
    if ids is None:
        raise InvalidRequest("an entity id is required", field="entityId")
    return list(ids) if isinstance(ids, list) else [ids]
