"""Exponential backoff for addresses that fail to authenticate."""

from __future__ import annotations

import pytest

from atriz_realtime.api import RateLimited
from atriz_realtime.core.access import auth_backoff as module
from atriz_realtime.core.access.auth_backoff import MAX_ADDRESSES, AuthBackoff, network
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.testing import FakeClock

LIMIT = "limit core.access.auth_backoff.MAX_ADDRESSES reached"


def test_the_wait_doubles_up_to_its_maximum(clock: FakeClock, incidents: Incidents) -> None:
    backoff = AuthBackoff(clock, incidents.report, limit=2, window=10, max_backoff=8)
    assert [backoff.failed("a") for _ in range(2)] == [False, False]
    waits = []
    for _ in range(5):
        while not backoff.failed("a"):
            pass
        with pytest.raises(RateLimited) as refused:
            backoff.check("a")
        wait = refused.value.retry_after
        assert wait is not None
        waits.append(wait)
        backoff.check("b")
        clock.advance(wait)
        backoff.check("a")
    assert waits == [1, 2, 4, 8, 8]
    clock.advance(100)
    assert [backoff.failed("a") for _ in range(3)] == [False, False, True]
    with pytest.raises(RateLimited) as refused:
        backoff.check("a")
    assert refused.value.retry_after == 1


def test_a_success_cancels_a_failure(clock: FakeClock, incidents: Incidents) -> None:
    backoff = AuthBackoff(clock, incidents.report, limit=5, window=60, max_backoff=60)
    for _ in range(1_000):
        assert not backoff.failed("nat")
        backoff.succeeded("nat")


def test_memory_is_bounded(clock: FakeClock, incidents: Incidents) -> None:
    backoff = AuthBackoff(clock, incidents.report, limit=1, window=60, max_backoff=60)
    for number in range(MAX_ADDRESSES + 500):
        backoff.failed(f"a{number}")
    assert len(backoff._by_network) == MAX_ADDRESSES
    assert incidents.counts == {LIMIT: 500}


@pytest.mark.parametrize(("failures", "counts_for"), [(1, 30), (3, 121)])
def test_an_address_whose_failures_no_longer_count_makes_room(
    clock: FakeClock,
    incidents: Incidents,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
    counts_for: int,
) -> None:
    """One failure expires; those that had the address refused make its next wait longer."""
    monkeypatch.setattr(module, "MAX_ADDRESSES", 1)
    backoff = AuthBackoff(clock, incidents.report, limit=2, window=60, max_backoff=60)
    for expected, elapsed in ((1, counts_for - 1), (0, counts_for + 1)):
        reported = sum(incidents.counts.values())
        for _ in range(failures):
            backoff.failed("a")
        clock.advance(elapsed)
        backoff.failed("b")
        clock.advance(1_000)
        assert sum(incidents.counts.values()) == reported + expected


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9%eth0", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("a:b", "a:b"),
    ],
)
def test_an_ipv6_address_is_counted_by_its_network(address: str, counted: str) -> None:
    assert network(address) == counted
