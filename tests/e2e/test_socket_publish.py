"""The event ``location:publish``: arguments, acknowledgements and refusals."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

from atriz_realtime.api import Filter, LocationEvent, hookimpl
from atriz_realtime.defaults.shared.updates import TURN_UPDATES
from tests.support.checks.turns import counting_turns
from tests.support.clients.python_socketio import Connect, Serve, python_connect
from tests.support.servers.serving import Live, serving, token, until, watching

PUBLISH = "location:publish"
HTTP = "/api/tracking/location"
HERE = {"latitude": 52.6, "longitude": -8.6}
NOON = "2026-01-31T12:00:00.000Z"
UPDATED = {"success": True, "timestamp": NOON, "message": "Location updated"}


async def current(live: Live, entity_id: str, kind: str = "vehicle") -> Any:
    """The cached location of an entity, if any."""
    status, location = await live.get(f"/api/tracking/{kind}/{entity_id}")
    return location if status == 200 else None


# -- one update -----------------------------------------------------------------------------


async def test_an_update_is_published_and_acknowledged_as_over_http(
    live: Live, connect: Connect
) -> None:
    update = {
        "vehicleId": "v1",
        "speed": 65,
        "heading": 180,
        "accuracy": 10,
        "altitude": -3.5,
        "timestamp": NOON,
        "metadata": {"load": [1, {"ä": None}]},
        **HERE,
    }
    location = {"deviceId": "v1", "userId": "u1", **update}
    del location["vehicleId"]
    async with watching(live, "v1") as watcher, connect(live) as device:
        assert await device.call(PUBLISH, update) == UPDATED
        assert await current(live, "v1") == location
        assert await live.post(HTTP, {**update, "speed": 66}) == (200, UPDATED)
        await until(lambda: len(watcher.updates) == 2)
        events = [
            {"type": "vehicle", "entityId": "v1", "location": {**location, "speed": speed}}
            for speed in (65, 66)
        ]
        assert watcher.updates == events
        assert device.received == []  # it tracks nothing


async def test_defaults_are_those_of_http_and_the_user_is_of_the_socket(live: Live) -> None:
    async with python_connect(live, user="u2") as device:
        before = datetime.now(UTC) - timedelta(milliseconds=1)
        answer = await device.call(
            PUBLISH, {"type": "delivery", "entityId": "d1", "userId": "u1", **HERE}
        )
        assert await current(live, "d1", "delivery") == {
            "deviceId": "d1",
            "userId": "u2",
            "timestamp": answer["timestamp"],
            **HERE,
        }
        assert before <= datetime.fromisoformat(answer["timestamp"]) <= datetime.now(UTC)


async def test_events_without_an_acknowledgement_are_published_in_order(
    live: Live, connect: Connect
) -> None:
    async with watching(live, "v1") as watcher, connect(live) as device:
        for speed in range(0, 60, 3):
            await device.emit(PUBLISH, {"vehicleId": "v1", "speed": speed, **HERE})
            both = [{"vehicleId": "v1", "speed": speed + more, **HERE} for more in (1, 2)]
            await device.emit(PUBLISH, both)
        await until(lambda: len(watcher.updates) == 60)
        assert [each["location"]["speed"] for each in watcher.updates] == list(range(60))
        assert device.received == []


# -- several updates ------------------------------------------------------------------------


async def test_a_list_says_what_became_of_each(serve: Serve, connect: Connect) -> None:
    async with (
        serve(
            throttle_interval=60_000, extra_plugins=["tests.support.plugins.own_vehicles"]
        ) as live,
        watching(live, "u1-a", "u1-b") as watcher,
        connect(live) as device,
    ):
        updates: list[Any] = [
            {"vehicleId": "u1-a", **HERE},
            {"vehicleId": "u1-b", "latitude": 91, "longitude": 0},
            "not an update",
            {"vehicleId": "u1-a", **HERE},
            {"type": "boat", "entityId": "b1", **HERE},
            {"vehicleId": "u2-a", **HERE},
            {"type": "vehicle", "entityId": "u1-b", **HERE},
            [HERE],
        ]
        answer = await device.call(PUBLISH, updates)
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
        assert device.of("error") == []  # the list itself was not refused


async def test_a_list_of_four_hundred_fits_and_keeps_the_order_of_each_entity(live: Live) -> None:
    updates = [
        {
            "vehicleId": f"bus-{number % 4}",
            "latitude": 52.6638,
            "longitude": -8.6267,
            "speed": number,
            "heading": 94,
            "timestamp": NOON,
        }
        for number in range(400)
    ]
    buses = [f"bus-{number}" for number in range(4)]
    async with watching(live, *buses) as watcher, python_connect(live) as device:
        answer = await device.call(PUBLISH, updates)
        assert answer == {"success": True, "accepted": 400, "throttled": 0, "rejected": []}
        await until(lambda: len(watcher.updates) == 400)
    for number, bus in enumerate(buses):
        speeds = [each["location"]["speed"] for each in watcher.updates if each["entityId"] == bus]
        assert speeds == list(range(number, 400, 4))


async def test_a_list_has_a_limit_and_may_be_empty(connect: Connect) -> None:
    async with serving(max_batch=3) as live, connect(live) as device:
        assert await device.call(PUBLISH, [{"vehicleId": "v1", **HERE}] * 4) == {
            "success": False,
            "code": "payload_too_large",
            "message": "more than 3 updates",
            "field": "updates",
        }
        assert await device.next("error") == "more than 3 updates"
        assert await current(live, "v1") is None
        assert (await device.call(PUBLISH, [{"vehicleId": "v1", **HERE}] * 3))["accepted"] == 3
        assert await device.call(PUBLISH, []) == {
            "success": True,
            "accepted": 0,
            "throttled": 0,
            "rejected": [],
        }


async def test_a_list_counts_as_one_event() -> None:
    async with (
        serving(max_events_per_second=0.001, max_events_burst=2) as live,
        python_connect(live) as device,
    ):
        for _ in range(2):
            answer = await device.call(PUBLISH, [{"vehicleId": "v1", **HERE}] * 50)
            assert answer["accepted"] == 50
        await device.emit(PUBLISH, {"vehicleId": "v2", **HERE})
        assert await device.next("error") == "Rate limit"
        assert await current(live, "v2") is None


async def test_lists_and_batches_together_are_begun_in_several_turns_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[int] = []
    async with counting_turns() as turn:

        @hookimpl
        def register_filters() -> Filter:
            async def count(event: LocationEvent) -> LocationEvent:
                begun.append(turn[0])
                return event

            return Filter("count", count)

        module = ModuleType("counting_filter")
        vars(module)["register_filters"] = register_filters
        monkeypatch.setitem(sys.modules, "counting_filter", module)
        updates = [{"vehicleId": f"v{number}", **HERE} for number in range(5 * TURN_UPDATES)]
        async with (
            serving(extra_plugins=["counting_filter"]) as live,
            python_connect(live) as device,
        ):
            lists = [device.call(PUBLISH, updates) for _ in range(2)]
            batches = [live.post("/api/tracking/batch", {"updates": updates}) for _ in range(4)]
            answers = await asyncio.gather(*lists, *batches)
    assert [answer["accepted"] for answer in answers[:2]] == [len(updates)] * 2
    assert [answer["accepted"] for _, answer in answers[2:]] == [len(updates)] * 4
    # some are counted after the turn in which they were begun, with those of the next
    assert max(Counter(begun).values()) <= 2 * (2 * TURN_UPDATES)


async def test_a_list_may_take_longer_than_the_timeout_of_one_plugin_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @hookimpl
    def register_filters() -> Filter:
        async def slowly(event: LocationEvent) -> LocationEvent:
            await asyncio.sleep(0.05)
            return event

        return Filter("slowly", slowly)

    module = ModuleType("slow_filter")
    vars(module)["register_filters"] = register_filters
    monkeypatch.setitem(sys.modules, "slow_filter", module)
    updates = [{"vehicleId": "v1", "speed": speed, **HERE} for speed in range(10)]
    async with (
        serving(extra_plugins=["slow_filter"], plugin_timeout=0.3) as live,
        python_connect(live) as device,
    ):
        answer = await device.call(PUBLISH, updates)
        assert (answer["success"], answer["accepted"]) == (True, 10)
        assert (await current(live, "v1"))["speed"] == 9


# -- refusals -------------------------------------------------------------------------------

REFUSED: list[dict[str, Any]] = [
    {"vehicleId": "v1", "latitude": 91, "longitude": 0},
    {"vehicleId": "v1", "latitude": "1", "longitude": 0},
    {"vehicleId": "v1", "latitude": 1},
    {"vehicleId": "v1", "speed": None, **HERE},
    {"vehicleId": "v1", "timestamp": "yesterday", **HERE},
    {"vehicleId": "v1", "deviceId": 7, **HERE},
    {"vehicleId": "v1", "surprise": 1, **HERE},
    {"vehicleId": "v1", "metadata": {"note": "x" * 4_096}, **HERE},
    {"vehicleId": "a:b", **HERE},
    {"vehicleId": None, **HERE},
    {"deliveryId": ["v1"], **HERE},
    {"type": "vehicle", "entityId": "x*", **HERE},
    {"type": "boat", "entityId": "v1", **HERE},
    {"type": "vehicle", **HERE},
    HERE,
    {},
]


async def test_refusals_are_the_same_as_over_http_and_of_other_events(
    live: Live, connect: Connect
) -> None:
    async with connect(live) as device:
        for count, update in enumerate(REFUSED, 1):
            _, refusal = await live.post(HTTP, update)
            assert refusal["success"] is False
            assert await device.call(PUBLISH, update) == refusal, update
            assert await device.next("error", count) == refusal["message"]
        assert await live.get("/api/tracking/vehicle") == (
            200,
            {"type": "vehicle", "locations": [], "nextCursor": None},
        )


async def test_an_argument_that_is_not_an_update_is_refused(connect: Connect) -> None:
    update = {"vehicleId": "v1", **HERE}
    async with serving() as live, connect(live) as device:
        for arguments in ((), (None,), ("v1",), (7,), (update, update), (json.dumps(update),)):
            answer = await device.call(PUBLISH, *arguments)
            assert (answer["success"], answer["code"]) == (False, "bad_request"), arguments
            assert device.of("error")[-1] == answer["message"]
        assert await current(live, "v1") is None


async def test_bytes_are_refused() -> None:
    async with serving() as live, python_connect(live) as device:
        for fields in ({"deviceId": b"d"}, {"latitude": b"1"}, {"metadata": {"photo": b"\xff"}}):
            answer = await device.call(PUBLISH, {"vehicleId": "v1", **HERE, **fields})
            assert answer["code"] == "bad_request", fields
        assert (await device.call(PUBLISH, b"{}"))["code"] == "bad_request"
        assert await current(live, "v1") is None


async def test_unauthenticated_sockets_are_refused(live: Live, connect: Connect) -> None:
    update = {"vehicleId": "v1", "timestamp": NOON, **HERE}
    refusal = {"success": False, "code": "not_authenticated", "message": "Not authenticated"}
    async with connect(live, user=None) as device:
        assert await device.call(PUBLISH, update) == refusal
        assert await device.call(PUBLISH, [update]) == refusal
        assert await device.next("error", 2) == "Not authenticated"
        assert await current(live, "v1") is None
        await device.call("authenticate", token("u2"))
        assert await device.call(PUBLISH, update) == UPDATED
        assert (await current(live, "v1"))["userId"] == "u2"


async def test_an_authorizer_refuses_what_is_not_the_caller_s(
    serve: Serve, connect: Connect
) -> None:
    async with (
        serve(extra_plugins=["tests.support.plugins.own_vehicles"]) as live,
        connect(live) as device,
    ):
        assert await device.call(PUBLISH, {"vehicleId": "u2-van", **HERE}) == {
            "success": False,
            "code": "unauthorized",
            "message": "Unauthorized",
        }
        assert await device.next("error") == "Unauthorized"
        assert (await device.call(PUBLISH, {"vehicleId": "u1-van", **HERE}))["success"] is True
        assert await live.server.tracking.get_current_location("vehicle", "u2-van") is None


# -- the throttle ---------------------------------------------------------------------------


async def test_a_throttled_fix_is_accepted_and_says_so(serve: Serve, connect: Connect) -> None:
    async with (
        serve(throttle_interval=60_000) as live,
        watching(live, "v1", "v2") as watcher,
        connect(live) as device,
    ):
        update = {"vehicleId": "v1", "timestamp": NOON, **HERE}
        assert await device.call(PUBLISH, {**update, "speed": 1}) == UPDATED
        answer = await device.call(PUBLISH, {**update, "speed": 2})
        assert answer == {**UPDATED, "throttled": True}
        assert (await live.post(HTTP, {**update, "speed": 3}))[1] == answer  # both share one window
        assert await device.call(PUBLISH, {**update, "vehicleId": "v2", "speed": 4}) == UPDATED
        await until(lambda: len(watcher.updates) == 2)
        assert [each["location"]["speed"] for each in watcher.updates] == [1, 4]
        assert (await current(live, "v1"))["speed"] == 3


# -- a plugin of its own --------------------------------------------------------------------


async def test_it_does_not_need_the_http_api() -> None:
    async with serving(disabled_plugins=["http_api"]) as live, python_connect(live) as device:
        update = {"vehicleId": "v1", "timestamp": NOON, **HERE}
        assert await device.call(PUBLISH, update) == UPDATED


async def test_a_host_s_own_event_works_when_the_plugin_is_disabled() -> None:
    async with serving(disabled_plugins=["socket_publish"]) as live:

        async def host_event(_: str, update: object) -> object:
            return ["the host's", update]

        live.server.socket_io.on(PUBLISH, host_event)
        async with python_connect(live) as device:
            assert await device.call(PUBLISH, "anything") == ["the host's", "anything"]
