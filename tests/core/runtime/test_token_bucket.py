"""How many events a socket may send."""

from __future__ import annotations

import pytest

from atriz_realtime.core.runtime.token_bucket import TokenBucket, UserBuckets


def taken(allowance: TokenBucket, count: int, now: float = 0.0) -> list[str]:
    return [allowance.take(now) for _ in range(count)]


def test_a_burst_is_granted_and_no_more() -> None:
    allowance = TokenBucket(rate=10, burst=3, now=0)
    assert taken(allowance, 5) == ["granted"] * 3 + ["refused"] * 2


def test_it_refills_at_its_rate_up_to_the_burst() -> None:
    allowance = TokenBucket(rate=10, burst=3, now=0)
    taken(allowance, 3)
    assert taken(allowance, 2, now=0.1) == ["granted", "refused"]
    assert taken(allowance, 1, now=0.15) == ["refused"]
    assert taken(allowance, 1, now=0.2) == ["granted"]
    assert taken(allowance, 5, now=1_000.0) == ["granted"] * 3 + ["refused"] * 2
    assert allowance.refused == 2


def test_who_goes_on_is_exhausted_once() -> None:
    allowance = TokenBucket(rate=1, burst=3, now=0)
    assert taken(allowance, 10) == [
        *["granted"] * 3,
        *["refused"] * 2,
        "exhausted",
        *["refused"] * 4,
    ]


def test_a_granted_event_forgives() -> None:
    allowance = TokenBucket(rate=1, burst=3, now=0)
    taken(allowance, 5)
    assert taken(allowance, 3, now=1.0) == ["granted", "refused", "refused"]


def test_what_is_sustained_is_granted_forever() -> None:
    allowance = TokenBucket(rate=50, burst=5, now=0)
    assert {allowance.take(number / 50) for number in range(10_000)} == {"granted"}


@pytest.mark.parametrize("count", [1, 10_000])
def test_a_rate_of_zero_has_no_limit(count: int) -> None:
    assert set(taken(TokenBucket(rate=0, burst=1, now=0), count)) == {"granted"}


def test_a_user_has_one_allowance_and_the_longest_away_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("atriz_realtime.core.runtime.token_bucket.MAX_USERS", 2)
    users = UserBuckets(rate=1, burst=3)
    first = users.of("u1", 0)
    assert first is not None
    users.of("u2", 0)
    assert users.of("u1", 1) is first
    users.of("u3", 1)
    assert users.of("u1", 2) is first
    second = users.of("u2", 2)
    assert second is not None
    assert second.now == 2


def test_users_have_none_where_there_is_no_limit() -> None:
    assert UserBuckets(rate=0, burst=3).of("u1", 0) is None
