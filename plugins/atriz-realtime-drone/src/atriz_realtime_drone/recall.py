"""Calling a drone back: the socket events, and what is remembered of a recall."""

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
"""The command, as the drone and the operator get it."""


@attrs.frozen(eq=False)
class RedisRecalls:
    """Recalls that every server sees: a key each, ``drone:recall:<id>``, which expires."""

    _redis: RedisLink
    _ttl: float

    async def remember(self, drone_id: str, recall: bytes) -> bytes | None:
        """Keep a recall unless one stands already, in one step; returns that one."""
        key, milliseconds = f"drone:recall:{drone_id}", round(self._ttl * 1000)
        standing: bytes | None = await self._redis.execute(
            "SET", key, recall, "NX", "GET", "PX", milliseconds
        )
        return standing

    async def standing(self, drone_id: str) -> bytes | None:
        """The recall that stands, or ``None``."""
        recall: bytes | None = await self._redis.execute("GET", f"drone:recall:{drone_id}")
        return recall


@attrs.frozen(eq=False)
class MemoryRecalls:
    """Recalls of a server that is alone, in the order in which they end."""

    _clock: Clock
    _ttl: float
    _recalls: dict[str, tuple[float, bytes]] = attrs.field(factory=dict, init=False)

    async def remember(self, drone_id: str, recall: bytes) -> bytes | None:
        """Keep a recall unless one stands already; returns that one."""
        standing = await self.standing(drone_id)
        if standing is None:
            self._recalls[drone_id] = (self._clock.monotonic() + self._ttl, recall)
        return standing

    async def standing(self, drone_id: str) -> bytes | None:
        """The recall that stands, or ``None``; forgets all that have ended."""
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
        """Call a drone back; one that is called back already gets the same command again.

        :raises InvalidEntityId: for anything but a drone's id.
        :raises NotAuthorized: unless the user may publish the drone.
        :raises LocationNotFound: when nobody knows where the drone is.
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
        standing = await self.store.remember(drone.id, encode_json(recall))
        if standing is not None:
            recall = decode_json(standing)
        rooms = [Rooms.entity(drone), Rooms.user(operator.user_id)]
        await self.server.sockets.emit(RECALLED, recall, rooms)
        return {"success": True, "recall": recall, "repeated": standing is not None}

    async def state(
        self, client: SocketClient, drone_id: object = None, *_: object
    ) -> dict[str, Any]:
        """The recall that stands, for a drone that was out of reach when it was sent.

        :raises InvalidEntityId: for anything but a drone's id.
        :raises NotAuthorized: unless the user may track the drone.
        """
        drone = self.server.tracking.entity(DRONE, drone_id)
        if client.identity is None or not await self.server.access.may_track(
            client.identity, drone
        ):
            raise NotAuthorized
        standing = await self.store.standing(drone.id)
        return {"success": True, "recall": None if standing is None else decode_json(standing)}
