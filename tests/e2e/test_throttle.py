"""Throttling over HTTP: ``interval``, ``latest`` and ``none``, by setting and by type."""

from __future__ import annotations

import asyncio
from typing import Any

from atriz_realtime import RealtimeConfig, create_app
from tests.support.clients.python_socketio import Client, Serve, python_connect
from tests.support.servers.serving import SECRET, Live, serving

HERE = {"latitude": 52.6, "longitude": -8.6}


async def publish(live: Live, speed: int, kind: str = "vehicle", entity_id: str = "v1") -> bool:
    """Publish a fix; returns whether it passed the throttle."""
    status, answer = await live.post(
        "/api/tracking/location", {"type": kind, "entityId": entity_id, "speed": speed, **HERE}
    )
    assert (status, answer["success"]) == (200, True)
    assert answer.get("throttled", True) is True
    return "throttled" not in answer


async def publish_at_once(live: Live, *speeds: int) -> tuple[int, int]:
    """Publish fixes of one vehicle in a batch; returns how many were accepted and throttled."""
    updates = [{"vehicleId": "v1", "speed": speed, **HERE} for speed in speeds]
    _, answer = await live.post("/api/tracking/batch", {"updates": updates})
    return answer["accepted"], answer["throttled"]


async def current(live: Live) -> Any:
    """The speed of the cached location."""
    return (await live.get("/api/tracking/vehicle/v1"))[1]["speed"]


def speeds(client: Client) -> list[Any]:
    return [update["location"]["speed"] for update in client.updates]


async def test_one_update_a_second_by_default(backend_url: str | None) -> None:
    app = create_app(RealtimeConfig(jwt_secret=SECRET, redis_url=backend_url))
    now = asyncio.get_running_loop().time
    async with serving(app) as live, python_connect(live) as client:
        await client.call("track:vehicle", "v1")
        started = now()
        assert await publish(live, 0)
        first_was_answered = last_was_sent = now()
        number = 1
        while not await publish(live, number):
            assert last_was_sent - first_was_answered < 1  # a throttled fix falls into the window
            number, last_was_sent = number + 1, now()
        assert number > 1
        assert now() - started >= 1
        await client.next("location:update", 2)
        assert speeds(client) == [0, number]


async def test_entities_are_throttled_apart(serve: Serve) -> None:
    async with serve(throttle_interval=60_000) as live, python_connect(live) as client:
        await client.call("track:vehicle", ["v1", "v2"])
        await client.call("track:delivery", "v1")
        for speed, kind, entity_id in [
            (1, "vehicle", "v1"),
            (2, "vehicle", "v2"),
            (3, "delivery", "v1"),
        ]:
            assert await publish(live, speed, kind, entity_id)
            assert not await publish(live, 10 * speed, kind, entity_id)
        await client.next("location:update", 3)
        assert speeds(client) == [1, 2, 3]
        assert await current(live) == 10  # throttled fixes are cached


async def test_latest_sends_the_last_fix_at_the_end_of_the_window(serve: Serve) -> None:
    async with (
        serve(throttle="latest", throttle_interval=1_000) as live,
        python_connect(live) as client,
    ):
        await client.call("track:vehicle", "v1")
        assert await publish_at_once(live, 0, 1, 2, 3) == (1, 3)
        assert await current(live) == 3
        await client.next("location:update", 2)
        assert speeds(client) == [0, 3]


async def test_none_sends_everything(serve: Serve) -> None:
    async with (
        serve(throttle="none", throttle_interval=60_000) as live,
        python_connect(live) as client,
    ):
        await client.call("track:vehicle", "v1")
        assert await publish_at_once(live, *range(20)) == (20, 0)
        await client.next("location:update", 20)
        assert speeds(client) == list(range(20))


async def test_an_interval_of_zero_sends_everything(serve: Serve) -> None:
    async with serve(throttle_interval=0) as live, python_connect(live) as client:
        await client.call("track:vehicle", "v1")
        assert await publish_at_once(live, *range(20)) == (20, 0)
        await client.next("location:update", 20)


async def test_settings_by_entity_type(serve: Serve) -> None:
    entities = {"vehicle": {"throttle": "none"}, "delivery": {"throttle_interval": 60_000}}
    async with serve(entities=entities) as live, python_connect(live) as client:
        await client.call("track:vehicle", "v1")
        await client.call("track:delivery", "v1")
        assert [await publish(live, 1), await publish(live, 2)] == [True, True]
        assert [await publish(live, 3, "delivery"), await publish(live, 4, "delivery")] == [
            True,
            False,
        ]
        await client.next("location:update", 3)
        assert speeds(client) == [1, 2, 3]


async def test_python_is_throttled_like_http(serve: Serve) -> None:
    async with serve(throttle_interval=60_000) as live:
        location = {"deviceId": "d", "userId": "u", "timestamp": "2026-01-31T12:00:00Z", **HERE}
        results = [
            await live.server.tracking.publish_location_update("vehicle", "v1", location)
            for _ in range(2)
        ]
        assert [result.throttled for result in results] == [False, True]
        assert not await publish(live, 1)
