"""What other servers may ask of this one's sockets, and the names their rooms have there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from atriz_realtime.api import Membership, Rooms
from atriz_realtime.defaults.typescript.codec import Unreadable, names


@attrs.frozen
class RoomNames:
    """The one room that has another name there: that of the authenticated sockets."""

    authenticated: str

    def theirs(self, rooms: list[str]) -> list[str]:
        """Names of ours as they have them."""
        return [self.authenticated if room == Rooms.AUTHENTICATED else room for room in rooms]

    def ours(self, rooms: list[str]) -> list[str]:
        """Names of theirs as we have them."""
        return [Rooms.AUTHENTICATED if room == self.authenticated else room for room in rooms]


class Members:
    """Finds and moves this server's sockets, given an adapter's options."""

    def __init__(self, membership: Membership, room_names: RoomNames) -> None:
        self._membership = membership
        self._names = room_names

    def details(self, options: Any) -> list[dict[str, Any]]:
        """The matching sockets, as ``fetchSockets`` shows them; what they hold stays here."""
        return [
            {"id": sid, "handshake": {}, "rooms": self._names.theirs(list(rooms)), "data": {}}
            for sid, rooms in self._matching(options).items()
        ]

    def rooms(self) -> list[str]:
        """Every room with a member here."""
        sockets = self._membership.select([], [])
        return self._names.theirs(list({room for rooms in sockets.values() for room in rooms}))

    def join(self, options: Any, rooms: Any) -> None:
        """Put the matching sockets into rooms."""
        wanted = self._names.ours(names(rooms))
        for sid in self._matching(options):
            for room in wanted:
                self._membership.join(sid, room)

    def leave(self, options: Any, rooms: Any) -> None:
        """Take the matching sockets out of rooms."""
        unwanted = self._names.ours(names(rooms))
        for sid in self._matching(options):
            for room in unwanted:
                self._membership.leave(sid, room)

    def disconnect(self, options: Any) -> None:
        """Close the matching sockets."""
        for sid in self._matching(options):
            self._membership.disconnect(sid)

    def _matching(self, options: Any) -> Mapping[str, Any]:
        if not isinstance(options, Mapping):
            raise Unreadable("no options")
        ours = self._names.ours
        return self._membership.select(
            ours(names(options.get("rooms"))), ours(names(options.get("except")))
        )
