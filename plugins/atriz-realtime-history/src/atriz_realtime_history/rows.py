"""A fix as a row of a table, and back.

The JSON of a location is split: what a device repeats in every fix becomes a source, which is
stored once; coordinates become whole numbers.  What is left of most fixes is about twenty bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import attrs
import orjson

from atriz_realtime.api import (
    EntityRef,
    HistoryPage,
    HistoryQuery,
    InvalidRequest,
    RealtimeError,
    RecordedFix,
    decode_location,
    encode_json,
)
from atriz_realtime_history.simplify import kept

UNITS = 10_000_000
"""Of a coordinate in a degree: one is 1.1 cm."""

MS = 1_000
MINUTE = 60_000
DAY = 86_400_000

_EPOCH = date(1970, 1, 1).toordinal()

_TEXT = rb'"(?:[^"\\]|\\.)*"'
_NUMBER = rb"-?[0-9.eE+-]+"
_LOCATION = re.compile(
    rb'\{"deviceId":(%b),"userId":(%b),"latitude":(%b),"longitude":(%b)'
    rb'((?:,"(?:speed|heading|accuracy|altitude)":%b)*),"timestamp":"[^"]*"'
    rb'(?:,"metadata":(.*))?\}' % (_TEXT, _TEXT, _NUMBER, _NUMBER, _NUMBER),
    re.DOTALL,
)


class Source(NamedTuple):
    """What the fixes of a device have in common."""

    device: bytes
    """The device's id, as JSON."""
    user: bytes
    """The id of the user on whose behalf it reports, as JSON."""
    publisher: bytes | None
    """The id of the user who publishes, as JSON."""


class Row(NamedTuple):
    """A fix, as tables have it."""

    timestamp: int
    """Milliseconds since the epoch, by the device's clock."""
    id: bytes
    received: int
    """Milliseconds since the epoch, by the server's clock."""
    throttled: bool | int
    latitude: int
    """In units of 1e-7 degrees."""
    longitude: int
    measured: bytes | None
    """The JSON of speed, heading, accuracy and altitude, each after a comma."""
    metadata: bytes | None
    """The JSON of ``metadata``."""


def split(fix: RecordedFix) -> tuple[Source, Row]:
    """Split a fix.

    :raises RealtimeError: when its location is no location.
    """
    found = _LOCATION.fullmatch(fix.location)
    if found is None:
        wire = encode_json(decode_location(fix.location).to_wire())
        found = _LOCATION.fullmatch(wire)
        if found is None:
            raise InvalidRequest("no location")
    device, user, latitude, longitude, measured, metadata = found.groups()
    publisher = None if fix.publisher is None else text(fix.publisher)
    return Source(device, user, publisher), Row(
        fix.timestamp,
        fix.id,
        fix.received,
        fix.throttled,
        round(float(latitude) * UNITS),
        round(float(longitude) * UNITS),
        measured or None,
        metadata,
    )


def text(value: str) -> bytes:
    """The JSON of an id; a lone surrogate, which JSON has not, becomes a question mark."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(value.encode(errors="replace").decode())


class Joiner:
    """Makes fixes of an entity's rows."""

    def __init__(self, entity: EntityRef) -> None:
        self._entity = entity
        self._minute = -1
        self._prefix = ""
        self._publishers: dict[bytes | None, str | None] = {None: None}

    def join(self, source: Sequence[Any], row: Sequence[Any]) -> RecordedFix:
        """The fix of a row, whose first columns are those of :class:`Row`."""
        timestamp, fix_id, received, throttled, latitude, longitude, measured, metadata = row[:8]
        minute, rest = divmod(timestamp, MINUTE)
        if minute != self._minute:
            self._minute, self._prefix = minute, _minute_text(minute)
        device, user, publisher = source
        location = b'{"deviceId":%b,"userId":%b,"latitude":%b,"longitude":%b%b,"timestamp":"%b"' % (
            device,
            user,
            degrees(latitude),
            degrees(longitude),
            measured or b"",
            b"%b%02d.%03dZ" % (self._prefix.encode(), *divmod(rest, MS)),
        )
        location += b"}" if metadata is None else b',"metadata":%b}' % metadata
        if publisher not in self._publishers:
            self._publishers[publisher] = orjson.loads(publisher or b"null")
        by = self._publishers[publisher]
        return RecordedFix(fix_id, self._entity, location, timestamp, received, by, bool(throttled))


