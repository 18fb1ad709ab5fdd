"""``POST /api/tracking/location`` and ``/batch``: requests, responses and refusals."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from atriz_realtime.defaults import http_api
from atriz_realtime.defaults.shared import updates
from tests.support.clients.python_socketio import Serve, python_connect
from tests.support.plugins.files import plugins_in
from tests.support.servers.serving import Live, serving, token, until, watching

LOCATION = "/api/tracking/location"
BATCH = "/api/tracking/batch"
HERE = {"latitude": 52.6, "longitude": -8.6}
NOON = "2026-01-31T12:00:00.000Z"
UNFINISHED = "not finished within 0.01 s: it may have been published"

HANGING = """
import asyncio

async def hang(event):
    if event.entity_id == "hangs":
        await asyncio.Event().wait()
    return event

@hookimpl
def register_filters():
    return Filter("hang", hang)
"""


GATED = """
import asyncio

gate = asyncio.Event()
begun = []

async def wait(event):
    begun.append(event.entity_id)
    if event.entity_id == "waits":
        await gate.wait()
    return event

@hookimpl
def register_filters():
    return Filter("wait", wait)
"""


async def send(live: Live, path: str, body: str | bytes, **headers: str) -> Any:
    """POST a body as it is; returns the status, the response's JSON and its headers."""
    headers = {"Authorization": f"Bearer {token()}"} | headers
    async with (
        aiohttp.ClientSession() as session,
        session.post(live.url + path, data=body, headers=headers) as response,
    ):
        return response.status, await response.json(), response.headers


async def current(live: Live, entity_id: str = "v1", kind: str = "vehicle") -> Any:
    """The cached location of an entity, if any."""
    status, location = await live.get(f"/api/tracking/{kind}/{entity_id}")
    return location if status == 200 else None


# -- one position ---------------------------------------------------------------------------


async def test_the_documented_update(live: Live) -> None:
    body = {
        "vehicleId": "v1",
        "speed": 65,
        "heading": 180,
        "accuracy": 10,
        "altitude": -3.5,
        "timestamp": NOON,
        "metadata": {"load": [1, {"x": None}]},
        **HERE,
    }
    async with watching(live, "v1") as watcher:
        assert await live.post(LOCATION, body) == (
            200,
            {"success": True, "timestamp": NOON, "message": "Location updated"},
        )
        location = {"deviceId": "v1", "userId": "u1", **body}
        del location["vehicleId"]
        await until(lambda: watcher.updates)
        assert watcher.updates == [{"type": "vehicle", "entityId": "v1", "location": location}]
        assert await current(live) == location


async def test_omitted_fields_have_defaults(live: Live) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    status, answer = await live.post(LOCATION, {"vehicleId": "v1", **HERE})
    assert status == 200
    assert set(answer) == {"success", "timestamp", "message"}
    assert await current(live) == {
        "deviceId": "v1",
        "userId": "u1",
        "timestamp": answer["timestamp"],
        **HERE,
    }
    assert len(answer["timestamp"]) == len(NOON)
    assert answer["timestamp"].endswith("Z")
    assert before <= datetime.fromisoformat(answer["timestamp"]) <= datetime.now(UTC)


async def test_the_user_is_always_the_token_s(live: Live) -> None:
    body = {"vehicleId": "v1", "userId": "someone else", "deviceId": "phone", **HERE}
    assert (await live.post(LOCATION, body))[0] == 200
    location = await current(live)
    assert (location["userId"], location["deviceId"]) == ("u1", "phone")


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        ({"vehicleId": "x"}, "vehicle"),
        ({"deliveryId": "x"}, "delivery"),
        ({"type": "vehicle", "entityId": "x"}, "vehicle"),
        ({"type": "delivery", "entityId": "x"}, "delivery"),
        ({"type": "vehicle", "vehicleId": "x"}, "vehicle"),
        ({"type": "vehicle", "entityId": "x", "vehicleId": "x"}, "vehicle"),
        ({"entityId": "x", "deliveryId": "x"}, "delivery"),
    ],
)
async def test_the_fields_that_name_an_entity(live: Live, named: dict[str, str], kind: str) -> None:
    assert (await live.post(LOCATION, {**named, **HERE}))[0] == 200
    assert (await current(live, "x", kind))["deviceId"] == "x"


