"""Sockets of this server, as other servers address them in requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from atriz_realtime.api import Membership, Rooms
from atriz_realtime.defaults.typescript.codec import UnreadableMessage, names


@attrs.frozen
class RoomNames:
    """Translates the one room with another name on TypeScript servers."""

    authenticated: str
    """Their name for the room of authenticated sockets."""

    def theirs(self, rooms: Iterable[str]) -> list[str]:
        """Rooms of this package under their names on TypeScript servers."""
        return [self.authenticated if room == Rooms.AUTHENTICATED else room for room in rooms]

    def ours(self, rooms: Iterable[str]) -> list[str]:
        """Rooms of TypeScript servers under their names in this package."""
        return [Rooms.AUTHENTICATED if room == self.authenticated else room for room in rooms]


@attrs.frozen
class Members:
    """Finds and changes this server's sockets by an adapter's options, with TypeScript names."""

    membership: Membership
    names: RoomNames

    def details(self, options: Any) -> list[dict[str, Any]]:
        """The matching sockets as ``fetchSockets`` returns them, handshake and data left out."""
        return [
            {"id": sid, "handshake": {}, "rooms": self.names.theirs(rooms), "data": {}}
            for sid, rooms in self._matching(options).items()
        ]

    def rooms(self) -> list[str]:
        """Every room with a member here."""
        sockets = self.membership.select([], [])
        return self.names.theirs({room for rooms in sockets.values() for room in rooms})

    def join(self, options: Any, rooms: Any) -> None:
        """Add the matching sockets to rooms."""
        joined = self.names.ours(names(rooms))
        for sid in self._matching(options):
            for room in joined:
                self.membership.join(sid, room)

    def leave(self, options: Any, rooms: Any) -> None:
        """Remove the matching sockets from rooms."""
        left = self.names.ours(names(rooms))
        for sid in self._matching(options):
            for room in left:
                self.membership.leave(sid, room)

    def disconnect(self, options: Any) -> None:
        """Disconnect the matching sockets."""
        for sid in self._matching(options):
            self.membership.disconnect(sid)

    def _matching(self, options: Any) -> Mapping[str, Any]:
        if not isinstance(options, Mapping):
            raise UnreadableMessage("no options")
        ours = self.names.ours
        return self.membership.select(
            ours(names(options.get("rooms"))), ours(names(options.get("except")))
        )
