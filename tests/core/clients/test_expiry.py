"""The expiries of many sockets on one timer."""

from __future__ import annotations

import math

import pytest

from atriz_realtime.core.clients import expiry
from atriz_realtime.core.clients.expiry import BATCH, FOREVER, SLACK, IdentityExpiry
from atriz_realtime.testing import FakeClock, until


class Watched:
    """IdentityExpiry, and what they said."""

    def __init__(self, notice: float = 60) -> None:
        self.clock = FakeClock()
        self.told: list[tuple[str, float]] = []
        self.cut: list[str] = []
        self.lifetimes = IdentityExpiry(
            self.clock,
            notice,
            expiring=lambda sid, expires_at: self.told.append((sid, expires_at)),
            expired=self.cut.append,
        )
        self.now = self.clock.now()

    def look(self) -> None:
        """What the timer does."""
        self.lifetimes._run()


async def test_told_before_and_cut_after() -> None:
    watched = Watched()
    watched.lifetimes.set("a", watched.now + 400)
    watched.look()
    assert watched.told == []
    watched.clock.advance(340)
    watched.look()
    watched.look()
    assert watched.told == [("a", watched.now + 400)]
    watched.clock.advance(59)
    watched.look()
    assert watched.cut == []
    watched.clock.advance(1)
    watched.look()
    assert watched.cut == ["a"]
    assert len(watched.lifetimes) == 0
    assert watched.lifetimes._timer is None


async def test_the_timer_itself_tells_and_cuts() -> None:
    watched = Watched()
    watched.lifetimes.set("later", watched.now + 1_000)
    watched.lifetimes.set("soon", watched.now + 30)
    watched.clock.advance(24)
    await until(lambda: watched.told == [("soon", watched.now + 30)])
    watched.clock.advance(6)
    await until(lambda: watched.cut == ["soon"])
    watched.lifetimes.close()


async def test_the_notice_is_at_most_a_fifth_of_what_is_left() -> None:
    watched = Watched()
    watched.lifetimes.set("a", watched.now + 50)
    watched.clock.advance(39)
    watched.look()
    assert watched.told == []
    watched.clock.advance(1)
    watched.look()
    assert watched.told == [("a", watched.now + 50)]


@pytest.mark.parametrize("life", [10.0, 60.0, 600.0])
async def test_renewing_at_each_notice_with_tokens_that_live_as_long_is_no_storm(
    life: float,
) -> None:
    watched = Watched()
    watched.lifetimes.set("a", watched.now + life)
    for _ in range(1_000):
        watched.clock.advance(life / 100)
        told = len(watched.told)
        watched.look()
        if len(watched.told) > told:
            watched.lifetimes.set("a", watched.clock.now() + life)
    assert 10 <= len(watched.told) <= 12
    assert watched.cut == []


async def test_renewing_at_each_notice_with_the_same_token_is_no_storm() -> None:
    watched = Watched()
    watched.lifetimes.set("a", watched.now + 300)
    for _ in range(30_000):
        watched.clock.advance(0.01)
        told = len(watched.told)
        watched.look()
        if len(watched.told) > told:
            watched.lifetimes.set("a", watched.now + 300)
    assert 1 < len(watched.told) < 10
    watched.clock.advance(0.1)
    watched.look()
    assert watched.cut == ["a"]


@pytest.mark.parametrize("expires_at", [1.0, -math.inf, math.nan])
async def test_one_that_has_expired_is_cut_and_not_told(expires_at: float) -> None:
    watched = Watched()
    watched.lifetimes.set("a", expires_at)
    watched.look()
    assert (watched.told, watched.cut) == ([], ["a"])


async def test_without_notice() -> None:
    watched = Watched(notice=0)
    watched.lifetimes.set("a", watched.now + 10)
    watched.clock.advance(10)
    watched.look()
    assert (watched.told, watched.cut) == ([], ["a"])


async def test_a_renewal_counts_alone() -> None:
    watched = Watched()
    watched.lifetimes.set("a", watched.now + 100)
    watched.lifetimes.set("a", watched.now + 500)
    watched.clock.advance(200)
    watched.look()
    assert (watched.told, watched.cut) == ([], [])
    watched.lifetimes.set("a", None)
    assert "a" not in watched.lifetimes
    assert watched.lifetimes._timer is None


async def test_one_that_never_expires_costs_nothing() -> None:
    watched = Watched()
    watched.lifetimes.set("a", None)
    watched.lifetimes.set("b", FOREVER * 2)
    assert (len(watched.lifetimes), watched.lifetimes._timer) == (0, None)


async def test_what_is_kept_is_bounded_by_the_sockets() -> None:
    watched = Watched()
    watched.lifetimes.set("stays", watched.now + 100)
    for number in range(10_000):
        watched.lifetimes.set("stays", watched.now + 100 + number)
        watched.lifetimes.set("goes", watched.now + 1_000)
        watched.lifetimes.forget("goes")
    assert len(watched.lifetimes._heap) <= 2 * 2 + SLACK
    watched.lifetimes.forget("stays")
    assert watched.lifetimes._heap == []


async def test_many_at_once_leave_others_a_turn() -> None:
    watched = Watched(notice=0)
    for number in range(2 * BATCH + 1):
        watched.lifetimes.set(f"s{number}", watched.now + 1)
    watched.clock.advance(1)
    watched.look()
    assert len(watched.cut) == BATCH
    await until(lambda: len(watched.cut) == 2 * BATCH + 1)


def test_the_clock_is_looked_at_often_enough_to_cut_within_a_second() -> None:
    assert expiry.STEP <= 0.5
