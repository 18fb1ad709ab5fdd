"""Reading recorded tracks."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atriz_realtime.cli.client.tracks import RecordedFix, UnreadableTrack, read_track, spacing


def at(second: float, hour: int = 12) -> datetime:
    return datetime.fromtimestamp(1_769_817_600 + hour * 3600 + second, UTC)


def read(tmp_path: Path, text: str | bytes) -> list[RecordedFix]:
    path = tmp_path / "journey"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_track(path)


def gpx(body: str, version: str = "1.1") -> str:
    namespace = f"http://www.topografix.com/GPX/{version.replace('.', '/')}"
    return f'<gpx version="{version}" creator="t" xmlns="{namespace}">{body}</gpx>'


def point(latitude: float, second: int, tag: str = "trkpt", inside: str = "") -> str:
    time = f"<time>2026-01-31T12:00:{second:02}Z</time>"
    return f'<{tag} lat="{latitude}" lon="-8.5"><ele>12.5</ele>{time}{inside}</{tag}>'


def latitudes(fixes: list[RecordedFix]) -> list[Any]:
    return [fix.values["latitude"] for fix in fixes]


# -- GPX -------------------------------------------------------------------------------------


def test_gpx_tracks_and_their_segments_follow_each_other(tmp_path: Path) -> None:
    segments = [f"<trkseg>{point(n, n)}{point(n + 0.5, n)}</trkseg>" for n in (1, 2, 3)]
    body = f"{point(9, 9, 'wpt')}<trk>{segments[0]}{segments[1]}</trk><trk>{segments[2]}</trk>"
    fixes = read(tmp_path, gpx(body))
    assert latitudes(fixes) == [1, 1.5, 2, 2.5, 3, 3.5]
    assert fixes[0] == RecordedFix({"latitude": 1.0, "longitude": -8.5, "altitude": 12.5}, at(1))


def test_gpx_without_tracks_gives_its_routes_else_its_waypoints(tmp_path: Path) -> None:
    waypoints = point(1, 1, "wpt") + point(2, 2, "wpt")
    route = f"<rte>{point(3, 3, 'rtept')}</rte>"
    assert latitudes(read(tmp_path, gpx(waypoints + route))) == [3]
    assert latitudes(read(tmp_path, gpx(waypoints))) == [1, 2]


def test_gpx_speeds_are_metres_per_second_and_become_km_per_hour(tmp_path: Path) -> None:
    old = gpx(
        '<trk><trkseg><trkpt lat="1" lon="2"><course>270</course><speed>10</speed></trkpt>'
        "</trkseg></trk>",
        "1.0",
    )
    garmin = (
        '<extensions><g:TrackPointExtension xmlns:g="http://www.garmin.com/xmlschemas/'
        'TrackPointExtension/v2"><g:speed>10.0</g:speed><g:course>270</g:course>'
        "</g:TrackPointExtension></extensions>"
    )
    new = gpx(f"<trk><trkseg>{point(1, 0, inside=garmin)}</trkseg></trk>")
    for text in (old, new):
        (fix,) = read(tmp_path, text)
        assert (fix.values["speed"], fix.values["heading"]) == (36, 270)


def test_gpx_times_are_read_in_their_zone(tmp_path: Path) -> None:
    times = ("2026-01-31T12:00:05Z", "2026-01-31T14:00:05+02:00", "2026-01-31T12:00:05")
    points = "".join(f'<trkpt lat="1" lon="2"><time>{time}</time></trkpt>' for time in times)
    fixes = read(tmp_path, gpx(f"<trk><trkseg>{points}</trkseg></trk>"))
    assert [fix.time for fix in fixes] == [at(5)] * 3


# -- GeoJSON ---------------------------------------------------------------------------------

TIMES = ["2026-01-31T12:00:00Z", "2026-01-31T12:00:07Z"]
LINE = {"type": "LineString", "coordinates": [[-8.6, 52.6], [-8.7, 52.7, 30]]}
FIXES = [
    RecordedFix({"latitude": 52.6, "longitude": -8.6}, at(0)),
    RecordedFix({"latitude": 52.7, "longitude": -8.7, "altitude": 30}, at(7)),
]


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


@pytest.mark.parametrize(
    "properties",
    [
        {"coordTimes": TIMES},
        {"times": TIMES},
        {"time": TIMES},
        {"coordinateProperties": {"times": TIMES}, "time": TIMES[0]},
    ],
)
def test_a_geojson_line_has_a_time_for_each_position(
    tmp_path: Path, properties: dict[str, Any]
) -> None:
    collection = {"type": "FeatureCollection", "features": [feature(LINE, **properties)]}
    assert read(tmp_path, json.dumps(collection)) == FIXES
    assert read(tmp_path, json.dumps(feature(LINE, **properties))) == FIXES


def test_a_bare_geojson_geometry_has_no_times(tmp_path: Path) -> None:
    assert read(tmp_path, json.dumps(LINE)) == [RecordedFix(fix.values, None) for fix in FIXES]
    assert read(tmp_path, json.dumps({**feature(LINE), "properties": None}))[1].time is None


def test_geojson_lines_of_one_feature_follow_each_other(tmp_path: Path) -> None:
    lines = {"type": "MultiLineString", "coordinates": [LINE["coordinates"]] * 2}
    assert read(tmp_path, json.dumps(feature(lines, coordTimes=[TIMES, TIMES]))) == FIXES * 2


def test_geojson_points_carry_what_their_properties_say(tmp_path: Path) -> None:
    points = [
        feature(
            {"type": "Point", "coordinates": [-8.6, 52.6]},
            Time=TIMES[0],
            speed=40,
            Bearing=90,
            accuracy=4,
            ele=7,
            name="x",
        ),
        feature({"type": "Polygon", "coordinates": []}),
        feature({"type": "Point", "coordinates": [-8.7, 52.7]}, timestamp=at(7).timestamp() * 1000),
        feature(None),
    ]
    assert read(tmp_path, json.dumps({"type": "FeatureCollection", "features": points})) == [
        RecordedFix(
            {
                "latitude": 52.6,
                "longitude": -8.6,
                "speed": 40,
                "heading": 90,
                "accuracy": 4,
                "altitude": 7,
            },
            at(0),
        ),
        RecordedFix({"latitude": 52.7, "longitude": -8.7}, at(7)),
    ]


# -- CSV -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    "header",
    [
        "lat,lon,time,speed,heading,accuracy,altitude",
        "LATITUDE,Longitude,TimeStamp,Speed,Bearing,Accuracy,Ele",
        " lat , lng , time , speed , course , accuracy , altitude ",
    ],
)
def test_csv_columns_have_aliases(tmp_path: Path, header: str, delimiter: str) -> None:
    text = f"{header}\r\n52.6,-8.6,2026-01-31T12:00:00Z,40.5,90,4,7\r\n52.7, -8.7,,,,,\r\n"
    assert read(tmp_path, "\ufeff" + text.replace(",", delimiter)) == [
        RecordedFix(
            {
                "latitude": 52.6,
                "longitude": -8.6,
                "speed": 40.5,
                "heading": 90,
                "accuracy": 4,
                "altitude": 7,
            },
            at(0),
        ),
        RecordedFix({"latitude": 52.7, "longitude": -8.7}, None),
    ]


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-31T12:00:05Z",
        "2026-01-31 12:00:05",
        "2026-01-31T13:00:05+01:00",
        f"{at(5).timestamp():.0f}",
        f"{at(5).timestamp() * 1000:.0f}",
        f"{at(5).timestamp():.3f}",
    ],
)
def test_csv_times_are_iso_8601_or_count_from_the_epoch(tmp_path: Path, time: str) -> None:
    (fix,) = read(tmp_path, f"time,lat,lon\n{time},1,2\n")
    assert fix.time == at(5)


def test_unknown_columns_are_ignored_and_the_first_alias_counts(
    tmp_path: Path,
) -> None:
    (fix,) = read(tmp_path, 'name,lat,lon,latitude\n"a, b",1,2,3\n')
    assert fix.values == {"latitude": 1, "longitude": 2}


# -- errors ----------------------------------------------------------------------------------


def test_invalid_values_are_left_for_the_server_to_refuse(tmp_path: Path) -> None:
    fixes = read(tmp_path, "lat,lon,speed\n91,2,-5\nnorth,2,\n,2,\n")
    assert [dict(fix.values) for fix in fixes] == [
        {"latitude": 91, "longitude": 2, "speed": -5},
        {"latitude": "north", "longitude": 2},
        {"longitude": 2},
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither GPX, GeoJSON nor CSV"),
        ("hello\n", "neither GPX, GeoJSON nor CSV"),
        ("lat,lon\n", "no fix in it"),
        ("lat,lon,time\n1,2,yesterday\n", "line 2: 'yesterday' is not a time"),
        ("lat,lon,time\n1,2,1e300\n", "line 2: '1e300' is not a time"),
        ("lat,lon,time\n1,2,nan\n", "line 2: 'nan' is not a time"),
        (b"\xff\xfe\x00", "not UTF-8"),
        ("<gpx", "not GPX"),
        (gpx(""), "no fix in it"),
        (gpx('<wpt lat="north" lon="2"/>'), "not GPX"),
        ("<html></html>", "no fix in it"),
        ("{", "not GeoJSON"),
        ("{}", "no fix in it"),
        ('{"features": 5}', "features must be a list"),
        ('{"features": [5]}', "feature 1 is not an object"),
        ('{"type": "LineString"}', "feature 1 has no coordinates"),
        ('{"type": "LineString", "coordinates": [[1]]}', "feature 1 has an invalid position"),
        ('{"type": "Point", "coordinates": []}', "feature 1 has an invalid position"),
        ('{"type":' * 100_000, "not GeoJSON"),
    ],
)
def test_an_unreadable_file_gives_the_reason(
    tmp_path: Path, text: str | bytes, reason: str
) -> None:
    with pytest.raises(UnreadableTrack) as caught:
        read(tmp_path, text)
    assert reason in caught.value.message
    assert caught.value.message.startswith(str(tmp_path / "journey"))


def test_a_missing_file_gives_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UnreadableTrack, match="No such file"):
        read_track(tmp_path / "nothing.gpx")
    with pytest.raises(UnreadableTrack, match="Is a directory"):
        read_track(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "features",
                    "geometry",
                    "coordinates",
                    "properties",
                    "time",
                    "times",
                    "speed",
                ]
            ),
            inner | st.sampled_from(["Point", "LineString", "MultiLineString"]),
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | st.text(max_size=60).map(lambda text: f"lat,lon,time\n{text}".encode(errors="replace"))
    | JSON.map(lambda value: json.dumps({"features": [value]}).encode())
    | JSON.map(lambda value: json.dumps(value).encode())
)
def test_any_content_is_fixes_or_unreadable(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(content)
    with suppress(UnreadableTrack):
        fixes = read_track(path)
        assert len(spacing(fixes)) == len(fixes) > 0


# -- spacing ---------------------------------------------------------------------------------


def timed(*seconds: float | None) -> list[RecordedFix]:
    return [RecordedFix({}, None if second is None else at(second)) for second in seconds]


@pytest.mark.parametrize(
    ("seconds", "offsets"),
    [
        ((5, 6, 8.5), [0, 1, 3.5]),
        ((None, None, None), [0, 1, 2]),
        ((5, 6, 6, 3, 4, 10), [0, 1, 1, 1, 2, 8]),
        ((None, 5, None, 8), [0, 0, 0, 3]),
        ((5,), [0]),
    ],
)
def test_spacing_follows_the_times_and_never_goes_backwards(
    seconds: tuple[float | None, ...], offsets: list[float]
) -> None:
    assert spacing(timed(*seconds)) == offsets