@pytest.mark.parametrize(
    "named",
    [
        {"type": "vehicle", "entityId": "x", "vehicleId": "y"},
        {"type": "delivery", "entityId": "x", "vehicleId": "x"},
        {"entityId": "x", "vehicleId": "y"},
    ],
)
async def test_an_entity_that_is_named_twice_differently_is_refused(
    live: Live, named: dict[str, Any]
) -> None:
    status, answer = await live.post(LOCATION, {**named, **HERE})
    assert (status // 100, answer["field"]) == (4, "vehicleId")


async def test_a_time_in_another_zone_is_returned_in_utc(live: Live) -> None:
    body = {"vehicleId": "v1", "timestamp": "2026-01-31T14:30:00.5+02:30", **HERE}
    assert (await live.post(LOCATION, body))[1]["timestamp"] == "2026-01-31T12:00:00.500Z"


async def test_an_older_fix_never_replaces_a_newer_current_location(live: Live) -> None:
    for minute, newest in ((10, 10), (5, 10), (20, 20), (15, 20)):
        await live.publish("v1", timestamp=f"2026-01-31T12:{minute:02}:00Z", speed=minute)
        assert (await current(live))["speed"] == newest


# -- refusals -------------------------------------------------------------------------------

FAR_AHEAD = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"latitude": 90.0001}, "latitude"),
    ({"latitude": -91}, "latitude"),
    ({"longitude": 181}, "longitude"),
    ({"longitude": -180.5}, "longitude"),
    ({"latitude": "1"}, "latitude"),
    ({"latitude": None}, "latitude"),
    ({"longitude": True}, "longitude"),
    ({"speed": -1}, "speed"),
    ({"speed": "65"}, "speed"),
    ({"speed": None}, "speed"),
    ({"heading": 361}, "heading"),
    ({"heading": -0.1}, "heading"),
    ({"accuracy": -5}, "accuracy"),
    ({"altitude": []}, "altitude"),
    ({"metadata": [1]}, "metadata"),
    ({"metadata": "x"}, "metadata"),
    ({"timestamp": "yesterday"}, "timestamp"),
    ({"timestamp": "2026-01-31T12:00:00"}, "timestamp"),
    ({"timestamp": 1_769_860_800_000}, "timestamp"),
    ({"timestamp": FAR_AHEAD}, "timestamp"),
    ({"deviceId": ""}, "deviceId"),
    ({"deviceId": 7}, "deviceId"),
    ({"deviceId": "x" * 10_000}, "deviceId"),
    ({"surprise": 1}, "surprise"),
    ({"device_id": "d1"}, "device_id"),
]


async def test_a_bad_field_is_named_and_nothing_is_published(live: Live) -> None:
    async with watching(live, "v1") as watcher:
        for fields, name in BAD_FIELDS:
            status, answer = await live.post(LOCATION, {"vehicleId": "v1", **HERE, **fields})
            assert (status, answer["success"]) == (422, False), fields
            assert (answer["code"], answer["field"]) == ("invalid_location", name), fields
            assert isinstance(answer["message"], str)
        for name in HERE:
            body = {"vehicleId": "v1", **HERE}
            del body[name]
            status, answer = await live.post(LOCATION, body)
            assert (status, answer["field"]) == (422, name)
        assert await current(live) is None
        await live.publish("v1")
        await until(lambda: watcher.updates)
        assert len(watcher.updates) == 1


