"""The contract of caches of current locations."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable

import pytest

from atriz_realtime.api import (
    BackendStatus,
    Cache,
    Closeable,
    EntityRef,
    InvalidRequest,
    Measuring,
    Page,
    Reporting,
)
from atriz_realtime.testing.clock import FakeClock
from atriz_realtime.testing.samples import payload

PassTime = Callable[[float], Awaitable[None]]
"""``Callable[[float], Awaitable[None]]``: lets some seconds pass for a cache and its store."""

TTL = 100.0

VEHICLE = EntityRef("vehicle", "v1")

UNUSUAL_IDS = (
    "*",
    "[a-z]?",
    "%s {0} $1",
    "back\\slash",
    '"quoted"',
    " ",
    "Grüße-飛行機-🚚",
    "x" * 128,
    "-inf",
    "0",
)


async def entity_ids(cache: Cache, limit: int, kind: str = "vehicle") -> list[str]:
    """Read all pages of the current locations; returns the ids."""
    return await listed_ids(cache.page, limit, kind)


async def listed_ids(
    read: Callable[[str, str | None, int], Awaitable[Page]], limit: int, kind: str
) -> list[str]:
    """Read all pages of a listing; returns the ids."""
    found: list[str] = []
    cursor: str | None = None
    for _ in range(1_000):
        page = await read(kind, cursor, limit)
        assert len(page.items) <= limit
        found += [entity_id for entity_id, _ in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise AssertionError("the listing has no end")


@pytest.mark.asyncio
class CacheContract:
    """The contract of :class:`~atriz_realtime.api.Cache`, as tests.

    Name a subclass ``Test…`` and override the fixture ``cache``: an empty cache that uses the
    fixture ``clock``.  If its entries expire by another clock, such as that of a database
    server, override ``pass_time`` too.

    Example::

        class TestMyCache(CacheContract):
            @pytest.fixture
            def cache(self, clock):
                return MyCache(clock)
    """

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The clock of the cache."""
        return FakeClock()

    @pytest.fixture
    def cache(self, clock: FakeClock) -> Cache:
        """The cache to test, empty."""
        raise NotImplementedError("override the fixture `cache`")

    @pytest.fixture
    def pass_time(self, clock: FakeClock) -> PassTime:
        """A function that lets time pass for the cache."""

        async def pass_time(seconds: float) -> None:
            clock.advance(seconds)

        return pass_time

    # -- one entity ------------------------------------------------------------------------

    async def test_nothing_is_known_of_an_entity_at_first(self, cache: Cache) -> None:
        assert await cache.get(VEHICLE) is None

    async def test_what_was_put_is_read_byte_for_byte(self, cache: Cache) -> None:
        fix = payload(speed=65, metadata={"driver": "Ó Briain", "stops": [1, 2.5, None]})
        await cache.put(fix, TTL)
        assert await cache.get(VEHICLE) == fix.location

    async def test_a_newer_fix_replaces_an_older_one(self, cache: Cache) -> None:
        newer = payload(seconds=1, latitude=1)
        await cache.put(payload(seconds=0), TTL)
        await cache.put(newer, TTL)
        assert await cache.get(VEHICLE) == newer.location

    async def test_a_fix_of_the_same_time_replaces(self, cache: Cache) -> None:
        second = payload(latitude=1)
        await cache.put(payload(), TTL)
        await cache.put(second, TTL)
        assert await cache.get(VEHICLE) == second.location

    @pytest.mark.parametrize("older", [-0.001, -1, -100 * 365 * 86_400])
    async def test_an_older_fix_never_replaces_a_newer_one(
        self, cache: Cache, older: float
    ) -> None:
        held = payload()
        await cache.put(held, TTL)
        await cache.put(payload(seconds=older, latitude=1), TTL)
        assert await cache.get(VEHICLE) == held.location

    async def test_what_is_queued_together_is_put_in_that_order(self, cache: Cache) -> None:
        fixes = [payload(seconds=seconds, latitude=seconds) for seconds in (1, 3, 2)]
        for put in [cache.put(fix, TTL) for fix in fixes]:
            await put
        assert await cache.get(VEHICLE) == fixes[1].location

    async def test_a_deleted_location_is_gone(self, cache: Cache) -> None:
        await cache.put(payload("v1"), TTL)
        await cache.put(payload("v2"), TTL)
        await cache.delete(VEHICLE)
        assert await cache.get(VEHICLE) is None
        assert await entity_ids(cache, 10) == ["v2"]
        assert await cache.count("vehicle") == 1

    async def test_deleting_what_is_not_there_is_harmless(self, cache: Cache) -> None:
        await cache.delete(VEHICLE)
        await cache.delete(VEHICLE)
        assert await cache.count("vehicle") == 0

    async def test_a_deleted_fix_does_not_hold_off_an_older_one(self, cache: Cache) -> None:
        older = payload(seconds=-1)
        await cache.put(payload(), TTL)
        await cache.delete(VEHICLE)
        await cache.put(older, TTL)
        assert await cache.get(VEHICLE) == older.location

    @pytest.mark.parametrize("entity_id", UNUSUAL_IDS)
    async def test_any_id_is_only_itself(self, cache: Cache, entity_id: str) -> None:
        fix, other = payload(entity_id), payload("other")
        await cache.put(fix, TTL)
        await cache.put(other, TTL)
        assert await cache.get(fix.entity) == fix.location
        assert dict((await cache.page("vehicle", None, 10)).items) == {
            entity_id: fix.location,
            "other": other.location,
        }
        assert set(await entity_ids(cache, 1)) == {entity_id, "other"}
        await cache.delete(fix.entity)
        assert await entity_ids(cache, 10) == ["other"]

    async def test_types_are_apart(self, cache: Cache) -> None:
        vehicle, delivery = payload("7", kind="vehicle"), payload("7", kind="delivery")
        await cache.put(vehicle, TTL)
        assert await cache.get(delivery.entity) is None
        await cache.put(delivery, TTL)
        await cache.delete(vehicle.entity)
        assert await cache.get(delivery.entity) == delivery.location
        assert (await cache.count("vehicle"), await cache.count("delivery")) == (0, 1)
        assert (await cache.page("vehicle", None, 10)).items == []

    # -- expiry ----------------------------------------------------------------------------

    async def test_a_location_is_kept_for_its_lifetime(
        self, cache: Cache, pass_time: PassTime
    ) -> None:
        await cache.put(payload(), TTL)
        await pass_time(TTL * 0.9)  # what is left is real time for a backend on a slow machine
        assert await cache.get(VEHICLE) is not None
        assert await entity_ids(cache, 10) == ["v1"]
        assert await cache.count("vehicle") == 1

    async def test_an_expired_location_is_gone_from_everywhere(
        self, cache: Cache, pass_time: PassTime
    ) -> None:
        await cache.put(payload("v1"), TTL)
        await pass_time(TTL / 2)
        await cache.put(payload("v2"), TTL)
        await pass_time(TTL / 2 + 1)
        assert await cache.get(VEHICLE) is None
        assert await entity_ids(cache, 10) == ["v2"]
        assert await cache.count("vehicle") == 1

    async def test_an_update_begins_a_new_lifetime(self, cache: Cache, pass_time: PassTime) -> None:
        newer = payload(seconds=1)
        await cache.put(payload(), TTL)
        await pass_time(TTL / 2)
        await cache.put(newer, TTL)
        await pass_time(TTL / 2 + 1)
        assert await cache.get(VEHICLE) == newer.location
        assert await cache.count("vehicle") == 1

    async def test_a_fix_that_did_not_replace_is_not_counted_once_the_other_expired(
        self, cache: Cache, pass_time: PassTime
    ) -> None:
        await cache.put(payload(), TTL)
        await pass_time(TTL / 2)
        await cache.put(payload(seconds=-1), TTL)
        while await cache.get(VEHICLE) is not None:  # whichever lifetime it has now
            await pass_time(TTL / 4)
        assert await cache.count("vehicle") == 0
        assert await entity_ids(cache, 10) == []

    async def test_an_expired_fix_does_not_hold_off_an_older_one(
        self, cache: Cache, pass_time: PassTime
    ) -> None:
        older = payload(seconds=-1)
        await cache.put(payload(), TTL)
        await pass_time(TTL + 1)
        await cache.put(older, TTL)
        assert await cache.get(VEHICLE) == older.location

    # -- listings --------------------------------------------------------------------------

    async def test_a_type_without_locations_has_an_empty_page(self, cache: Cache) -> None:
        page = await cache.page("vehicle", None, 10)
        assert page.items == []
        assert page.next_cursor is None
        assert await cache.count("vehicle") == 0

    async def test_a_page_holds_the_newest_locations(self, cache: Cache) -> None:
        fixes = {}
        for seconds in range(3):
            for entity_id in ("v0", "v1", "v2"):
                fixes[entity_id] = payload(entity_id, seconds)
                await cache.put(fixes[entity_id], TTL)
        page = await cache.page("vehicle", None, 10)
        assert sorted(page.items) == [(entity_id, fix.location) for entity_id, fix in fixes.items()]
        assert await cache.count("vehicle") == 3

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 20, 21, 1_000])
    async def test_pages_together_hold_every_entity_once(self, cache: Cache, limit: int) -> None:
        expected = [f"v{number:02}" for number in range(20)]
        for entity_id in expected:
            await cache.put(payload(entity_id), TTL)
        assert sorted(await entity_ids(cache, limit)) == expected

    async def test_pages_hold_entities_that_expire_at_different_times(
        self, cache: Cache, pass_time: PassTime
    ) -> None:
        expected = [f"v{number:02}" for number in range(20)]
        for entity_id in expected:
            await cache.put(payload(entity_id), TTL)
            await pass_time(0.25)
        assert sorted(await entity_ids(cache, 3)) == expected

    @pytest.mark.parametrize("seed", range(8))
    async def test_pages_miss_nobody_while_others_come_and_go(
        self, cache: Cache, clock: FakeClock, seed: int
    ) -> None:
        chance = random.Random(seed)
        names = [f"v{number:02}" for number in range(30)]
        for entity_id in names:
            await cache.put(payload(entity_id), TTL)
            clock.advance(chance.choice([0, 0, 0, 0.001, 0.5]))
        staying = set(names)
        found: set[str] = set()
        cursor: str | None = None
        step = 0
        while True:
            page = await cache.page("vehicle", cursor, chance.randint(1, 6))
            found |= {entity_id for entity_id, _ in page.items}
            cursor = page.next_cursor
            if cursor is None:
                break
            for _ in range(chance.randint(0, 2)):
                step += 1
                clock.advance(chance.choice([0, 0.001]))
                await cache.put(payload(chance.choice(sorted(staying)), step), TTL)
                await cache.put(payload(f"new{step}"), TTL)
            if step % 5 == 4 and len(staying) > 10:
                leaving = chance.choice(sorted(staying))
                staying.discard(leaving)
                await cache.delete(EntityRef("vehicle", leaving))
        assert staying <= found

    @pytest.mark.parametrize("seed", range(8))
    async def test_pages_miss_nobody_while_others_are_updated_meanwhile(
        self, cache: Cache, clock: FakeClock, seed: int
    ) -> None:
        chance = random.Random(seed)
        names = [f"v{number:02}" for number in range(40)]
        for entity_id in names:
            await cache.put(payload(entity_id), TTL)
        found: set[str] = set()
        cursor: str | None = None
        for seconds in range(1, 1_000):
            clock.advance(0.001)
            reading = asyncio.ensure_future(cache.page("vehicle", cursor, 3))
            for _ in range(chance.randint(0, 4)):
                await asyncio.sleep(0)
            await cache.put(payload(chance.choice(names), seconds), TTL)
            page = await reading
            found |= {entity_id for entity_id, _ in page.items}
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == set(names)

    @pytest.mark.parametrize(
        "cursor", ["", " ", "next", "-1", "1.5", "²", "\x00", "٣", "9" * 5_000, "9" * 5_000 + ":v1"]
    )
    async def test_a_cursor_that_was_not_handed_out_is_refused(
        self, cache: Cache, cursor: str
    ) -> None:
        await cache.put(payload(), TTL)
        with pytest.raises(InvalidRequest):  # noqa: PT012  # says more than "DID NOT RAISE"
            await cache.page("vehicle", cursor, 10)
            pytest.fail(
                f"page must raise InvalidRequest for {cursor[:20]!r}, which it has not returned: "
                "give the cursors of this cache a form by which they can be told from others"
            )

    # -- further abilities -----------------------------------------------------------------

    async def test_it_reports_its_status_and_can_be_closed_twice(self, cache: Cache) -> None:
        if isinstance(cache, Reporting):
            status = cache.status()
            assert isinstance(status, BackendStatus)
            assert status.state != "disconnected"
        if isinstance(cache, Measuring):
            assert all(math.isfinite(number) for number in cache.statistics().values())
        if isinstance(cache, Closeable):
            await cache.aclose()
            await cache.aclose()
