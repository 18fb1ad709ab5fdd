"""A fix's second copy is told from a position that is sent again."""

from __future__ import annotations

from atriz_realtime.defaults.typescript.copies import MAX_REMEMBERED, REMEMBER_SECONDS, Copies
from atriz_realtime.testing import FakeClock


def test_the_first_copy_either_way_goes_out() -> None:
    copies = Copies(FakeClock())
    assert copies.is_first("r", b"1", "channel")
    assert copies.is_first("r", b"2", "adapter")
    assert not copies.is_first("r", b"1", "adapter")
    assert not copies.is_first("r", b"2", "channel")
    assert len(copies) == 0


def test_the_same_again_on_the_same_way_is_news_and_has_a_copy_of_its_own() -> None:
    copies = Copies(FakeClock())
    assert [copies.is_first("r", b"1", "channel") for _ in range(2)] == [True, True]
    assert [copies.is_first("r", b"1", "adapter") for _ in range(3)] == [False, False, True]


def test_rooms_are_kept_apart() -> None:
    copies = Copies(FakeClock())
    assert copies.is_first("r", b"1", "channel")
    assert copies.is_first("s", b"1", "adapter")


def test_a_copy_that_stays_away_is_forgotten() -> None:
    clock = FakeClock()
    copies = Copies(clock)
    assert copies.is_first("r", b"1", "channel")
    clock.advance(REMEMBER_SECONDS)
    assert not copies.is_first("r", b"1", "adapter")
    assert copies.is_first("r", b"2", "channel")
    clock.advance(REMEMBER_SECONDS + 0.001)
    assert copies.is_first("r", b"2", "adapter")


def test_what_is_remembered_has_a_bound() -> None:
    copies = Copies(FakeClock())
    for number in range(MAX_REMEMBERED + 100):
        copies.is_first("r", b"%d" % number, "channel")
    assert len(copies) == MAX_REMEMBERED
    assert copies.is_first("r", b"99", "adapter")
    assert not copies.is_first("r", b"%d" % MAX_REMEMBERED, "adapter")
