"""The socket events that recall a drone, and the storage of recalls."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs

from atriz_realtime.api import (
    Clock,
    LocationNotFound,
    NotAuthorized,
    RedisLink,
    Rooms,
    ServerHandle,
    SocketClient,
    decode_json,
    encode_json,
    format_timestamp,
)
from atriz_realtime_drone.rules import DRONE

RECALLED = "drone:recalled"
"""The event that the drone and the operator get."""


@attrs.frozen(eq=False)
class RedisRecalls:
    """Recalls shared by all servers: each has a key ``drone:recall:<id>``, which expires."""

    _redis: RedisLink
    _ttl: float

    async def add(self, drone_id: str, recall: bytes) -> bytes | None:
        """Store a recall unless there is one, atomically; returns the existing one."""
        key, milliseconds = f"drone:recall:{drone_id}", round(self._ttl * 1000)
        existing: bytes | None = await self._redis.execute(
            "SET", key, recall, "NX", "GET", "PX", milliseconds
        )
        return existing

    async def find(self, drone_id: str) -> bytes | None:
        """The recall in force, or ``None``."""
        recall: bytes | None = await self._redis.execute("GET", f"drone:recall:{drone_id}")
        return recall


@attrs.frozen(eq=False)
class MemoryRecalls:
    """Recalls of a single server, in the order in which they end."""

    _clock: Clock
    _ttl: float
    _recalls: dict[str, tuple[float, bytes]] = attrs.field(factory=dict, init=False)

    async def add(self, drone_id: str, recall: bytes) -> bytes | None:
        """Store a recall unless there is one; returns the existing one."""
        existing = await self.find(drone_id)
        if existing is None:
            self._recalls[drone_id] = (self._clock.monotonic() + self._ttl, recall)
        return existing

    async def find(self, drone_id: str) -> bytes | None:
        """The recall in force, or ``None``; removes those that have ended."""
        now = self._clock.monotonic()
        for other, (end, _) in list(self._recalls.items()):
            if end > now:
                break
            del self._recalls[other]
        _, recall = self._recalls.get(drone_id, (0, None))
        return recall


@attrs.frozen(eq=False, kw_only=True)
class Recalls:
    """The handlers of ``drone:recall`` and ``drone:recall-state``."""

    server: ServerHandle
    store: RedisRecalls | MemoryRecalls
    clock: Clock
    ttl: float

    async def recall(
        self, client: SocketClient, drone_id: object = None, *_: object
    ) -> dict[str, Any]:
        """Recall a drone; one that is recalled already gets the same command again.

        :raises InvalidEntityId: for anything but a drone's id.
        :raises NotAuthorized: unless the user may publish the drone.
        :raises LocationNotFound: when the drone has no current location.
        """
        drone = self.server.tracking.entity(DRONE, drone_id)
        operator = client.identity
        if operator is None or not await self.server.access.may_publish(operator, drone):
            raise NotAuthorized
        if await self.server.tracking.current(drone) is None:
            raise LocationNotFound
        now = self.clock.now()
        recall = {
            "entityId": drone.id,
            "recalledBy": operator.user_id,
            "recalledAt": format_timestamp(datetime.fromtimestamp(now, UTC)),
            "expiresAt": format_timestamp(datetime.fromtimestamp(now + self.ttl, UTC)),
        }
        existing = await self.store.add(drone.id, encode_json(recall))
        if existing is not None:
            recall = decode_json(existing)
        rooms = [Rooms.entity(drone), Rooms.user(operator.user_id)]
        await self.server.sockets.emit(RECALLED, recall, rooms)
        return {"success": True, "recall": recall, "repeated": existing is not None}

    async def state(
        self, client: SocketClient, drone_id: object = None, *_: object
    ) -> dict[str, Any]:
        """The recall in force, for a drone that was not connected when it was sent.

        :raises InvalidEntityId: for anything but a drone's id.
        :raises NotAuthorized: unless the user may track the drone.
        """
        drone = self.server.tracking.entity(DRONE, drone_id)
        if client.identity is None or not await self.server.access.may_track(
            client.identity, drone
        ):
            raise NotAuthorized
        existing = await self.store.find(drone.id)
        return {"success": True, "recall": None if existing is None else decode_json(existing)}
