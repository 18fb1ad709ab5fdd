"""The contract of caches that know the last location of each entity."""

from __future__ import annotations

import asyncio
import random

import pytest

from atriz_realtime.api import Cache, EntityRef, InvalidRequest, LastKnown
from atriz_realtime.testing.cache import (
    TTL,
    UNUSUAL_IDS,
    VEHICLE,
    CacheContract,
    PassTime,
    listed_ids,
)
from atriz_realtime.testing.clock import FakeClock
from atriz_realtime.testing.samples import payload

LONG = 10 * TTL
"""Seconds that a last known location is kept."""


async def last_known_ids(cache: LastKnown, limit: int, kind: str = "vehicle") -> list[str]:
    """Read all pages of the last known locations; returns the ids."""
    return await listed_ids(cache.page_last_known, limit, kind)


class LastKnownContract(CacheContract):
    """The contract of a cache that is :class:`~atriz_realtime.api.LastKnown`, with that of caches.

    Override the same fixtures as for :class:`CacheContract`.  For a cache that servers share,
    derive a class from this one and from :class:`SharedCacheContract`.

    Example::

        class TestMyCache(LastKnownContract):
            @pytest.fixture
            def cache(self, clock):
                return MyCache(clock)
    """

    @pytest.fixture
    def lasting(self, cache: Cache) -> LastKnown:
        """The cache, as one that keeps locations."""
        assert isinstance(cache, LastKnown)
        return cache

    async def test_nothing_is_kept_unless_it_is_asked_for(
        self, cache: Cache, lasting: LastKnown
    ) -> None:
        await lasting.keep([VEHICLE], LONG)
        assert await lasting.last_known(VEHICLE) is None
        await cache.put(payload(), TTL)
        assert await lasting.last_known(VEHICLE) is None
        assert await last_known_ids(lasting, 10) == []

    async def test_a_location_is_known_when_it_is_no_longer_current(
        self, cache: Cache, lasting: LastKnown, pass_time: PassTime
    ) -> None:
        fix = payload(speed=65, metadata={"driver": "Ó Briain", "stops": [1, 2.5, None]})
        await cache.put(fix, TTL)
        await lasting.keep([VEHICLE], LONG)
        await pass_time(TTL + 1)
        assert await cache.get(VEHICLE) is None
        assert await cache.count("vehicle") == 0
        assert (await cache.page("vehicle", None, 10)).items == []
        assert await lasting.last_known(VEHICLE) == fix.location
        assert (await lasting.page_last_known("vehicle", None, 10)).items == [("v1", fix.location)]

    async def test_a_last_known_location_expires_as_well(
        self, cache: Cache, lasting: LastKnown, pass_time: PassTime
    ) -> None:
        await cache.put(payload(), TTL)
        await lasting.keep([VEHICLE], LONG)
        await pass_time(LONG / 2)
        await cache.put(payload("v2"), TTL)
        await lasting.keep([EntityRef("vehicle", "v2")], LONG)
        await pass_time(LONG / 2 + 1)
        assert await lasting.last_known(VEHICLE) is None
        assert await last_known_ids(lasting, 10) == ["v2"]

    async def test_to_keep_a_location_again_begins_a_new_lifetime(
        self, cache: Cache, lasting: LastKnown, pass_time: PassTime
    ) -> None:
        newest = payload(seconds=1)
        for fix in (payload(), newest):
            await cache.put(fix, TTL)
            await lasting.keep([VEHICLE], LONG)
            await pass_time(LONG / 2 + 1)
        assert await lasting.last_known(VEHICLE) == newest.location
        assert await last_known_ids(lasting, 10) == ["v1"]

    async def test_what_is_current_is_not_listed_as_last_known(
        self, cache: Cache, lasting: LastKnown, pass_time: PassTime
    ) -> None:
        fixes = [payload(f"v{number}") for number in range(4)]
        for fix in fixes:
            await cache.put(fix, TTL)
        await lasting.keep([fix.entity for fix in fixes], LONG)
        assert await last_known_ids(lasting, 10) == []
        await pass_time(TTL + 1)
        await cache.put(payload("v2", seconds=1), TTL)
        assert sorted(await last_known_ids(lasting, 10)) == ["v0", "v1", "v3"]

    async def test_a_write_that_was_queued_before_counts(
        self, cache: Cache, lasting: LastKnown
    ) -> None:
        fix = payload()
        await asyncio.gather(cache.put(fix, TTL), lasting.keep([VEHICLE], LONG))
        assert await lasting.last_known(VEHICLE) == fix.location

    async def test_what_is_kept_is_the_newest(self, cache: Cache, lasting: LastKnown) -> None:
        fixes = [payload(seconds=seconds) for seconds in (1, 3, 2)]
        for fix in fixes:
            await cache.put(fix, TTL)
            await lasting.keep([VEHICLE], LONG)
        assert await lasting.last_known(VEHICLE) == fixes[1].location

    async def test_an_older_location_never_replaces_a_newer_last_known_one(
        self, cache: Cache, lasting: LastKnown, pass_time: PassTime
    ) -> None:
        newer = payload(seconds=1)
        await cache.put(newer, TTL)
        await lasting.keep([VEHICLE], LONG)
        await pass_time(TTL + 1)
        await cache.put(payload(seconds=0), TTL)
        await lasting.keep([VEHICLE], LONG)
        assert await lasting.last_known(VEHICLE) == newer.location

    async def test_what_expired_is_not_forgotten_by_keeping_it_again(
        self, cache: Cache, lasting: LastKnown, pass_time: PassTime
    ) -> None:
        fix = payload()
        await cache.put(fix, TTL)
        await lasting.keep([VEHICLE], LONG)
        await pass_time(TTL + 1)
        await lasting.keep([VEHICLE, EntityRef("vehicle", "unknown")], LONG)
        assert await lasting.last_known(VEHICLE) == fix.location
        assert await last_known_ids(lasting, 10) == ["v1"]

    async def test_a_deleted_entity_is_not_known(
        self, cache: Cache, lasting: LastKnown, pass_time: PassTime
    ) -> None:
        for entity_id in ("v1", "v2"):
            await cache.put(payload(entity_id), TTL)
        await lasting.keep([VEHICLE, EntityRef("vehicle", "v2")], LONG)
        await cache.delete(VEHICLE)
        await lasting.keep([VEHICLE], LONG)  # by a server that does not know
        await pass_time(TTL + 1)
        assert await lasting.last_known(VEHICLE) is None
        assert await last_known_ids(lasting, 10) == ["v2"]
        await cache.delete(EntityRef("vehicle", "v2"))  # of which only that is left
        assert await last_known_ids(lasting, 10) == []

    @pytest.mark.parametrize("entity_id", UNUSUAL_IDS)
    async def test_any_id_is_only_itself_among_the_last_known(
        self, cache: Cache, lasting: LastKnown, pass_time: PassTime, entity_id: str
    ) -> None:
        fix, other = payload(entity_id), payload("other")
        for each in (fix, other):
            await cache.put(each, TTL)
        await lasting.keep([fix.entity, other.entity], LONG)
        await pass_time(TTL + 1)
        assert await lasting.last_known(fix.entity) == fix.location
        assert set(await last_known_ids(lasting, 1)) == {entity_id, "other"}
        await cache.delete(fix.entity)
        assert await last_known_ids(lasting, 10) == ["other"]

    async def test_types_are_apart_among_the_last_known(
        self, cache: Cache, lasting: LastKnown, pass_time: PassTime
    ) -> None:
        vehicle, delivery = payload("7", kind="vehicle"), payload("7", kind="delivery")
        for fix in (vehicle, delivery):
            await cache.put(fix, TTL)
        await lasting.keep([vehicle.entity], LONG)
        await pass_time(TTL + 1)
        assert await lasting.last_known(delivery.entity) is None
        assert await last_known_ids(lasting, 10, "delivery") == []
        assert await last_known_ids(lasting, 10, "vehicle") == ["7"]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 20, 21, 1_000])
    async def test_pages_together_hold_every_last_known_location_once(
        self, cache: Cache, lasting: LastKnown, pass_time: PassTime, limit: int
    ) -> None:
        fixes = [payload(f"v{number:02}") for number in range(30)]
        for fix in fixes:
            await cache.put(fix, TTL)
        await lasting.keep([fix.entity for fix in fixes], LONG)
        await pass_time(TTL + 1)
        for fix in fixes[::3]:
            await cache.put(fix, TTL)
        expected = [fix.entity.id for at, fix in enumerate(fixes) if at % 3]
        assert sorted(await last_known_ids(lasting, limit)) == expected

    @pytest.mark.parametrize("seed", range(8))
    async def test_pages_miss_no_last_known_location_while_others_come_and_go(
        self, cache: Cache, lasting: LastKnown, clock: FakeClock, pass_time: PassTime, seed: int
    ) -> None:
        chance = random.Random(seed)
        names = [f"v{number:02}" for number in range(30)]
        for name in names:
            await cache.put(payload(name), TTL)
            await lasting.keep([EntityRef("vehicle", name)], LONG)
            clock.advance(chance.choice([0, 0, 0, 0.001, 0.5]))
        await pass_time(TTL + 1)
        staying, found = set(names), set[str]()
        cursor: str | None = None
        step = 0
        while True:
            page = await lasting.page_last_known("vehicle", cursor, chance.randint(1, 6))
            found |= {name for name, _ in page.items}
            cursor = page.next_cursor
            if cursor is None:
                break
            step += 1
            returning = chance.choice(sorted(staying))
            if step % 3 == 0 and len(staying) > 10:
                staying.discard(returning)
                await cache.put(payload(returning, step), TTL)
                await lasting.keep([EntityRef("vehicle", returning)], LONG)
        assert staying <= found

    @pytest.mark.parametrize("cursor", ["", " ", "next", "-1", "1.5", "²", "٣", "9" * 5_000])
    async def test_a_cursor_of_last_known_locations_that_was_not_handed_out_is_refused(
        self, lasting: LastKnown, cursor: str
    ) -> None:
        with pytest.raises(InvalidRequest):
            await lasting.page_last_known("vehicle", cursor, 10)
