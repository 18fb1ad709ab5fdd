"""How far members of rooms have been brought up to date from the cache.

The cache may be ahead of the fan-out by the messages that are still on their way. A member
that was sent the current location from the cache must not get those messages afterwards: a
watermark holds them back for a moment.
"""

from __future__ import annotations

from collections import deque

import attrs

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import RealtimeError
from atriz_realtime.api.wire import decode_json

HOLD_SECONDS = 2.0
"""How long a watermark holds: longer than a message takes from Redis, shorter than anybody
would wait for a late fix."""


@attrs.frozen(eq=False)
class _Watermark:
    room: str
    sid: str | None
    event: bytes
    timestamp: str
    until: float


class Watermarks:
    """The events that rooms, or single members of them, were sent from the cache."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_room: dict[str, dict[str | None, _Watermark]] = {}
        self._in_order: deque[_Watermark] = deque()

    def __bool__(self) -> bool:
        return bool(self._by_room)

    def advance(self, room: str, sid: str | None, event: bytes) -> None:
        """Set the watermark of one member, or of the whole room when ``sid`` is ``None``.

        It holds back this event and older ones. Other events with the same timestamp pass:
        a device whose clock shows whole seconds sends several fixes in one.
        """
        until = self._clock.monotonic() + HOLD_SECONDS
        watermark = _Watermark(room, sid, event, event_time(event), until)
        self._by_room.setdefault(room, {})[sid] = watermark
        self._in_order.append(watermark)
        self._expire()

    def already_seen(self, room: str, event: bytes) -> set[str | None]:
        """The members that must not get an event; ``None`` among them stands for everyone."""
        self._expire()
        watermarks = self._by_room.get(room)
        if watermarks is None:
            return set()
        timestamp = event_time(event)
        seen: set[str | None] = set()
        for sid, watermark in list(watermarks.items()):
            if timestamp < watermark.timestamp or event == watermark.event:
                seen.add(sid)
            elif timestamp > watermark.timestamp:
                self._remove(watermark)
        return seen

    def forget(self, room: str) -> None:
        """Drop the watermarks of a room that has no members any more."""
        self._by_room.pop(room, None)

    def _expire(self) -> None:
        now = self._clock.monotonic()
        while self._in_order and self._in_order[0].until < now:
            self._remove(self._in_order.popleft())

    def _remove(self, watermark: _Watermark) -> None:
        watermarks = self._by_room.get(watermark.room)
        if watermarks is not None and watermarks.get(watermark.sid) is watermark:
            del watermarks[watermark.sid]
            if not watermarks:
                del self._by_room[watermark.room]


def event_time(event: bytes) -> str:
    """An event's timestamp as it stands in the JSON, which sorts as time does.

    Empty when there is none: other programs publish on these channels too.
    """
    try:
        return str(decode_json(event)["location"]["timestamp"])
    except (RealtimeError, KeyError, TypeError):
        return ""
