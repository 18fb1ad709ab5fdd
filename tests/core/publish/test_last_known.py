"""Last known locations: noted with each fix, kept behind them, read after the current ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs
import pytest

from atriz_realtime.api import EntityRef, InvalidRequest, Payload
from atriz_realtime.core.publish import last_known as module
from atriz_realtime.core.publish.last_known import LastKnownLocations
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.defaults.memory import MemoryCache, MemorySettings
from atriz_realtime.plugin_system.registry import EntityKind
from atriz_realtime.testing import FakeClock, payload, until
from tests.core.parts import AWAY

VEHICLE = EntityRef("vehicle", "v1")
WEEK = 604_800.0


def kind(name: str = "vehicle", *, last_known_ttl: float = WEEK, cache_ttl: float = 300) -> Any:
    made = EntityKind(
        name=name,
        plugin="test",
        matches_id=bool,
        validate=None,
        cache_ttl=cache_ttl,
        last_known_ttl=last_known_ttl,
        throttle="none",
        throttle_options={},
    )
    return {name: made}


class Cache(MemoryCache):
    """A memory cache that can be away, and notes what it is asked to keep."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock, MemorySettings())
        self.is_away = False
        self.kept: list[list[str]] = []
        self.gate: asyncio.Event | None = None

    async def keep(self, entities: Sequence[EntityRef], ttl: float) -> None:
        self.kept.append([entity.id for entity in entities])
        if self.gate is not None:
            await self.gate.wait()
        if self.is_away:
            raise AWAY
        await super().keep(entities, ttl)


@attrs.define
class Parts:
    clock: FakeClock
    incidents: Incidents
    cache: Cache
    locations: LastKnownLocations

    async def report(self, fix: Payload) -> None:
        """A fix as the core handles it."""
        self.locations.note(fix)
        await self.cache.put(fix, 300)

    async def known(self) -> bytes | None:
        """What is known of the vehicle when its current location has expired."""
        self.clock.advance(301)
        return await self.locations.get(VEHICLE)


@pytest.fixture
async def parts(clock: FakeClock, incidents: Incidents) -> AsyncIterator[Parts]:
    made = Parts(clock, incidents, Cache(clock), LastKnownLocations(kind(), incidents))
    made.locations.start(made.cache)
    yield made
    await made.locations.aclose()


async def test_entities_that_reported_are_kept_together(parts: Parts) -> None:
    newest = payload(seconds=9)
    for seconds in range(9):
        await parts.report(payload(seconds=seconds))
    await parts.report(payload("v2"))
    await parts.report(newest)
    assert parts.cache.kept == []
    assert parts.locations.statistics()["waiting"] == 2
    await parts.locations.write()
    assert parts.cache.kept == [["v1", "v2"]]
    assert parts.locations.statistics() == {"waiting": 0, "written": 2, "failed": 0, "dropped": 0}
    await parts.locations.write()
    assert len(parts.cache.kept) == 1  # nothing has been reported since
    assert await parts.known() == newest.location


