"""Rooms and their members on this server, for plugins that act on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE, Rooms


class Membership:
    """See :class:`~atriz_realtime.api.Membership`."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def select(
        self, rooms: Collection[str], skip: Collection[str]
    ) -> Mapping[str, Collection[str]]:
        """The sockets in any of ``rooms``, or all when there are none, with their rooms."""
        manager = self._rooms
        found = dict(manager.get_participants(DEFAULT_NAMESPACE, rooms or None))
        skipped = dict(manager.get_participants(DEFAULT_NAMESPACE, skip))
        return {
            sid: manager.get_rooms(sid, DEFAULT_NAMESPACE)
            for sid in found
            if sid not in skipped and manager.is_connected(sid, DEFAULT_NAMESPACE)
        }

    def join(self, sid: str, room: str) -> None:
        """Put a socket into a room."""
        manager = self._rooms
        if manager.is_connected(sid, DEFAULT_NAMESPACE) and not manager.is_sid_room(
            DEFAULT_NAMESPACE, room
        ):
            manager.basic_enter_room(sid, DEFAULT_NAMESPACE, room)

    def leave(self, sid: str, room: str) -> None:
        """Take a socket out of a room."""
        self._rooms.basic_leave_room(sid, DEFAULT_NAMESPACE, room)

    def disconnect(self, sid: str) -> None:
        """Begin to close a socket."""
        server = self._rooms.server
        server.start_background_task(server.disconnect, sid)

    def follow(self, filled: Callable[[str], None], emptied: Callable[[str], None]) -> None:
        """Tell which rooms have members here."""
        self._rooms.follow(filled, emptied)
