"""The entities that sockets track: ``track:<type>``, ``untrack:<type>``, and revocation."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import (
    InvalidEntityId,
    InvalidRequest,
    NotAuthenticated,
    NotAuthorized,
    RateLimited,
    RealtimeError,
    SubscriptionLimit,
)
from atriz_realtime.api.model import EntityRef, Identity
from atriz_realtime.api.wire import TRACKING_REVOKED, track_event, untrack_event
from atriz_realtime.api.wire import Rooms as RoomNames
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.clients.current_locations import CurrentLocations, Owed, Owing
from atriz_realtime.core.clients.sockets import ConnectedSocket, EventHandlers, Handler
from atriz_realtime.core.hub.broadcast import LocationBroadcaster
from atriz_realtime.core.hub.channels import ChannelSubscriptions
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, RoomManager
from atriz_realtime.core.hub.views import ViewChain, Views
from atriz_realtime.core.publish.pipeline import NO_TEXT, Pipeline, unknown_type
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.semaphore import TurnLimit

ENTITY_COST = 0.25
"""What each further entity of a ``track`` list takes from the events that its user may send: an
entity is a quarter of the work of an event."""

LISTED_COST = 0.02
"""What each further id in a list takes from the same budget, whether it changes anything or not;
and each further entity that a socket tracks when it authenticates again."""

ENTITIES_PER_TURN = 50
"""Entities that are authorized, joined or left, and current locations that are sent, in one turn of
the event loop, for all sockets together; lists that are longer take turns."""


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
        clock: Clock,
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
        self._clock = clock
        self._limit = limit
        self._kinds = kinds
        self._turns = TurnLimit(ENTITIES_PER_TURN)
        self._current = CurrentLocations(
            sockets, channels, broadcaster, pipeline, self._turns, incidents
        )
        handlers.add("track:*", self._unknown_type)
        handlers.add("untrack:*", self._unknown_type)
        for kind in kinds:
            handlers.add(track_event(kind), self._tracker(kind))
            handlers.add(untrack_event(kind), self._untracker(kind), eager=True)

    def _tracker(self, kind: str) -> Handler:
        async def track(sid: str, ids: Any = None, *_: Any) -> Any:
            socket = self._sockets[sid]
            if socket.identity is None:
                raise NotAuthenticated
            ids = as_ids(ids)
            if len(ids) > self._limit:
                raise SubscriptionLimit
            new = [
                self._pipeline.entity(kind, entity_id)
                for entity_id in ids
                if not self._is_watched(socket, f"{kind}:{entity_id}")
            ]
            rooms = {f"{kind}:{entity_id}" for entity_id in ids}
            joining = rooms - socket.tracked
            if len(socket.tracked) + len(joining) > self._limit:
                raise SubscriptionLimit
            self._charge(socket, len(ids), len(new))
            joined = await self._join(socket, socket.identity, new)

            def answer() -> dict[str, Any]:
                if sid in self._sockets and not rooms <= socket.tracked:
                    self._leave_rooms(socket, joining)  # a part was revoked; the client was told
                    raise NotAuthorized
                return {"success": True}

            undo = functools.partial(self._leave_rooms, socket, [room for _, room in joined])
            owing = Owing(self._current, sid, joined, answer, undo)
            # a list is tracked whole or not at all: no other event may track a part meanwhile
            return owing if len(ids) == 1 else (await owing.sent())()

        return track

    def _charge(self, socket: ConnectedSocket, listed: int, new: int = 0) -> None:
        """Take what a list costs from the events of its user; the event itself was its first id.

        A list costs no more than the burst, or it could never be sent.

        :raises RateLimited: when the user has sent too much.
        """
        bucket = socket.user_bucket
        if listed > 1 and bucket is not None:
            price = (listed - 1) * LISTED_COST + max(new - 1, 0) * ENTITY_COST
            if bucket.take(self._clock.monotonic(), min(price, bucket.burst - 1)) != "granted":
                raise RateLimited

    def _is_watched(self, socket: ConnectedSocket, room: str) -> bool:
        """Whether a socket tracks an entity already; not while a view that failed hides it."""
        hidden = self._views is not None and self._views.has_failed(room, socket.sid)
        return room in socket.tracked and not hidden

    async def _authorized(
        self, socket: ConnectedSocket, identity: Identity, entity: EntityRef
    ) -> tuple[int, ViewChain]:
        """Ask until no revocation interferes; returns the revision, and the entity's views.

        :raises NotAuthorized: when an authorizer refuses.
        :raises RealtimeError: as an authorizer raises it, to refuse.
        """
        await self._turns.step(owner=socket.owner)
        while True:
            revision = socket.revision
            if not await self._access.may_track(identity, entity):
                raise NotAuthorized
            chain = await self._chain(identity, entity)
            if revision == socket.revision:
                return revision, chain

    async def _may_still_track(self, identity: Identity, entity: EntityRef) -> bool:
        """Ask again; an error of an authorizer is a refusal, because no client waits for it."""
        try:
            return await self._access.may_track(identity, entity)
        except RealtimeError:
            return False

    async def _chain(self, identity: Identity, entity: EntityRef) -> ViewChain:
        """The views of an identity that may watch an entity."""
        return () if self._views is None else await self._views.chain(identity, entity)

    async def _join(
        self, socket: ConnectedSocket, identity: Identity, entities: list[EntityRef]
    ) -> Owed:
        """Join the entities' rooms; returns the current locations that the socket is owed.

        :raises RealtimeError: when an authorizer refuses one of the entities; none is joined.
        """
        joined: Owed = {}
        try:
            asked = [await self._authorized(socket, identity, entity) for entity in entities]
            for entity, answer in zip(entities, asked, strict=True):
                await self._turns.step(owner=socket.owner)
                revision, chain = answer
                if revision != socket.revision:
                    _, chain = await self._authorized(socket, identity, entity)
                room = RoomNames.entity(entity)
                if self._rooms.is_connected(socket.sid, DEFAULT_NAMESPACE):
                    if self._views is not None:
                        self._views.set(room, socket.sid, chain)
                    self._rooms.basic_enter_room(socket.sid, DEFAULT_NAMESPACE, room)
                    socket.tracked.add(room)
                    joined[socket.sid, room] = (entity, self._broadcaster.broadcasts)
        except RealtimeError:
            self._leave_rooms(socket, [room for _, room in joined])
            raise
        return joined

    def _untracker(self, kind: str) -> Handler:
        async def untrack(sid: str, ids: Any = None, *_: Any) -> dict[str, Any]:
            socket = self._sockets[sid]
            ids = as_ids(ids)
            self._charge(socket, len(ids))
            for room in [f"{kind}:{entity_id}" for entity_id in ids]:
                if room in socket.tracked:
                    await self._turns.step(owner=socket.owner)
                    self._leave(socket, room)
            return {"success": True}

        return untrack

    async def _unknown_type(self, sid: str, event: str, *_: Any) -> None:
        identity = self._sockets[sid].identity
        known = self._kinds if identity is not None and identity.only is None else ()
        raise unknown_type(event.partition(":")[2], known, event[:64])

    def kick(self, user_id: str, entity: EntityRef) -> None:
        """Take a user's sockets out of an entity's room, and tell them."""
        for socket in self._sockets_of(user_id):
            socket.revision += 1
            self.revoke(socket, RoomNames.entity(entity))

    async def reauthorize_all(self, user_id: str | None) -> None:
        """Ask the authorizers again about all entities that a user tracks; ``None``: all users."""
        for socket in (sockets := self._sockets_of(user_id)):
            socket.revision += 1
        if self._access.authorizes:
            for socket in sockets:
                await self._revoke_refused(socket)
                await asyncio.sleep(0)  # let other connections run

    def _sockets_of(self, user_id: str | None) -> list[ConnectedSocket]:
        if user_id is None:
            return list(self._sockets.values())
        members = self._rooms.get_participants(DEFAULT_NAMESPACE, RoomNames.user(user_id))
        found = [self._sockets[sid] for sid, _ in members if sid in self._sockets]
        return [each for each in found if each.identity and each.identity.user_id == user_id]

    async def _revoke_refused(self, socket: ConnectedSocket) -> None:
        for room, entity in _entities(socket.tracked):
            identity = socket.identity
            if identity is None:
                return
            await self._turns.step(owner=socket.owner)
            allowed = await self._may_still_track(identity, entity)
            if not allowed and socket.identity is identity:
                self.revoke(socket, room)

    def revoke(self, socket: ConnectedSocket, room: str) -> None:
        """Take a socket out of an entity's room, and tell it."""
        if self._leave(socket, room):
            for _, entity in _entities([room]):
                notice = {"type": entity.type, "entityId": entity.id}
                self._rooms.send(socket.sid, TRACKING_REVOKED, notice)

    def revoke_all(self, socket: ConnectedSocket) -> None:
        """Take a socket out of all that it tracks, and tell it."""
        for room in list(socket.tracked):
            self.revoke(socket, room)

    def _leave_rooms(self, socket: ConnectedSocket, rooms: Iterable[str]) -> None:
        for room in rooms:
            self._leave(socket, room)

    def _leave(self, socket: ConnectedSocket, room: str) -> bool:
        """Take a socket out of an entity's room; returns whether it was in it."""
        if room not in socket.tracked:
            return False
        socket.tracked.discard(room)
        self._current.forget(socket.sid, room)
        self._rooms.basic_leave_room(socket.sid, DEFAULT_NAMESPACE, room)
        return True

    async def reauthorize(
        self, socket: ConnectedSocket, identity: Identity
    ) -> tuple[set[str], Mapping[str, ViewChain]]:
        """Work out what a new token of the same user changes.

        It costs as much as a list of what the socket tracks.

        :returns: the rooms that it may not watch, and the views of the others by room.
        :raises RateLimited: when the user has sent too much.
        """
        previous = socket.identity
        if not socket.tracked or previous is None or previous.user_id != identity.user_id:
            return set(), {}
        self._charge(socket, len(socket.tracked))
        revision, asked = -1, dict[str, ViewChain | None]()
        while revision != socket.revision and socket.sid in self._sockets:
            revision, asked = socket.revision, {}
            for room, entity in _entities(socket.tracked):
                await self._turns.step(owner=socket.owner)
                if socket.sid not in self._sockets:
                    break
                allowed = await self._may_still_track(identity, entity)
                asked[room] = await self._chain(identity, entity) if allowed else None
        chains = {room: chain for room, chain in asked.items() if chain is not None}
        return asked.keys() - chains, chains

    async def refresh_views(self, socket: ConnectedSocket, chains: Mapping[str, ViewChain]) -> None:
        """Set a socket's views, then resend the locations that it now sees differently."""
        views, broadcaster = self._views, self._broadcaster
        if views is None:
            return
        before = broadcaster.broadcasts
        changed = [
            (room, broadcaster.newest(room, socket.sid))
            for room, chain in chains.items()
            if room in socket.tracked and views.set(room, socket.sid, chain)
        ]
        for room, newest in changed:
            await self._turns.step(owner=socket.owner)
            # a newer one has been sent as it is seen now
            if newest is not None and not broadcaster.has_sent(room, newest, before):
                broadcaster.send_current(socket.sid, room, newest)


def _entities(rooms: Iterable[str]) -> Iterator[tuple[str, EntityRef]]:
    """Rooms of entities as they are now, each with its entity."""
    for room in list(rooms):
        entity = EntityRef.parse(room)
        if entity is not None:
            yield room, entity


def as_ids(ids: Any) -> list[str]:
    """The argument of ``track`` and ``untrack``: one id, or a list of them, each once.

    :raises InvalidRequest: when it is missing.
    :raises InvalidEntityId: when an id is not a text.
    """
    if isinstance(ids, str):
        return [ids]
    if ids is None:
        raise InvalidRequest("an entity id is required", field="entityId")
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise InvalidEntityId(NO_TEXT, field="entityId")
    return list(dict.fromkeys(ids))
