"""Reads recorded tracks, as GPX, GeoJSON and CSV files, as lists of fixes.

Values are not validated: a latitude of 91, or the word ``none``, is sent as it is, since
the server decides which fixes are valid.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import click
import gpxpy
import gpxpy.gpx

KMH_PER_MPS = 3.6

MILLISECONDS_FROM = 1e11
"""From here on, numbers are milliseconds since the epoch; below, seconds (up to the year 5138)."""

COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "latitude": ("lat", "latitude"),
        "longitude": ("lon", "lng", "longitude"),
        "time": ("time", "timestamp"),
        "speed": ("speed",),
        "heading": ("heading", "bearing", "course"),
        "accuracy": ("accuracy",),
        "altitude": ("altitude", "ele"),
    }
)
"""The accepted names of CSV columns and GeoJSON properties, in lower case."""

_NAMES = {alias: name for name, aliases in COLUMNS.items() for alias in aliases}

_DELIMITERS = ",;\t"


@attrs.frozen
class RecordedFix:
    """One recorded position."""

    values: Mapping[str, Any]
    """Fields by their names on the wire; those that the file does not have are missing."""
    time: datetime | None
    """In UTC."""


class UnreadableTrack(click.ClickException):
    """A file cannot be read as a track."""


def read_track(path: Path) -> list[RecordedFix]:
    """Read a file; its content, not its name, tells the format.

    :raises UnreadableTrack: when the file cannot be read, or has no fix.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UnreadableTrack(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UnreadableTrack(f"{path}: neither GPX, GeoJSON nor CSV: not UTF-8 text") from error
    read = {"<": _read_gpx, "{": _read_geojson}.get(text.lstrip()[:1], _read_csv)
    try:
        fixes = list(read(text))
    except UnreadableTrack as error:
        raise UnreadableTrack(f"{path}: {error.message}") from error
    if not fixes:
        raise UnreadableTrack(f"{path}: there is no fix in it")
    return fixes


# -- GPX -------------------------------------------------------------------------------------


def _read_gpx(text: str) -> Iterator[RecordedFix]:
    """All track points; in a file without tracks the route points, or else the waypoints."""
    try:
        gpx = gpxpy.parse(text)
    except (gpxpy.gpx.GPXException, ValueError) as error:
        raise UnreadableTrack(f"not GPX: {error}") from error
    tracked = [p for track in gpx.tracks for segment in track.segments for p in segment.points]
    routed = [point for route in gpx.routes for point in route.points]
    for point in tracked or routed or gpx.waypoints:
        extended = _gpx_extensions(point.extensions)
        speed = extended.get("speed", getattr(point, "speed", None))
        yield _fix(
            {
                "latitude": point.latitude,
                "longitude": point.longitude,
                "speed": speed * KMH_PER_MPS if isinstance(speed, float) else speed,
                "heading": extended.get("course", getattr(point, "course", None)),
                "altitude": point.elevation,
            },
            _utc(point.time) if point.time is not None else None,
        )


def _gpx_extensions(elements: Iterable[Any]) -> dict[str, float | str]:
    """``speed`` (m/s) and ``course`` of Garmin's TrackPointExtension and similar extensions."""
    found: dict[str, float | str] = {}
    for extension in elements:
        for element in extension.iter():
            name = str(element.tag).rpartition("}")[2].lower()
            if name in ("speed", "course") and (element.text or "").strip():
                found.setdefault(name, _number(element.text))
    return found


# -- GeoJSON ---------------------------------------------------------------------------------


def _read_geojson(text: str) -> Iterator[RecordedFix]:
    """All lines and points of a FeatureCollection, a Feature or a bare geometry, in order."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableTrack(f"not GeoJSON: {error}") from error
    features = document.get("features", [document])
    if not isinstance(features, list):
        raise UnreadableTrack("not GeoJSON: features must be a list")
    for number, feature in enumerate(features, 1):
        if not isinstance(feature, dict):
            raise UnreadableTrack(f"not GeoJSON: feature {number} is not an object")
        geometry = feature.get("geometry", feature)
        properties = feature.get("properties")
        yield from _read_geometry(
            geometry if isinstance(geometry, dict) else {},
            properties if isinstance(properties, dict) else {},
            number,
        )


def _read_geometry(
    geometry: Mapping[str, Any], properties: Mapping[str, Any], number: int
) -> Iterator[RecordedFix]:
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind not in ("Point", "LineString", "MultiLineString"):
        return
    if not isinstance(coordinates, list):
        raise UnreadableTrack(f"not GeoJSON: feature {number} has no coordinates")
    if kind == "Point":
        named = _named(properties)
        yield _positioned(coordinates, named, _time(named.get("time")), number)
        return
    times = _coordinate_times(properties)
    lines = [coordinates] if kind == "LineString" else coordinates
    if kind == "LineString":
        times = [times]
    for index, line in enumerate(lines):
        moments = _item(times, index)
        for place, position in enumerate(line if isinstance(line, list) else []):
            yield _positioned(position, {}, _time(_item(moments, place)), number)


def _coordinate_times(properties: Mapping[str, Any]) -> Any:
    """The list of times, one for each coordinate; converters name it differently."""
    inner = properties.get("coordinateProperties")
    for source in (properties, inner if isinstance(inner, dict) else {}):
        for name in ("coordTimes", "times", "time"):
            if isinstance(source.get(name), list):
                return source[name]
    return []


def _item(values: Any, index: int) -> Any:
    return values[index] if isinstance(values, list) and index < len(values) else None


def _positioned(
    position: Any, values: Mapping[str, Any], time: datetime | None, number: int
) -> RecordedFix:
    if not isinstance(position, list) or len(position) < 2:
        raise UnreadableTrack(f"not GeoJSON: feature {number} has an invalid position")
    place = {"longitude": position[0], "latitude": position[1]}
    if len(position) > 2:
        place["altitude"] = position[2]
    return _fix({**values, **place}, time)


# -- CSV -------------------------------------------------------------------------------------


def _read_csv(text: str) -> Iterator[RecordedFix]:
    """Rows under a header, separated by commas, semicolons or tabs."""
    header = text.lstrip().partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    rows = csv.DictReader(io.StringIO(text.lstrip()), delimiter=delimiter)
    try:
        names = _named({name: name for name in rows.fieldnames or () if name})
        if not {"latitude", "longitude"} <= names.keys():
            raise UnreadableTrack(
                "neither GPX, GeoJSON nor CSV with a header that has lat (latitude) and "
                "lon (lng, longitude)"
            )
        for row in rows:
            values = {name: (row[column] or "").strip() for name, column in names.items()}
            try:
                time = _time(values.pop("time", None))
            except UnreadableTrack as error:
                raise UnreadableTrack(f"line {rows.line_num}: {error.message}") from error
            yield _fix({name: _number(value) for name, value in values.items() if value}, time)
    except csv.Error as error:
        raise UnreadableTrack(f"line {rows.line_num}: not CSV: {error}") from error


# -- values ----------------------------------------------------------------------------------


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """The known values by their names on the wire; of two aliases the first counts."""
    named: dict[str, Any] = {}
    for alias, value in values.items():
        name = _NAMES.get(alias.strip().lower())
        if name is not None:
            named.setdefault(name, value)
    return named


def _fix(values: Mapping[str, Any], time: datetime | None) -> RecordedFix:
    known = [name for name in COLUMNS if name != "time" and values.get(name) is not None]
    return RecordedFix({name: values[name] for name in known}, time)


def _number(text: str) -> float | str:
    """The number that a text is, or the text."""
    try:
        return float(text)
    except ValueError:
        return text


def _time(value: Any) -> datetime | None:
    """Parse ISO 8601, or seconds or milliseconds since the epoch; without a zone it is UTC.

    :raises UnreadableTrack: for anything else.
    """
    if value is None or value == "":
        return None
    try:
        try:
            seconds = float(value)
        except (ValueError, TypeError):
            return _utc(datetime.fromisoformat(value))
        seconds = seconds / 1000 if abs(seconds) >= MILLISECONDS_FROM else seconds
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise UnreadableTrack(f"{value!r} is not a time such as 2026-01-31T12:00:00Z") from error


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def spacing(fixes: Sequence[RecordedFix]) -> list[float]:
    """Seconds from the first fix to each; one second apart when no fix has a time.

    The order of the file stands: a fix that is older than the one before follows at once, and
    so does a fix without a time among others that have one.
    """
    timed = any(fix.time is not None for fix in fixes)
    offsets: list[float] = []
    offset, last = 0.0, None
    for index, fix in enumerate(fixes):
        if not timed:
            offset = float(index)
        elif fix.time is not None:
            if last is not None:
                offset += max(0.0, (fix.time - last).total_seconds())
            last = fix.time
        offsets.append(offset)
    return offsets
