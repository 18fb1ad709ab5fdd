"""Statistics take constant time: no command sent to Redis grows with the number of entities."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from redis.asyncio import Redis

from atriz_realtime import Location
from tests.support.servers.serving import serving

ENTITIES = 100_000

AT_ONCE = 100
"""How many are cached together: few enough for a slow machine to answer all of them in time."""

LINEAR = {"keys", "scan", "zscan", "sscan", "hscan", "zrange", "smembers", "hgetall", "mget"}
"""Commands whose work grows with the number of entities."""

LOCATION = Location.from_wire(
    {
        "deviceId": "d1",
        "userId": "u1",
        "latitude": 52.6,
        "longitude": -8.6,
        "timestamp": "2026-01-31T12:00:00.000Z",
    }
)


async def commands(redis: Redis) -> dict[str, tuple[int, float]]:
    """Calls and microseconds of each command since the last ``CONFIG RESETSTAT``."""
    return {
        name.removeprefix("cmdstat_"): (entry["calls"], entry["usec"])
        for name, entry in (await redis.info("commandstats")).items()
    }


async def test_statistics_of_a_hundred_thousand_entities(
    redis_url: str, redis_client: Redis, record_property: Callable[[str, object], None]
) -> None:
    # last known locations would be written meanwhile
    async with serving(redis_url=redis_url, cache_ttl=3_600, last_known_ttl=0) as live:
        tracking = live.server.tracking
        for start in range(0, ENTITIES, AT_ONCE):
            await asyncio.gather(
                *(
                    tracking.cache_current_location("vehicle", f"v{number}", LOCATION)
                    for number in range(start, start + AT_ONCE)
                )
            )
        await redis_client.config_resetstat()
        for _ in range(10):
            assert await tracking.get_tracking_stats() == {
                "activeVehicles": ENTITIES,
                "activeDeliveries": 0,
                "totalTracking": ENTITIES,
            }
        status, report = await live.get("/health/realtime", headers={})
        assert (status, report["tracking"]["totalTracking"]) == (200, ENTITIES)
        seen = await commands(redis_client)
        assert not seen.keys() & LINEAR
        background, _ = seen.pop("get", (0, 0.0))  # the version of the revocations
        assert background < 11
        counting = {name: seen[name] for name in seen.keys() - {"ping", "config|resetstat"}}
        assert sum(calls for calls, _ in counting.values()) == 11 * 2  # one for each type
        microseconds = sum(usec for _, usec in counting.values())
        record_property("redis_microseconds_per_call", microseconds / 11)
