"""Recorded journeys: GPX, GeoJSON and CSV files as lists of fixes.

A value that is in the file but makes no sense (a latitude of 91, or the word ``none``) is
kept as it is: what is a good fix is for the server to say.
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
"""Numbers from here on are milliseconds since the epoch, below it seconds (until 5138)."""

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
"""The names that a CSV column or a GeoJSON property may have, in lower case."""

_NAMES = {alias: name for name, aliases in COLUMNS.items() for alias in aliases}

_VALUES = ("latitude", "longitude", "speed", "heading", "accuracy", "altitude")

_DELIMITERS = ",;\t"


@attrs.frozen
class Fix:
    """One recorded position: what is sent of it, and when it was."""

    values: Mapping[str, Any]
    """By the names of the wire; what the file does not have is left out."""
    time: datetime | None
    """In UTC."""


class Unreadable(click.ClickException):
    """A file that is no journey."""


def read_track(path: Path) -> list[Fix]:
    """Read a file, whatever its name: its content says which kind it is.

    :raises Unreadable: when it cannot be read, or holds no fix.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}: neither GPX, GeoJSON nor CSV: not UTF-8 text") from error
    read = {"<": _read_gpx, "{": _read_geojson}.get(text.lstrip()[:1], _read_csv)
    try:
        fixes = list(read(text))
    except Unreadable as error:
        raise Unreadable(f"{path}: {error.message}") from error
    if not fixes:
        raise Unreadable(f"{path}: there is no fix in it")
    return fixes


# -- GPX -------------------------------------------------------------------------------------


def _read_gpx(text: str) -> Iterator[Fix]:
    """All tracks in order; in a file without tracks the routes, else the waypoints."""
    try:
        gpx = gpxpy.parse(text)
    except (gpxpy.gpx.GPXException, ValueError) as error:
        raise Unreadable(f"not GPX: {error}") from error
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
    """``speed`` (m/s) and ``course`` of Garmin's TrackPointExtension and its like."""
    found: dict[str, float | str] = {}
    for extension in elements:
        for element in extension.iter():
            name = str(element.tag).rpartition("}")[2].lower()
            if name in ("speed", "course") and (element.text or "").strip():
                found.setdefault(name, _number(element.text))
    return found


# -- GeoJSON ---------------------------------------------------------------------------------


def _read_geojson(text: str) -> Iterator[Fix]:
    """Every line and point of a FeatureCollection, a Feature or a bare geometry, in order."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not GeoJSON: {error}") from error
    features = document.get("features", [document])
    if not isinstance(features, list):
        raise Unreadable("not GeoJSON: features must be a list")
    for number, feature in enumerate(features, 1):
        if not isinstance(feature, dict):
            raise Unreadable(f"not GeoJSON: feature {number} is no object")
        geometry = feature.get("geometry", feature)
        properties = feature.get("properties")
        yield from _read_geometry(
            geometry if isinstance(geometry, dict) else {},
            properties if isinstance(properties, dict) else {},
            number,
        )


def _read_geometry(
    geometry: Mapping[str, Any], properties: Mapping[str, Any], number: int
) -> Iterator[Fix]:
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind not in ("Point", "LineString", "MultiLineString"):
        return
    if not isinstance(coordinates, list):
        raise Unreadable(f"not GeoJSON: feature {number} has no coordinates")
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
    """The list of times, one a coordinate, by the names that converters give it."""
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
) -> Fix:
    if not isinstance(position, list) or len(position) < 2:
        raise Unreadable(f"not GeoJSON: feature {number} has a position that is none")
    place = {"longitude": position[0], "latitude": position[1]}
    if len(position) > 2:
        place["altitude"] = position[2]
    return _fix({**values, **place}, time)


# -- CSV -------------------------------------------------------------------------------------


def _read_csv(text: str) -> Iterator[Fix]:
    """A table with a header, separated by commas, semicolons or tabs."""
    header = text.lstrip().partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    rows = csv.DictReader(io.StringIO(text.lstrip()), delimiter=delimiter)
    try:
        names = _named({name: name for name in rows.fieldnames or () if name})
        if not {"latitude", "longitude"} <= names.keys():
            raise Unreadable(
                "neither GPX, GeoJSON nor CSV with a header that has lat (latitude) and "
                "lon (lng, longitude)"
            )
        for row in rows:
            values = {name: (row[column] or "").strip() for name, column in names.items()}
            try:
                time = _time(values.pop("time", None))
            except Unreadable as error:
                raise Unreadable(f"line {rows.line_num}: {error.message}") from error
            yield _fix({name: _number(value) for name, value in values.items() if value}, time)
    except csv.Error as error:
        raise Unreadable(f"line {rows.line_num}: not CSV: {error}") from error


# -- values ----------------------------------------------------------------------------------


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that mean something here, by our names; of two with one meaning the first."""
    named: dict[str, Any] = {}
    for alias, value in values.items():
        name = _NAMES.get(alias.strip().lower())
        if name is not None:
            named.setdefault(name, value)
    return named


def _fix(values: Mapping[str, Any], time: datetime | None) -> Fix:
    return Fix({name: values[name] for name in _VALUES if values.get(name) is not None}, time)


def _number(text: str) -> float | str:
    """A number where it is one."""
    try:
        return float(text)
    except ValueError:
        return text


def _time(value: Any) -> datetime | None:
    """ISO 8601, or seconds or milliseconds since the epoch; without a zone it is UTC.

    :raises Unreadable: for anything else.
    """
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except (ValueError, TypeError):
        try:
            return _utc(datetime.fromisoformat(value))
        except (ValueError, TypeError, OverflowError) as error:
            raise Unreadable(f"{value!r} is no time such as 2026-01-31T12:00:00Z") from error
    try:
        return datetime.fromtimestamp(
            seconds / 1000 if abs(seconds) >= MILLISECONDS_FROM else seconds, UTC
        )
    except (ValueError, OverflowError, OSError) as error:
        raise Unreadable(f"{value!r} is no time since the epoch") from error


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def spacing(fixes: Sequence[Fix]) -> list[float]:
    """Seconds from the first fix to each; 1 apart where the file has no times.

    The file's order stands: a fix that is older than the one before it follows at once,
    and one without a time among others that have one comes with the one before it.
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
