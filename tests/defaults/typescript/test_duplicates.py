"""The filter tells a fix's second copy from a fix that is sent again."""

from __future__ import annotations

from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.defaults.typescript.bridge import (
    MAX_REMEMBERED,
    REMEMBER_SECONDS,
    DuplicateFilter,
)
from atriz_realtime.testing import FakeClock


def made(clock: FakeClock) -> DuplicateFilter:
    return DuplicateFilter(clock, Incidents(clock).report)


def test_the_first_copy_is_new_from_either_source() -> None:
    fixes = made(FakeClock())
    assert fixes.is_new("r", b"1", "channel")
    assert fixes.is_new("r", b"2", "adapter")
    assert not fixes.is_new("r", b"1", "adapter")
    assert not fixes.is_new("r", b"2", "channel")
    assert len(fixes) == 0


def test_the_same_event_from_the_same_source_is_new_and_has_a_copy_of_its_own() -> None:
    fixes = made(FakeClock())
    assert [fixes.is_new("r", b"1", "channel") for _ in range(2)] == [True, True]
    assert [fixes.is_new("r", b"1", "adapter") for _ in range(3)] == [False, False, True]


def test_rooms_are_separate() -> None:
    fixes = made(FakeClock())
    assert fixes.is_new("r", b"1", "channel")
    assert fixes.is_new("s", b"1", "adapter")


def test_a_fix_without_a_second_copy_is_forgotten() -> None:
    clock = FakeClock()
    fixes = made(clock)
    assert fixes.is_new("r", b"1", "channel")
    clock.advance(REMEMBER_SECONDS)
    assert not fixes.is_new("r", b"1", "adapter")
    assert fixes.is_new("r", b"2", "channel")
    clock.advance(REMEMBER_SECONDS + 0.001)
    assert fixes.is_new("r", b"2", "adapter")


def test_the_number_of_remembered_fixes_is_bounded() -> None:
    clock = FakeClock()
    incidents = Incidents(clock)
    fixes = DuplicateFilter(clock, incidents.report)
    for number in range(MAX_REMEMBERED + 100):
        fixes.is_new("r", b"%d" % number, "channel")
    assert len(fixes) == MAX_REMEMBERED
    assert fixes.is_new("r", b"99", "adapter")
    assert not fixes.is_new("r", b"%d" % MAX_REMEMBERED, "adapter")
    assert incidents.counts == {"limit defaults.typescript.bridge.MAX_REMEMBERED reached": 101}
    clock.advance(REMEMBER_SECONDS + 1)
    assert fixes.is_new("r", b"new", "channel")
    assert sum(incidents.counts.values()) == 101