async def test_a_megabyte_of_metadata_reaches_nobody(serve: Serve) -> None:
    body = {"vehicleId": "v1", **HERE, "metadata": {"note": "x" * 1_000_000}}
    async with serve() as live, watching(live, "v1") as watcher:
        status, answer = await live.post(LOCATION, body)
        assert (status, answer["code"], answer["field"]) == (422, "invalid_location", "metadata")
        assert answer["message"] == "metadata has more than 4,096 bytes"
        small = {**body, "metadata": {"note": "x"}}
        assert (await live.post(BATCH, {"updates": [body, small]}))[1] == {
            "success": True,
            "accepted": 1,
            "throttled": 0,
            "rejected": [
                {
                    "index": 0,
                    "code": "invalid_location",
                    "field": "metadata",
                    "message": "metadata has more than 4,096 bytes",
                }
            ],
        }
        await until(lambda: watcher.updates)
        assert [each["location"]["metadata"] for each in watcher.updates] == [{"note": "x"}]
        assert await current(live) == watcher.updates[0]["location"]


async def test_the_limit_of_metadata_is_a_setting(serve: Serve) -> None:
    body = {"vehicleId": "v1", **HERE, "metadata": {"note": "x" * 5_000}}
    async with serve(max_metadata=5_011) as live:
        assert (await live.post(LOCATION, body))[0] == 200
    async with serve(max_metadata=5_010) as live:
        assert (await live.post(LOCATION, body))[0] == 422


BAD_IDS: list[Any] = ["", "a:b", "a\nb", "x" * 10_000, "\ud800", 7, None, ["v1"], {}]


async def test_a_bad_entity_is_refused(live: Live) -> None:
    for name in ("vehicleId", "deliveryId"):
        for bad in BAD_IDS:
            body = json.dumps({name: bad, **HERE})
            status, answer, _ = await send(live, LOCATION, body)
            expected = (400, "bad_request") if bad == "\ud800" else (422, "invalid_entity_id")
            assert (status, answer["code"]) == expected, bad
            assert answer.get("field") in (name, None)
    for kind in ("boat", "Vehicle", "", 7, ["vehicle"]):
        status, answer = await live.post(LOCATION, {"type": kind, "entityId": "x", **HERE})
        assert (status, answer["code"], answer["field"]) == (422, "unknown_type", "type"), kind
    status, answer = await live.post(LOCATION, HERE)
    assert (status, answer["code"], answer["field"]) == (400, "bad_request", "type")
    status, answer = await live.post(LOCATION, {"type": "vehicle", **HERE})
    assert (status, answer["code"], answer["field"]) == (400, "bad_request", "entityId")


@pytest.mark.parametrize("path", [LOCATION, BATCH])
async def test_a_body_that_is_not_a_json_object_is_refused(live: Live, path: str) -> None:
    bodies: list[str | bytes] = [
        "",
        "{",
        "null",
        "[]",
        '"v1"',
        "latitude=1",
        '{"vehicleId": "v1", "latitude": NaN, "longitude": 0}',
        '{"vehicleId": "v1", "latitude": Infinity, "longitude": 0}',
        '{"vehicleId": "v1", "latitude": 1e400, "longitude": 0}',
        "[" * 20_000,
        b"\xff\xfe",
    ]
    for body in bodies:
        status, answer, _ = await send(live, path, body)
        assert (status, answer["success"], answer["code"]) == (400, False, "bad_request"), body
    assert await current(live) is None


@pytest.mark.parametrize("path", [LOCATION, BATCH])
async def test_a_token_is_required(live: Live, path: str) -> None:
    headers_and_codes = {
        "": "not_authenticated",
        f"Basic {token()}": "not_authenticated",
        "Bearer": "not_authenticated",
        "Bearer letmein": "invalid_token",
        f"Bearer {token(secret='another-secret-of-thirty-two-bytes-')}": "invalid_token",
        f"Bearer {token(exp=1)}": "invalid_token",
    }
    for header, code in headers_and_codes.items():
        status, answer, headers = await send(live, path, json.dumps(HERE), Authorization=header)
        message = {"not_authenticated": "Not authenticated"}.get(code, "Authentication failed")
        assert (status, answer) == (401, {"success": False, "code": code, "message": message})
        assert headers["www-authenticate"] == "Bearer"
    status, _ = await live.post(path, HERE, params={"token": token()}, headers={})
    assert status == 401
    status, _, _ = await send(live, path, "{}", Authorization=f"bearer   {token()}")
    assert status == 400  # the scheme's case does not matter