def page_of(
    query: HistoryQuery, rows: Sequence[Sequence[Any]], sources: Mapping[int, Source]
) -> HistoryPage:
    """The page of the rows that were found, of which one more than the limit was looked for.

    :param rows: the columns of :class:`Row`, then the key of the source.
    """
    cursor = None
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        cursor = _cursor(*rows[-1][:2])
    join = Joiner(query.entity).join
    return HistoryPage([join(sources[row[8]], row) for row in rows], cursor)


@attrs.frozen(eq=False)
class Line:
    """What simplifying a line needs of its fixes, in their order."""

    timestamps: list[int]
    ids: list[bytes]
    latitudes: list[int]
    longitudes: list[int]

    def __add__(self, other: Line) -> Line:
        """The line of both."""
        return Line(
            self.timestamps + other.timestamps,
            self.ids + other.ids,
            self.latitudes + other.latitudes,
            self.longitudes + other.longitudes,
        )

    def simplified(self, query: HistoryQuery) -> tuple[list[tuple[int, bytes]], str | None]:
        """The timestamps and ids of the fixes that stay, and the cursor of the next page.

        One more than the limit was looked for.
        """
        limit, cursor = query.limit, None
        if len(self.timestamps) > limit:
            cursor = _cursor(self.timestamps[limit - 1], self.ids[limit - 1])
        metres = query.simplify or 0.0
        places = kept(self.latitudes[:limit], self.longitudes[:limit], UNITS, metres)
        return [(self.timestamps[place], self.ids[place]) for place in places], cursor


def _cursor(timestamp: int, fix_id: bytes) -> str:
    return f"{timestamp}:{fix_id.hex()}"


def place_of(query: HistoryQuery) -> tuple[int, bytes]:
    """The timestamp and the id after which a page begins.

    :raises InvalidRequest: for a cursor that no page had.
    """
    if query.cursor is None:
        return query.start, b""
    found = re.fullmatch(r"(-?[0-9]{1,15}):([0-9a-f]{32})", query.cursor, re.ASCII)
    if found is None:
        raise InvalidRequest("unknown cursor", field="cursor")
    return int(found[1]), bytes.fromhex(found[2])


def readable(fixes: Iterable[RecordedFix]) -> tuple[list[tuple[RecordedFix, Source, Row]], int]:
    """Split fixes; returns those that could be, and how many could not."""
    found, unreadable = [], 0
    for fix in fixes:
        try:
            found.append((fix, *split(fix)))
        except RealtimeError:
            unreadable += 1
    return found, unreadable


def degrees(units: int) -> bytes:
    """A coordinate as JSON has it."""
    if not units % UNITS:
        return b"%d" % (units // UNITS)
    if -MS < units < MS:  # Python and JSON differ in the form of small numbers
        return orjson.dumps(units / UNITS)
    return b"%a" % (units / UNITS)


def _minute_text(minute: int) -> str:
    """The beginning of the ISO 8601 form of a minute since the epoch."""
    return utc(minute * MINUTE)[:17]


def utc(milliseconds: int) -> str:
    """ISO 8601 in UTC, of milliseconds since the epoch."""
    day, rest = divmod(milliseconds, DAY)
    hour, rest = divmod(rest, 60 * MINUTE)
    minute, rest = divmod(rest, MINUTE)
    second, rest = divmod(rest, MS)
    return f"{day_text(day)}T{hour:02}:{minute:02}:{second:02}.{rest:03}Z"


def day_text(day: int) -> str:
    """The date of a day since the epoch."""
    return date.fromordinal(_EPOCH + day).isoformat()


def day_of(text: str) -> int:
    """The day since the epoch of a date.

    :raises ValueError: when it is none.
    """
    return date.fromisoformat(text).toordinal() - _EPOCH
