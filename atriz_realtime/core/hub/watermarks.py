"""What a watcher was just shown from the cache, so that nothing older follows it.

The cache may be ahead of the fan-out by the messages that are on their way.  Whoever is
shown a current location is spared them: that very event, and older ones, for a moment.
"""

from __future__ import annotations

from collections import deque

import attrs

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import RealtimeError
from atriz_realtime.api.wire import decode_json

HOLD_SECONDS = 2.0
"""How long a floor holds: longer than a message takes from Redis, shorter than anybody
would wait for a late fix."""


@attrs.frozen(eq=False)
class _Floor:
    room: str
    sid: str | None
    event: bytes
    timestamp: str
    until: float


class Watermarks:
    """Timestamps that a room, or one member of it, has been shown already."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_room: dict[str, dict[str | None, _Floor]] = {}
        self._in_order: deque[_Floor] = deque()

    def __bool__(self) -> bool:
        return bool(self._by_room)

    def advance(self, room: str, sid: str | None, event: bytes) -> None:
        """Spare a member, or with ``None`` the whole room, an event and what is older.

        Not what is as old: a device that tells whole seconds sends several fixes in one.
        """
        until = self._clock.monotonic() + HOLD_SECONDS
        floor = _Floor(room, sid, event, event_time(event), until)
        self._by_room.setdefault(room, {})[sid] = floor
        self._in_order.append(floor)
        self._expire()

    def already_seen(self, room: str, event: bytes) -> set[str | None]:
        """Who is spared an event; with ``None`` among them, everyone is."""
        self._expire()
        watermarks = self._by_room.get(room)
        if watermarks is None:
            return set()
        timestamp = event_time(event)
        spared: set[str | None] = set()
        for sid, floor in list(watermarks.items()):
            if timestamp < floor.timestamp or event == floor.event:
                spared.add(sid)
            elif timestamp > floor.timestamp:
                self._remove(floor)
        return spared

    def forget(self, room: str) -> None:
        """Forget a room that nobody is in any more."""
        self._by_room.pop(room, None)

    def _expire(self) -> None:
        now = self._clock.monotonic()
        while self._in_order and self._in_order[0].until < now:
            self._remove(self._in_order.popleft())

    def _remove(self, floor: _Floor) -> None:
        watermarks = self._by_room.get(floor.room)
        if watermarks is not None and watermarks.get(floor.sid) is floor:
            del watermarks[floor.sid]
            if not watermarks:
                del self._by_room[floor.room]


def event_time(event: bytes) -> str:
    """The timestamp of an event's bytes, which sorts as text; nothing when it has none."""
    try:
        return str(decode_json(event)["location"]["timestamp"])
    except (RealtimeError, KeyError, TypeError):  # another program writes these keys too
        return ""