async def test_they_are_written_in_batches(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_BATCH", 2)
    for number in range(5):
        await parts.report(payload(f"v{number}"))
    await parts.locations.write()
    assert parts.cache.kept == [["v0", "v1"], ["v2", "v3"], ["v4"]]


async def test_they_are_written_every_few_seconds(
    clock: FakeClock, incidents: Incidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP_INTERVAL", 0.001)
    cache, locations = Cache(clock), LastKnownLocations(kind(), incidents)
    locations.start(cache)
    for entity_id in ("v1", "v2"):
        locations.note(payload(entity_id))
        await until(lambda: locations.statistics()["waiting"] == 0)
    await until(lambda: cache.kept == [["v1"], ["v2"]])
    await locations.aclose()


@pytest.mark.parametrize(("cache_ttl", "interval"), [(300, module.KEEP_INTERVAL), (1, 0.5)])
async def test_each_is_written_while_it_is_current(
    incidents: Incidents, cache_ttl: float, interval: float
) -> None:
    assert LastKnownLocations(kind(cache_ttl=cache_ttl), incidents)._interval == interval


async def test_what_waits_is_written_when_the_server_stops(parts: Parts) -> None:
    fix = payload()
    await parts.report(fix)
    await parts.locations.aclose()
    assert await parts.known() == fix.location


async def test_a_server_that_stops_waits_for_a_write_for_a_while_only(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.01)
    parts.cache.gate = asyncio.Event()
    await parts.report(payload())
    async with asyncio.timeout(5):
        await parts.locations.aclose()
    assert parts.locations.statistics()["waiting"] == 1
    parts.cache.gate.set()


async def test_what_cannot_be_written_is_written_later(parts: Parts) -> None:
    parts.cache.is_away = True
    await parts.report(payload())
    await parts.locations.write()
    assert parts.locations.statistics() == {"waiting": 1, "written": 0, "failed": 1, "dropped": 0}
    assert parts.incidents.counts == {"last known locations not written": 1}
    newest = payload(seconds=1)
    await parts.report(newest)
    parts.cache.is_away = False
    await parts.locations.write()
    assert parts.locations.statistics() == {"waiting": 0, "written": 1, "failed": 1, "dropped": 0}
    assert await parts.known() == newest.location


async def test_what_is_reported_during_a_write_is_written_with_the_next(parts: Parts) -> None:
    parts.cache.gate = asyncio.Event()
    await parts.report(payload())
    writing = asyncio.create_task(parts.locations.write())
    await until(lambda: parts.cache.kept)
    newest = payload(seconds=1)
    await parts.report(newest)
    parts.cache.gate.set()
    await writing
    assert parts.locations.statistics()["waiting"] == 1
    await parts.locations.write()
    assert await parts.known() == newest.location


async def test_what_is_deleted_before_the_write_is_not_kept(parts: Parts) -> None:
    await parts.report(payload())
    await parts.cache.delete(VEHICLE)
    await parts.locations.write()
    assert await parts.known() is None


async def test_beyond_the_limit_the_one_that_waited_longest_is_dropped(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_NOTED", 2)
    for entity_id in ("v1", "v2", "v1", "v3"):
        await parts.report(payload(entity_id))
    assert parts.locations.statistics()["dropped"] == 1
    assert parts.incidents.counts == {"last known locations dropped": 1}
    await parts.locations.write()
    assert parts.cache.kept == [["v2", "v3"]]


async def test_a_type_of_which_none_is_kept_costs_nothing(
    clock: FakeClock, incidents: Incidents
) -> None:
    kinds = kind() | kind("delivery", last_known_ttl=0)
    locations = LastKnownLocations(kinds, incidents)
    locations.start(Cache(clock))
    locations.note(payload(kind="delivery"))
    assert locations.statistics()["waiting"] == 0
    assert (locations.keeps("vehicle"), locations.keeps("delivery")) == (True, False)
    await locations.aclose()


class Plain:
    """A cache of a plugin that knows nothing of last known locations."""

    def __init__(self, cache: MemoryCache) -> None:
        for name in ("put", "get", "delete", "page", "count"):
            setattr(self, name, getattr(cache, name))


@pytest.mark.parametrize("last_known_ttl", [0, WEEK])
async def test_there_are_none_if_turned_off_or_with_a_cache_that_cannot(
    clock: FakeClock, incidents: Incidents, last_known_ttl: float
) -> None:
    known = Cache(clock)
    cache: Any = Plain(known) if last_known_ttl else known
    locations = LastKnownLocations(kind(last_known_ttl=last_known_ttl), incidents)
    locations.start(cache)
    assert locations._task is None
    locations.note(payload())
    assert locations.statistics()["waiting"] == 0
    await known.put(payload(), 300)
    page = await locations.page(cache, "vehicle", None, 10)
    assert (len(page.items), page.next_cursor, page.expired) == (1, None, frozenset())
    page = await locations.page(cache, "vehicle", "last:", 10)
    assert (page.items, page.next_cursor) == ([], None)
    await locations.aclose()


# -- listings of both ----------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 100])
async def test_the_current_ones_are_listed_first(parts: Parts, limit: int) -> None:
    fixes = [payload(f"v{number}") for number in range(7)]
    for fix in fixes:
        await parts.report(fix)
    await parts.locations.write()
    parts.clock.advance(301)
    for fix in fixes[::2]:
        await parts.report(fix)
    listed, expired = list[str](), set[str]()
    cursor: str | None = None
    while True:
        page = await parts.locations.page(parts.cache, "vehicle", cursor, limit)
        assert len(page.items) <= limit
        listed += [entity_id for entity_id, _ in page.items]
        expired |= page.expired
        if (cursor := page.next_cursor) is None:
            break
    assert sorted(listed) == [f"v{number}" for number in range(7)]
    assert set(listed[:4]) == {"v0", "v2", "v4", "v6"}
    assert expired == {"v1", "v3", "v5"}


@pytest.mark.parametrize("cursor", ["", "current", "last", "other:", "7", "current:x", "last:x"])
async def test_a_cursor_of_another_listing_is_refused(parts: Parts, cursor: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        await parts.locations.page(parts.cache, "vehicle", cursor, 10)
    assert error.value.field == "cursor"
