"""Rate limits as token buckets."""

from __future__ import annotations

import pytest

from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.token_bucket import TokenBucket, UserBuckets


def taken(bucket: TokenBucket, count: int, now: float = 0.0) -> list[str]:
    return [bucket.take(now) for _ in range(count)]


def test_a_burst_is_granted_and_no_more() -> None:
    bucket = TokenBucket(rate=10, burst=3, now=0)
    assert taken(bucket, 5) == ["granted"] * 3 + ["refused"] * 2


def test_it_refills_at_its_rate_up_to_the_burst() -> None:
    bucket = TokenBucket(rate=10, burst=3, now=0)
    taken(bucket, 3)
    assert taken(bucket, 2, now=0.1) == ["granted", "refused"]
    assert taken(bucket, 1, now=0.15) == ["refused"]
    assert taken(bucket, 1, now=0.2) == ["granted"]
    assert taken(bucket, 5, now=1_000.0) == ["granted"] * 3 + ["refused"] * 2
    assert bucket.refused == 2


def test_a_client_that_does_not_slow_down_exhausts_its_bucket_once() -> None:
    bucket = TokenBucket(rate=1, burst=3, now=0)
    assert taken(bucket, 10) == [
        *["granted"] * 3,
        *["refused"] * 2,
        "exhausted",
        *["refused"] * 4,
    ]


@pytest.mark.parametrize(("times", "cut"), [(1.9, None), (3, 10), (10, 1.25), (38, 0.28)])
def test_a_client_that_keeps_sending_too_fast_is_cut_although_some_is_granted(
    times: float, cut: float | None
) -> None:
    bucket = TokenBucket(rate=50, burst=500, now=0)
    taken(bucket, 500)
    answers = [bucket.take(number / (50 * times)) for number in range(int(50 * times * 60))]
    assert answers.count("granted") >= 50 * 59
    if cut is None:
        assert "exhausted" not in answers
    else:
        assert answers.index("exhausted") / (50 * times) == pytest.approx(cut, rel=0.05)


def test_what_was_refused_is_forgotten_at_the_rate_of_the_bucket() -> None:
    bucket = TokenBucket(rate=1, burst=3, now=0)
    assert taken(bucket, 5) == ["granted"] * 3 + ["refused"] * 2
    assert taken(bucket, 3, now=1.0) == ["granted", "refused", "exhausted"]
    assert taken(bucket, 6, now=10.0) == ["granted"] * 3 + ["refused"] * 2 + ["exhausted"]


def test_a_sustained_rate_is_always_granted() -> None:
    bucket = TokenBucket(rate=50, burst=5, now=0)
    assert {bucket.take(number / 50) for number in range(10_000)} == {"granted"}


@pytest.mark.parametrize("count", [1, 10_000])
def test_a_rate_of_zero_means_no_limit(count: int) -> None:
    assert set(taken(TokenBucket(rate=0, burst=1, now=0), count)) == {"granted"}


def test_a_user_has_one_bucket_and_the_least_recent_user_is_dropped(
    incidents: Incidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atriz_realtime.core.runtime.token_bucket.MAX_USERS", 2)
    users = UserBuckets(1, 3, incidents.report)
    first = users.of("u1", 0)
    assert first is not None
    users.of("u2", 0)
    assert users.of("u1", 1) is first
    users.of("u3", 1)
    assert users.of("u1", 2) is first
    second = users.of("u2", 2)
    assert second is not None
    assert second.now == 2


def test_a_bucket_that_is_dropped_before_it_is_full_again_is_an_incident(
    incidents: Incidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atriz_realtime.core.runtime.token_bucket.MAX_USERS", 1)
    users = UserBuckets(1, 3, incidents.report)
    spent = users.of("u1", 0)
    assert spent is not None
    assert [spent.take(0) for _ in range(3)] == ["granted"] * 3
    users.of("u2", 2.9)
    assert incidents.counts == {"limit core.runtime.token_bucket.MAX_USERS reached": 1}
    users.of("u3", 3)
    assert sum(incidents.counts.values()) == 1
    full_again = users.of("u4", 4)
    assert full_again is not None
    full_again.take(4)
    users.of("u5", 5)
    assert sum(incidents.counts.values()) == 1


def test_users_have_no_bucket_without_a_limit(incidents: Incidents) -> None:
    assert UserBuckets(0, 3, incidents.report).of("u1", 0) is None