async def test_an_authorizer_refuses_what_is_not_the_caller_s(serve: Serve) -> None:
    async with serve(extra_plugins=["tests.support.plugins.own_vehicles"]) as live:
        assert await live.post(LOCATION, {"vehicleId": "u2-van", **HERE}) == (
            403,
            {"success": False, "code": "unauthorized", "message": "Unauthorized"},
        )
        await live.publish("u1-van")
        assert await live.server.tracking.get_current_location("vehicle", "u2-van") is None


@pytest.mark.parametrize("path", [LOCATION, BATCH])
async def test_a_body_over_the_limit_is_refused(serve: Serve, path: str) -> None:
    async with serve(max_body=1_000) as live:
        status, answer, _ = await send(live, path, " " * 1_001)
        assert (status, answer["code"]) == (413, "payload_too_large")
        status, answer, _ = await send(live, path, "{}" + " " * 998)
        assert status == 400


# -- the throttle ---------------------------------------------------------------------------


async def test_a_throttled_fix_is_accepted_and_says_so(serve: Serve) -> None:
    async with serve(throttle_interval=60_000) as live, watching(live, "v1", "v2") as watcher:
        assert "throttled" not in await live.publish("v1", speed=1)
        answer = await live.publish("v1", speed=2, timestamp=NOON)
        assert answer == {
            "success": True,
            "timestamp": NOON,
            "message": "Location updated",
            "throttled": True,
        }
        assert "throttled" not in await live.publish("v2", speed=3)
        await until(lambda: len(watcher.updates) == 2)
        assert [update["location"]["speed"] for update in watcher.updates] == [1, 3]


# -- many positions -------------------------------------------------------------------------


async def test_a_batch_says_what_became_of_each(serve: Serve) -> None:
    async with (
        serve(
            throttle_interval=60_000, extra_plugins=["tests.support.plugins.own_vehicles"]
        ) as live,
        watching(live, "u1-a", "u1-b") as watcher,
    ):
        updates: list[Any] = [
            {"vehicleId": "u1-a", **HERE},
            {"vehicleId": "u1-b", "latitude": 91, "longitude": 0},
            "not an update",
            {"vehicleId": "u1-a", **HERE},
            {"type": "boat", "entityId": "b1", **HERE},
            {"vehicleId": "u2-a", **HERE},
            {"type": "vehicle", "entityId": "u1-b", **HERE},
            HERE,
        ]
        status, answer = await live.post(BATCH, {"updates": updates})
        assert status == 200
        rejected = answer.pop("rejected")
        assert answer == {"success": True, "accepted": 2, "throttled": 1}
        assert [(entry["index"], entry["code"]) for entry in rejected] == [
            (1, "invalid_location"),
            (2, "bad_request"),
            (4, "unknown_type"),
            (5, "unauthorized"),
            (7, "bad_request"),
        ]
        assert rejected[0]["field"] == "latitude"
        await until(lambda: len(watcher.updates) == 2)
        assert {update["entityId"] for update in watcher.updates} == {"u1-a", "u1-b"}


