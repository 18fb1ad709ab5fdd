"""What members of rooms were sent from the cache, while the fan-out is behind it.

The cache is ahead of the fan-out by the messages that are still on their way, and by throttled
fixes. A member that was sent the current location from the cache must not get it a second time,
and for a moment nothing older: a watermark remembers it until the room is sent something newer,
or the member leaves. If something older passes after that moment, the current location may follow
it once more, so that the member ends with it.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import attrs

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import RealtimeError
from atriz_realtime.api.wire import decode_json

HOLD_SECONDS = 2.0
"""How long a watermark holds back older fixes: longer than a message takes from Redis, shorter
than anybody would wait for a late fix."""

NOBODY: frozenset[str | None] = frozenset()


@attrs.define(eq=False)
class Watermark:
    """An event that a member, or the whole room, was sent from the cache."""

    event: bytes
    timestamp: bytes
    held_until: float
    is_last: bool = True
    """Whether nothing else has passed since."""


class Watermarks:
    """The events that rooms, or single members of them, were sent from the cache."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.by_room: dict[str, dict[str | None, Watermark]] = {}
        """The watermarks of each room by sid; that of ``None`` is everyone's."""

    def advance(self, room: str, sid: str | None, event: bytes) -> None:
        """Set the watermark of one member, or of the whole room when ``sid`` is ``None``.

        It holds back this event, and older ones for a moment. Other events with the same
        timestamp pass: a device whose clock shows whole seconds sends several fixes in one.
        This event then follows them once more, if it is the last.
        """
        watermarks = self.by_room.setdefault(room, {})
        latest = next(reversed(watermarks.values()), None)
        if latest is not None and latest.event == event:  # the members share one copy
            event, timestamp = latest.event, latest.timestamp
        else:
            timestamp = event_time(event)
        watermarks[sid] = Watermark(event, timestamp, self._clock.monotonic() + HOLD_SECONDS)

    def of(self, room: str, sid: str | None) -> Watermark | None:
        """What a member was sent from the cache, unless the room was sent something newer."""
        return self.by_room.get(room, {}).get(sid)

    def already_seen(self, room: str, event: bytes, timestamp: bytes) -> AbstractSet[str | None]:
        """The members that must not get an event; ``None`` among them stands for everyone.

        :param timestamp: the event's :func:`event_time`.
        """
        watermarks = self.by_room.get(room)
        if watermarks is None:
            return NOBODY
        now = self._clock.monotonic()
        seen: set[str | None] = set()
        for sid, watermark in list(watermarks.items()):
            if event == watermark.event:
                if watermark.is_last:
                    seen.add(sid)
                watermark.is_last = True  # what passed was before it
            elif timestamp > watermark.timestamp:
                self.forget(room, sid)
            elif timestamp < watermark.timestamp and now <= watermark.held_until:
                seen.add(sid)
            else:
                watermark.is_last = False
        return seen

    def hold(self, room: str) -> None:
        """Hold back older events anew: what follows comes from the cache, or after a gap."""
        until = self._clock.monotonic() + HOLD_SECONDS
        for watermark in self.by_room.get(room, {}).values():
            watermark.held_until = until

    def forget(self, room: str, sid: str | None) -> None:
        """Drop the watermark of a member that leaves a room, or everyone's, if there is one."""
        watermarks = self.by_room.get(room)
        if watermarks is not None and watermarks.pop(sid, None) is not None and not watermarks:
            del self.by_room[room]


def event_time(event: bytes) -> bytes:
    """An event's timestamp as it stands in the JSON, which sorts as time does.

    Empty when there is none: other programs publish on these channels too. Every fix that goes out
    comes here, so JSON is decoded only if there are several timestamps, or white space.
    """
    at = event.find(_TIMESTAMP)
    if at >= 0 and event.find(_TIMESTAMP, at + 1) < 0:
        at += len(_TIMESTAMP)
        timestamp = event[at : event.find(b'"', at)]
    else:
        try:
            timestamp = str(decode_json(event)["location"]["timestamp"]).encode()
        except (RealtimeError, KeyError, TypeError):
            return b""
    return timestamp if b"0" <= timestamp < b":" else b""


_TIMESTAMP = b'"timestamp":"'
"""In a text it would have backslashes."""
