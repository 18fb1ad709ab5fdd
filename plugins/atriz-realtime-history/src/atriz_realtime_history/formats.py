"""What an entity's past can be read as: JSON, GeoJSON, GPX and CSV.

A format writes parts: of each it is told some fixes, and at last the cursor of the next page.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Protocol
from xml.sax.saxutils import escape

import attrs
import orjson

from atriz_realtime.api import EntityRef, encode_json


@attrs.frozen
class Shown:
    """A fix, as a caller sees it."""

    location: bytes
    """The location's JSON."""
    throttled: bool

    def decoded(self) -> dict[str, Any]:
        """The location."""
        found: dict[str, Any] = orjson.loads(self.location)
        return found


class Format(Protocol):
    """A format of answers."""

    mime: str
    """The media type."""
    media_type: str
    """The same with its character set, if it needs one."""
    suffix: str
    """Of a file's name."""
    has_pages: bool
    """Whether an answer can say where the next one begins."""

    def part(self, entity: EntityRef, fixes: Sequence[Shown], *, is_first: bool) -> Iterator[bytes]:
        """A part of an answer; the first is asked for even if there are no fixes."""

    def end(self, cursor: str | None) -> bytes:
        """The end of an answer."""


class Json:
    """Locations as the wire has them; those that watchers were not sent at once are marked."""

    mime: str = "application/json"
    media_type: str = mime
    suffix: str = "json"
    has_pages: bool = True

    def part(self, _: EntityRef, fixes: Sequence[Shown], *, is_first: bool) -> Iterator[bytes]:
        """See :class:`Format`."""
        separator = b""
        if is_first:
            yield b'{"locations":['
        else:
            separator = b","
        for fix in fixes:
            if fix.throttled:
                yield b'%b%b,"throttled":true}' % (separator, fix.location[:-1])
            else:
                yield separator + fix.location
            separator = b","

    def end(self, cursor: str | None) -> bytes:
        """See :class:`Format`."""
        return b'],"nextCursor":%b}' % encode_json(cursor)


class GeoJson:
    """A feature of RFC 7946 for each fix: a point, with what else is known as its properties."""

    mime: str = "application/geo+json"
    media_type: str = mime
    suffix: str = "geojson"
    has_pages: bool = False

    def part(self, _: EntityRef, fixes: Sequence[Shown], *, is_first: bool) -> Iterator[bytes]:
        """See :class:`Format`."""
        separator = b""
        if is_first:
            yield b'{"type":"FeatureCollection","features":['
        else:
            separator = b","
        for fix in fixes:
            properties = fix.decoded()
            place = [properties.pop("longitude"), properties.pop("latitude")]
            if "altitude" in properties:
                place.append(properties.pop("altitude"))
            if fix.throttled:
                properties["throttled"] = True
            geometry = {"type": "Point", "coordinates": place}
            yield separator + encode_json(
                {"type": "Feature", "geometry": geometry, "properties": properties}
            )
            separator = b","

    def end(self, _: str | None) -> bytes:
        """See :class:`Format`."""
        return b"]}"


class Gpx:
    """A track of GPX 1.1."""

    mime: str = "application/gpx+xml"
    media_type: str = mime
    suffix: str = "gpx"
    has_pages: bool = False

    HEAD: ClassVar[bytes] = (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<gpx version="1.1" creator="atriz-realtime" xmlns="http://www.topografix.com/GPX/1/1">'
        b"<trk><name>%b</name><trkseg>\n"
    )

    def part(self, entity: EntityRef, fixes: Sequence[Shown], *, is_first: bool) -> Iterator[bytes]:
        """See :class:`Format`."""
        if is_first:
            yield self.HEAD % escape(entity.id).encode()
        for fix in fixes:
            location = fix.decoded()
            altitude = location.get("altitude")
            yield b'<trkpt lat="%b" lon="%b">%b<time>%b</time></trkpt>\n' % (
                _plain(location["latitude"]),
                _plain(location["longitude"]),
                b"" if altitude is None else b"<ele>%b</ele>" % _plain(altitude),
                location["timestamp"].encode(),
            )

    def end(self, _: str | None) -> bytes:
        """See :class:`Format`."""
        return b"</trkseg></trk></gpx>\n"


class Csv:
    """A row for each fix (RFC 4180)."""

    mime: str = "text/csv"
    media_type: str = "text/csv; charset=utf-8; header=present"
    suffix: str = "csv"
    has_pages: bool = False

    COLUMNS: ClassVar[tuple[str, ...]] = (
        *("timestamp", "latitude", "longitude", "speed", "heading", "accuracy", "altitude"),
        *("throttled", "deviceId", "userId", "metadata"),
    )

    def part(self, _: EntityRef, fixes: Sequence[Shown], *, is_first: bool) -> Iterator[bytes]:
        """See :class:`Format`."""
        text = io.StringIO()
        writer = csv.writer(text)
        if is_first:
            writer.writerow(self.COLUMNS)
        for fix in fixes:
            values = fix.decoded()
            values["throttled"] = "true" if fix.throttled else "false"
            if "metadata" in values:
                values["metadata"] = orjson.dumps(values["metadata"]).decode()
            writer.writerow([values.get(name, "") for name in self.COLUMNS])
        yield text.getvalue().encode()

    def end(self, _: str | None) -> bytes:
        """See :class:`Format`."""
        return b""


JSON = Json()

FORMATS: tuple[Format, ...] = (JSON, GeoJson(), Gpx(), Csv())


def _plain(number: float) -> bytes:
    """A number without an exponent, which GPX does not know."""
    text = f"{number:.7f}".rstrip("0").rstrip(".")
    return text.encode()