async def test_the_errors_of_a_batch_are_counted_and_its_answer_is_short(live: Live) -> None:
    bad = [{}, {"type": "boat", "entityId": "b1", **HERE}]
    batch = [{"vehicleId": "v1", **HERE}, *bad * 200]
    status, answer = await live.post(BATCH, {"updates": batch})
    assert (status, answer["accepted"]) == (200, 1)
    rejected = answer["rejected"]
    codes = ["bad_request", "unknown_type"] * (updates.MAX_REJECTED // 2)
    assert [(each["index"], each["code"]) for each in rejected[:-1]] == list(enumerate(codes, 1))
    assert rejected[-1] == {
        "index": updates.MAX_REJECTED + 1,
        "code": "bad_request",
        "message": f"{400 - updates.MAX_REJECTED} more updates were refused",
    }
    counts = live.server.incidents.counts
    assert counts["refused bad_request"] == counts["refused unknown_type"] == 200


async def test_a_batch_keeps_the_order_of_each_entity(live: Live) -> None:
    async with watching(live, "a", "b") as watcher:
        updates = [
            {"vehicleId": entity_id, "speed": number, "timestamp": NOON, **HERE}
            for number in range(50)
            for entity_id in ("a", "b")
        ]
        assert await live.post(BATCH, {"updates": updates}) == (
            200,
            {"success": True, "accepted": 100, "throttled": 0, "rejected": []},
        )
        await until(lambda: len(watcher.updates) == 100)
        for entity_id in ("a", "b"):
            speeds = [
                update["location"]["speed"]
                for update in watcher.updates
                if update["entityId"] == entity_id
            ]
            assert speeds == list(range(50))


async def test_what_a_batch_has_not_published_in_time_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(updates, "BATCH_TIMEOUT", 0.01)
    with plugins_in(tmp_path) as plugins:
        hanging = plugins.module("hanging", HANGING)
        async with (
            serving(extra_plugins=[hanging], plugin_timeout=60) as live,
            python_connect(live) as device,
        ):
            batch = [{"vehicleId": each, **HERE} for each in ("a", "hangs", "hangs", "b")]
            late = {"code": "unavailable", "message": UNFINISHED}
            answer = {
                "success": True,
                "accepted": 2,
                "throttled": 0,
                "rejected": [{"index": 1, **late}, {"index": 2, **late}],
            }
            assert await live.post(BATCH, {"updates": batch}) == (200, answer)
            assert await device.call("location:publish", batch) == answer
            assert await current(live, "a") is not None
            assert await current(live, "hangs") is None


async def test_a_batch_has_a_limit_and_must_be_a_list(serve: Serve) -> None:
    async with serve(max_batch=3) as live:
        update = {"vehicleId": "v1", **HERE}
        assert (await live.post(BATCH, {"updates": [update] * 3}))[0] == 200
        status, answer = await live.post(BATCH, {"updates": [update] * 4})
        assert (status, answer["code"], answer["field"]) == (413, "payload_too_large", "updates")
        assert await live.post(BATCH, {"updates": []}) == (
            200,
            {"success": True, "accepted": 0, "throttled": 0, "rejected": []},
        )
        for body in ({}, {"updates": None}, {"updates": {"0": update}}, {"updates": "x"}):
            status, answer = await live.post(BATCH, body)
            assert (status, answer["code"], answer["field"]) == (400, "bad_request", "updates")


async def test_the_batches_of_one_user_leave_room_for_those_of_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(http_api, "MAX_USER_BATCHES", 1_000)

    def batch(entity_id: str, size: int) -> str:
        return json.dumps({"updates": [{"vehicleId": entity_id, **HERE}]}).ljust(size)

    with plugins_in(tmp_path) as plugins:
        async with serving(extra_plugins=[plugins.module("gated", GATED)]) as live:
            module = plugins.loaded("gated")
            waiting = asyncio.create_task(send(live, BATCH, batch("waits", 1_500)))  # alone
            await until(lambda: module.begun == ["waits"])
            status, answer, headers = await send(live, BATCH, batch("v1", 100))
            assert (status, answer["code"], headers["Retry-After"]) == (503, "unavailable", "1")
            counts = live.server.incidents.counts
            assert counts["refused unavailable"] == 1
            assert counts["limit defaults.http_api.MAX_USER_BATCHES reached"] == 1
            other = {"Authorization": f"Bearer {token('u2')}"}
            assert (await send(live, BATCH, batch("v2", 900), **other))[0] == 200
            assert (await send(live, LOCATION, json.dumps({"vehicleId": "v3", **HERE})))[0] == 200
            assert module.begun == ["waits", "v2", "v3"]
            module.gate.set()
            assert (await waiting)[0] == 200
            assert (await send(live, BATCH, batch("v1", 100)))[0] == 200


def test_nothing_is_kept_of_a_user_without_batches() -> None:
    batches = http_api.Batches(lambda *_, **__: None)
    with batches.hold("u1", 10), batches.hold("u1", 20):
        assert batches._users == {"u1": 30}
    assert batches._users == {}
