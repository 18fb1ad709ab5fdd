"""What the server sends to sockets other than live positions."""

from __future__ import annotations

from typing import Any

from atriz_realtime.api.wire import Rooms as RoomNames
from atriz_realtime.core.clients.gateway import Gateway
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, Rooms


class Sockets:
    """The connected clients, on every server: see :class:`~atriz_realtime.api.Sockets`."""

    def __init__(self, rooms: Rooms, gateway: Gateway) -> None:
        self._rooms = rooms
        self._gateway = gateway

    async def emit(self, event: str, data: Any, room: str | list[str]) -> None:
        """Send an event to everyone in a room, or in any of several: once to each socket."""
        await self._rooms.emit(event, data, DEFAULT_NAMESPACE, room=room)

    async def emit_newest(self, event: str, data: Any, room: str) -> None:
        """Send an event to a room; a client that lags gets only the newest one of the room."""
        await self._rooms.emit(event, data, DEFAULT_NAMESPACE, room=room, conflation_key=room)

    async def send_to_user(self, user_id: str, event: str, data: Any) -> None:
        """Send an event to every socket of a user."""
        await self.emit(event, data, RoomNames.user(user_id))

    async def broadcast_to_authenticated(self, event: str, data: Any) -> None:
        """Send an event to every authenticated socket."""
        await self.emit(event, data, RoomNames.AUTHENTICATED)

    @property
    def connections(self) -> int:
        """Sockets connected to this server."""
        return self._gateway.connections

    @property
    def rooms(self) -> int:
        """Rooms with a member on this server, each socket's own room included."""
        return self._rooms.room_count
