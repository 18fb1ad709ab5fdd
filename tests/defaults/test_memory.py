"""The memory backends beyond their contracts: memory is bounded."""

from __future__ import annotations

import random
import sys
import tracemalloc
from types import FrameType
from typing import Any

import pytest

from atriz_realtime.api import EntityRef
from atriz_realtime.defaults.memory import MemoryCache, MemoryFanout, MemorySettings
from atriz_realtime.plugin_system.structure import structure
from atriz_realtime.testing import FakeClock, payload
from atriz_realtime.testing.cache import entity_ids


def cache(max_entries: int = 3, **limits: int) -> MemoryCache:
    return MemoryCache(FakeClock(), MemorySettings(max_entries=max_entries, **limits))


async def test_beyond_the_limit_the_oldest_location_is_dropped() -> None:
    held = cache()
    for entity_id in ("v1", "v2", "v3"):
        await held.put(payload(entity_id), 300)
    await held.put(payload("v1", seconds=1), 300)
    await held.put(payload("v4"), 300)
    assert await held.count("vehicle") == 3
    assert await held.get(EntityRef("vehicle", "v2")) is None
    assert await held.get(EntityRef("vehicle", "v1")) is not None


async def test_beyond_the_limit_in_bytes_the_oldest_locations_are_dropped() -> None:
    held = cache(100, max_bytes=20_000)
    for number in range(20):
        await held.put(payload(f"v{number}"), 300)
    assert await held.count("vehicle") == 20
    await held.put(payload("large", metadata={"note": "x" * 10_000}), 300)
    left = await held.count("vehicle")
    assert 10 <= left < 20
    assert await held.get(EntityRef("vehicle", "large")) is not None
    assert await held.get(EntityRef("vehicle", "v0")) is None
    assert await held.get(EntityRef("vehicle", "v19")) is not None
    numbers = held.statistics()
    assert (numbers["entries"], numbers["dropped"]) == (left, 21 - left)
    assert 19_000 < numbers["bytes"] <= 20_000


async def test_what_is_replaced_deleted_or_expired_no_longer_counts() -> None:
    clock = FakeClock()
    held = MemoryCache(clock, MemorySettings())
    await held.put(payload("v1", metadata={"note": "x" * 1_000}), 10)
    await held.put(payload("v1", seconds=1), 10)
    small = held.statistics()["bytes"]
    assert small < 1_000
    await held.put(payload("v2"), 10)
    await held.delete(EntityRef("vehicle", "v2"))
    await held.delete(EntityRef("vehicle", "v2"))
    assert held.statistics() == {"entries": 1, "bytes": small, "dropped": 0}
    clock.advance(10)
    await held.count("vehicle")
    assert held.statistics() == {"entries": 0, "bytes": 0, "dropped": 0}


@pytest.mark.parametrize("note", ["", "x" * 1_000, "ä" * 1_000])
async def test_its_memory_is_what_it_counts(note: str) -> None:
    held = cache(10_000)
    fixes = (payload(f"vehicle-{number:05}", metadata={"note": note}) for number in range(5_000))
    tracemalloc.start()
    try:
        for fix in fixes:
            await held.put(fix, 300)
        del fix
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.7 * held.statistics()["bytes"] < taken <= held.statistics()["bytes"]


async def test_an_older_fix_does_not_count_as_a_change() -> None:
    held = cache()
    for entity_id in ("v1", "v2", "v3"):
        await held.put(payload(entity_id), 300)
    await held.put(payload("v1", seconds=-1), 300)
    await held.put(payload("v4"), 300)
    assert await held.get(EntityRef("vehicle", "v1")) is None


async def test_each_type_has_its_own_limit() -> None:
    held = cache(1)
    await held.put(payload("1", kind="vehicle"), 300)
    await held.put(payload("1", kind="delivery"), 300)
    assert (await held.count("vehicle"), await held.count("delivery")) == (1, 1)


async def test_expired_locations_take_no_memory() -> None:
    clock = FakeClock()
    held = MemoryCache(clock, MemorySettings())
    for number in range(100):
        await held.put(payload(f"v{number}"), 10)
        clock.advance(1)
    await held.count("vehicle")
    assert len(held._types["vehicle"]) == 9


async def lines_of_the_last_page(held: MemoryCache, cursor: str) -> int:
    """Lines that run to read one location after a cursor: a count, since times vary."""
    lines = 0

    def count(_: FrameType, event: str, __: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        page = await held.page("vehicle", cursor, 1)
    finally:
        sys.settrace(before)
    assert len(page.items) == 1
    return lines


async def test_a_page_costs_the_same_wherever_it_begins() -> None:
    held = cache(10_000)
    for number in range(10_000):
        await held.put(payload(f"v{number}"), 300)
    first, last = await held.page("vehicle", None, 1), await held.page("vehicle", None, 9_998)
    assert first.next_cursor is not None
    assert last.next_cursor is not None
    assert await lines_of_the_last_page(held, last.next_cursor) < 100
    assert await lines_of_the_last_page(held, first.next_cursor) < 100


async def test_pages_are_in_order_after_updates_at_random() -> None:
    held = cache(2_000)
    chance = random.Random(1)
    expected: dict[str, None] = {}
    for step in range(20_000):
        name = f"v{chance.randrange(2_100)}"
        expected.pop(name, None)
        if step % 7:
            expected[name] = None
            await held.put(payload(name, seconds=step), 300)
        else:
            await held.delete(EntityRef("vehicle", name))
        if len(expected) > 2_000:
            del expected[next(iter(expected))]
    assert await entity_ids(held, 97) == list(expected)


@pytest.mark.parametrize("table", [{"max_entries": 0}, {"max_entries": "many"}, {"entries": 1}])
def test_its_settings_are_checked(table: dict[str, object]) -> None:
    with pytest.raises(Exception, match="entries"):
        structure(table, MemorySettings, "[realtime.plugins.memory]")


def test_both_are_always_embedded() -> None:
    assert cache().status().state == "embedded"
    assert MemoryFanout().status().state == "embedded"
