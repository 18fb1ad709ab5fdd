"""The memory backends beyond their contracts: memory is bounded."""

from __future__ import annotations

import random
import sys
import tracemalloc
from collections.abc import Awaitable
from types import FrameType
from typing import Any

import pytest

from atriz_realtime.api import EntityRef
from atriz_realtime.defaults import memory
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
    none_last_known = {"last_known_entries": 0, "last_known_bytes": 0}
    assert held.statistics() == {"entries": 1, "bytes": small, "dropped": 0} | none_last_known
    clock.advance(10)
    await held.count("vehicle")
    assert held.statistics() == {"entries": 0, "bytes": 0, "dropped": 0} | none_last_known


async def test_last_known_locations_have_the_same_limits() -> None:
    held = cache()
    for number in range(5):
        fix = payload(f"v{number}")
        await held.put(fix, 300)
        await held.keep([fix.entity], 3_000)
    assert [await held.last_known(EntityRef("vehicle", f"v{number}")) for number in (0, 1)] == [
        None,
        None,
    ]
    assert await held.last_known(EntityRef("vehicle", "v4")) is not None
    numbers = held.statistics()
    assert (numbers["last_known_entries"], numbers["dropped"]) == (3, 4)
    assert numbers["last_known_bytes"] == numbers["bytes"]


async def test_a_page_of_last_known_locations_looks_at_a_bounded_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "PAGE_SCANS", 10)
    clock = FakeClock()
    held = MemoryCache(clock, MemorySettings())
    fixes = [payload(f"v{number:02}") for number in range(35)]
    for fix in fixes:
        await held.put(fix, 10)
        await held.keep([fix.entity], 1_000)
    clock.advance(11)
    for fix in fixes[:-1]:
        await held.put(fix, 10)
    sizes = list[int]()
    cursor: str | None = None
    while True:
        page = await held.page_last_known("vehicle", cursor, 100)
        sizes.append(len(page.items))
        if (cursor := page.next_cursor) is None:
            break
    assert sizes == [0, 0, 0, 1]


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


async def lines_of(call: Awaitable[Any]) -> tuple[int, Any]:
    """How many lines run in a call, since times vary, and what it returns."""
    lines = 0

    def count(_: FrameType, event: str, __: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        answer = await call
    finally:
        sys.settrace(before)
    return lines, answer


async def test_a_page_costs_the_same_wherever_it_begins() -> None:
    held = cache(10_000)
    for number in range(10_000):
        await held.put(payload(f"v{number}"), 300)
    for read in (1, 9_998):
        cursor = (await held.page("vehicle", None, read)).next_cursor
        lines, page = await lines_of(held.page("vehicle", cursor, 1))
        assert [entity_id for entity_id, _ in page.items] == [f"v{read}"]
        assert lines < 100


async def test_a_fleet_that_expires_at_once_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "EXPIRED_AT_ONCE", 2)
    clock = FakeClock()
    held = MemoryCache(clock, MemorySettings(max_entries=10_000))
    for number in range(9_000):
        await held.put(payload(f"v{number}"), 300)
    clock.advance(200)
    for number in range(1_000):
        await held.put(payload(f"w{number}"), 300)
    clock.advance(100)
    for call, expected in (
        (held.count("vehicle"), 1_000),
        (held.get(EntityRef("vehicle", "v8999")), None),
        (held.put(payload("v8999", seconds=-1), 300), None),
        (held.count("vehicle"), 1_001),
    ):
        lines, answer = await lines_of(call)
        assert answer == expected
        assert lines < 150
    lines, page = await lines_of(held.page("vehicle", None, 1))
    assert [entity_id for entity_id, _ in page.items] == ["w0"]
    assert lines < 150
    assert await entity_ids(held, 300) == [*(f"w{number}" for number in range(1_000)), "v8999"]
    for _ in range(4_500):
        await held.count("vehicle")
    numbers = held.statistics()
    assert (numbers["entries"], numbers["dropped"]) == (1_001, 0)


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
