"""The past over HTTP: real servers, real files."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import pytest_asyncio
from history_plugin import history_settings

from atriz_realtime.api import format_timestamp
from atriz_realtime.testing import Live, serving, token, until

pytestmark = pytest.mark.asyncio

PATH = "/api/tracking/vehicle/v1/history"
NOW = datetime.now(UTC)
GPX = "{http://www.topografix.com/GPX/1/1}"


def ago(**of: float) -> str:
    return format_timestamp(NOW - timedelta(**of))


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return history_settings(f"sqlite:{tmp_path / 'history'}")


@pytest_asyncio.fixture
async def live(settings: dict[str, Any]) -> AsyncIterator[Live]:
    async with serving(**settings) as live:
        yield live
        assert live.take_failures() == {}


def written(live: Live) -> int:
    numbers = live.server.reports.own().statistics["recorder history"]
    return int(numbers["written"])


async def publish(live: Live, *updates: dict[str, Any], **options: Any) -> None:
    """Publish, and wait until the history has it."""
    before = written(live)
    base = {"vehicleId": "v1", "latitude": 52.6, "longitude": -8.6}
    body = {"updates": [base | each for each in updates]}
    status, answer = await live.post("/api/tracking/batch", body, **options)
    assert (status, answer["rejected"]) == (200, [])
    await until(lambda: written(live) - before >= len(updates))


def accept(mime: str, user: str = "u1", **claims: Any) -> dict[str, Any]:
    return {"headers": {"Accept": mime, "Authorization": f"Bearer {token(user, **claims)}"}}


async def test_fixes_are_found_again(live: Live) -> None:
    fixes: list[dict[str, Any]] = [
        {"timestamp": ago(seconds=30), "speed": 50.5, "metadata": {"job": 7}},
        {"timestamp": ago(seconds=20), "latitude": 52.7},
        {"timestamp": ago(seconds=10)},
    ]
    await publish(live, *fixes, {"vehicleId": "v2"})
    status, answer = await live.get(PATH)
    assert status == 200
    assert answer == {
        "locations": [
            {"deviceId": "v1", "userId": "u1", "latitude": 52.6, "longitude": -8.6, **fix}
            for fix in fixes
        ],
        "nextCursor": None,
    }


async def test_a_throttled_fix_is_there_and_marked(settings: dict[str, Any]) -> None:
    async with serving(**settings, throttle_interval=60_000) as live:
        await publish(live, {"timestamp": ago(seconds=2)}, {"timestamp": ago(seconds=1)})
        _, answer = await live.get(PATH)
    assert [each.get("throttled") for each in answer["locations"]] == [None, True]


async def test_the_times_bound_it(live: Live) -> None:
    times = [ago(hours=hours) for hours in (30, 3, 2, 1)]
    await publish(live, *({"timestamp": each} for each in times))

    async def found(**query: str) -> list[str]:
        status, answer = await live.get(PATH, params=query)
        assert status == 200, answer
        return [each["timestamp"] for each in answer["locations"]]

    assert await found() == times[1:]
    assert await found(**{"from": ago(hours=40)}) == times
    assert await found(**{"from": times[1], "to": times[3]}) == times[1:3]
    assert await found(to=ago(hours=2.5)) == times[1:2]
    assert await found(**{"from": times[0], "to": times[0]}) == []


async def test_pages(live: Live) -> None:
    times = [ago(seconds=seconds) for seconds in range(9, 0, -1)]
    await publish(live, *({"timestamp": each} for each in times))
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        query = {"limit": "4"} | ({"cursor": cursor} if cursor else {})
        _, answer = await live.get(PATH, params=query)
        found += [each["timestamp"] for each in answer["locations"]]
        cursor, pages = answer["nextCursor"], pages + 1
    assert (found, pages) == (times, 3)


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ({"from": "2026-01-31T12:00:00"}, "from", "time zone"),
        ({"to": "yesterday"}, "to", "time zone"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from", "after to"),
        ({"limit": "0"}, "limit", "from 1 to 100000"),
        ({"limit": "100001"}, "limit", "from 1 to 100000"),
        ({"limit": "many"}, "limit", "from 1 to 100000"),
        ({"simplify": "0"}, "simplify", "metres"),
        ({"simplify": "nan"}, "simplify", "metres"),
        ({"cursor": "AAAA"}, "cursor", "unknown cursor"),
        ({"until": "now"}, "until", "unknown parameter"),
    ],
)
async def test_what_is_refused(live: Live, query: dict[str, str], field: str, words: str) -> None:
    status, answer = await live.get(PATH, params=query)
    assert (status, answer["code"], answer["field"]) == (400, "bad_request", field)
    assert words in answer["message"]


async def test_files_have_no_pages(live: Live) -> None:
    for query, field in (
        ({"limit": "5"}, "limit"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-02-02T00:00:00Z"}, "from"),
    ):
        status, answer = await live.get(PATH, params=query, **accept("text/csv"))
        assert (status, answer["field"]) == (400, field)
    status, answer = await live.get(PATH, **accept("image/png"))
    assert (status, answer["field"]) == (400, "Accept")


async def test_csv(live: Live) -> None:
    job = {"job": 'a "b", c'}
    await publish(live, {"timestamp": ago(seconds=2), "speed": 5, "metadata": job})
    status, text = await live.get(PATH, **accept("text/csv"))
    (row,) = csv.DictReader(io.StringIO(text))
    assert status == 200
    assert (row["timestamp"], row["latitude"], row["speed"]) == (ago(seconds=2), "52.6", "5")
    assert (row["heading"], row["throttled"]) == ("", "false")
    assert row["metadata"] == '{"job":"a \\"b\\", c"}'


async def test_gpx(live: Live) -> None:
    await publish(
        live,
        {"vehicleId": "a<b", "timestamp": ago(seconds=2), "altitude": 12.5, "longitude": -1e-6},
        {"vehicleId": "a<b", "timestamp": ago(seconds=1)},
    )
    _, text = await live.get("/api/tracking/vehicle/a<b/history", **accept("application/gpx+xml"))
    track = ET.fromstring(text).find(f"{GPX}trk")
    assert track is not None
    assert track.findtext(f"{GPX}name") == "a<b"
    points = track.findall(f"{GPX}trkseg/{GPX}trkpt")
    assert [point.findtext(f"{GPX}time") for point in points] == [ago(seconds=2), ago(seconds=1)]
    assert points[0].attrib == {"lat": "52.6", "lon": "-0.000001"}
    assert points[0].findtext(f"{GPX}ele") == "12.5"


async def test_geojson(live: Live) -> None:
    await publish(live, {"timestamp": ago(seconds=2), "altitude": 12}, {"timestamp": ago(hours=1)})
    _, found = await live.get(PATH, **accept("application/geo+json, */*;q=0.1"))
    assert found["type"] == "FeatureCollection"
    assert [each["properties"]["timestamp"] for each in found["features"]] == [
        ago(hours=1),
        ago(seconds=2),
    ]
    assert found["features"][1]["geometry"] == {"type": "Point", "coordinates": [-8.6, 52.6, 12]}


@pytest.mark.parametrize("mime", ["application/geo+json", "application/gpx+xml", "text/csv"])
async def test_a_file_of_nothing_is_whole(live: Live, mime: str) -> None:
    status, found = await live.get(PATH, **accept(mime))
    assert status == 200
    assert found


async def test_a_simplified_line(live: Live) -> None:
    fixes = [
        {"timestamp": ago(seconds=100 - number), "latitude": 52 + number / 10_000}
        for number in range(100)
    ]
    await publish(live, *fixes)
    _, answer = await live.get(PATH, params={"simplify": "10"})
    assert [each["latitude"] for each in answer["locations"]] == [52, 52.0099]
    assert answer["nextCursor"] is None


async def test_strangers_and_unknown_entities(live: Live) -> None:
    assert (await live.get(PATH, headers={}))[0] == 401
    assert (await live.get("/api/tracking/boat/v1/history"))[0] == 404


async def test_authorizers_are_asked(tmp_path: Path) -> None:
    settings = history_settings(f"sqlite:{tmp_path}", others={"claims": CLAIMS})
    async with serving(**settings) as live:
        await publish(live, {"timestamp": ago(seconds=2)})
        status, answer = await live.get(PATH, **accept("*/*", track={"vehicle": ["v1"]}))
        assert (status, len(answer["locations"])) == (200, 1)
        status, answer = await live.get(PATH, **accept("*/*", track={"vehicle": ["v2"]}))
        assert (status, answer["code"]) == (403, "unauthorized")


CLAIMS = {"track": "track"}

COARSE = {"rules": {"guest": {"claim": "role", "values": ["guest"], "precision": 1_000}}}


async def test_views_change_the_past_as_they_change_the_present(tmp_path: Path) -> None:
    async with serving(
        **history_settings(f"sqlite:{tmp_path}", others={"privacy": COARSE})
    ) as live:
        await publish(
            live,
            *(
                {"timestamp": ago(seconds=99 - number), "latitude": 52.6 + number / 1e5, "speed": 9}
                for number in range(99)
            ),
        )
        guest = accept("*/*", role="guest")
        _, present = await live.get("/api/tracking/vehicle/v1", **guest)
        _, past = await live.get(PATH, **guest)
        assert past["locations"][-1] == present
        assert {"speed"} & {key for each in past["locations"] for key in each} == set()
        assert len({each["latitude"] for each in past["locations"]}) < 5
        _, line = await live.get(PATH, params={"simplify": "1"}, **guest)
        shown = {each["latitude"] for each in past["locations"]}
        assert {each["latitude"] for each in line["locations"]} <= shown
        for mime in ("text/csv", "application/gpx+xml", "application/geo+json"):
            _, text = await live.get(PATH, **accept(mime, role="guest"))
            assert "52.60098" not in str(text)


async def test_the_holder_of_a_link_sees_nothing_from_before_it_was_made(tmp_path: Path) -> None:
    others = {"sharing": {"url": "https://track.example"}}
    async with serving(**history_settings(f"sqlite:{tmp_path}", others=others)) as live:
        await publish(live, {"timestamp": ago(hours=1)}, {"timestamp": ago(seconds=5)})
        body = {"type": "vehicle", "entityId": "v1", "seconds": 3600}
        _, share = await live.post("/api/tracking/shares", body)
        link = {"headers": {"Authorization": f"Bearer {share['token']}"}}
        query = {"from": ago(days=2)}
        status, answer = await live.get(PATH, params=query, **link)
        assert (status, answer["locations"]) == (200, [])
        await publish(
            live,
            {"timestamp": format_timestamp(datetime.now(UTC) + timedelta(seconds=1))},
            {"timestamp": ago(minutes=2)},
        )
        later = format_timestamp(datetime.now(UTC) + timedelta(minutes=1))
        _, answer = await live.get(PATH, params=query | {"to": later}, **link)
        assert len(answer["locations"]) == 1
        status, _ = await live.get("/api/tracking/vehicle/v2/history", **link)
        assert status == 403
