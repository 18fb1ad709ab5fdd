"""``token-bucket`` in one process, with a fake clock."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atriz_realtime.api import Resources
from atriz_realtime.testing import FakeClock, location
from atriz_realtime_ratelimit.memory import MAX_ENTITIES
from atriz_realtime_ratelimit.token_bucket import TokenBucket, TokenBucketOptions

HERE = location()

RATES = st.one_of(
    st.sampled_from([0.001, 0.1, 0.3, 1.0, 3.0, 7.0, 10.0, 999.0, 1_000.0]),
    st.floats(min_value=0.001, max_value=1_000),
)
BURSTS = st.one_of(st.integers(1, 5), st.integers(1, 10_000))
GAPS = st.lists(st.one_of(st.just(0), st.integers(0, 3_000_000)), min_size=1, max_size=80)
"""Microseconds between two fixes."""


class Device:
    """Sends fixes of one entity, and records the microsecond at which each passed."""

    def __init__(self, rate: float, burst: int) -> None:
        self.clock = FakeClock()
        self.reported: list[str] = []
        resources = Resources(clock=self.clock, redis=None, settings={}, report=self._report)
        self.limit = TokenBucket(TokenBucketOptions(rate=rate, burst=burst), resources)
        self.now = 0
        self.passed: list[int] = []

    def _report(self, kind: str, message: str, *, labels: Mapping[str, str] | None = None) -> None:
        self.reported.append(kind.format(**labels or {}))

    def send(self, after: int = 0, entity_id: str = "v1") -> bool:
        """Send a fix a number of microseconds after the last one."""
        self.clock.advance(after / 1_000_000)
        self.now += after
        passes = self.limit.admit(entity_id, HERE)
        if passes:
            self.passed.append(self.now)
        return passes


def check_every_window(device: Device, rate: float, burst: int) -> None:
    """Check the number of fixes that passed in every window."""
    passed = device.passed
    for first, since in enumerate(passed):
        for last in range(first, len(passed)):
            seconds = Fraction(passed[last] - since, 1_000_000)
            assert last - first + 1 <= burst + Fraction(rate) * seconds


def exact_bucket(rate: Fraction, burst: int, gaps: list[int]) -> list[bool]:
    """The textbook's token bucket, in exact arithmetic."""
    tokens, decisions = Fraction(burst), []
    for gap in gaps:
        tokens = min(Fraction(burst), tokens + rate * gap / 1_000_000)
        decisions.append(tokens >= 1)
        tokens -= tokens >= 1
    return decisions


@given(rate=RATES, burst=BURSTS, gaps=GAPS)
def test_no_window_holds_more_than_the_burst_and_the_rate(
    rate: float, burst: int, gaps: list[int]
) -> None:
    device = Device(rate, burst)
    for gap in gaps:
        device.send(gap)
    check_every_window(device, rate, burst)


@given(rate=RATES, burst=st.integers(1, 5), count=st.integers(1, 60))
def test_not_even_for_a_device_that_sends_a_microsecond_early(
    rate: float, burst: int, count: int
) -> None:
    device = Device(rate, burst)
    for _ in range(burst):
        device.send()
    for _ in range(count):
        device.send(int(1_000_000 // Fraction(rate)))
    check_every_window(device, rate, burst)


@given(
    token=st.sampled_from([1_000, 62_500, 200_000, 1_000_000, 5_000_000]),
    burst=st.integers(1, 8),
    gaps=GAPS,
)
def test_it_decides_as_a_bucket_of_tokens_does(token: int, burst: int, gaps: list[int]) -> None:
    device = Device(1_000_000 / token, burst)
    decisions = [device.send(gap) for gap in gaps]
    assert decisions == exact_bucket(Fraction(1_000_000, token), burst, gaps)


@given(rate=RATES, burst=BURSTS, count=st.integers(1, 60))
def test_an_entity_that_keeps_to_the_rate_is_never_dropped(
    rate: float, burst: int, count: int
) -> None:
    device = Device(rate, burst)
    period = 1_000_000 // Fraction(rate) + 1
    assert all(device.send(period) for _ in range(count))


def test_a_burst_passes_and_then_the_rate() -> None:
    device = Device(rate=2, burst=3)
    assert [device.send() for _ in range(5)] == [True, True, True, False, False]
    assert not device.send(499_999)
    assert device.send(1)
    assert not device.send()


def test_a_pause_refills_the_bucket_and_no_more() -> None:
    device = Device(rate=2, burst=3)
    assert all(device.send() for _ in range(3))
    assert [device.send(3_600_000_000)] + [device.send() for _ in range(3)] == [
        *(True, True, True),
        False,
    ]


def test_each_entity_has_a_bucket_of_its_own() -> None:
    device = Device(rate=1, burst=1)
    assert device.send(entity_id="v1")
    assert device.send(entity_id="v2")
    assert not device.send(entity_id="v1")
    assert not device.send(entity_id="v2")


def test_fixes_that_passed_on_other_servers_take_tokens() -> None:
    device = Device(rate=1, burst=2)
    device.limit.note("v1", HERE)
    assert [device.send(), device.send()] == [True, False]


def test_fixes_that_passed_on_other_servers_take_no_more_than_the_bucket_holds() -> None:
    device = Device(rate=1, burst=2)
    for _ in range(50):  # by a clock that differs from this one
        device.limit.note("v1", HERE)
    assert not device.send(999_999)
    assert device.send(1)


def test_memory_is_bounded_and_the_oldest_entity_is_dropped_first() -> None:
    device = Device(rate=0.001, burst=1)
    for number in range(MAX_ENTITIES + 1):
        assert device.send(entity_id=f"v{number}")
    assert not device.send(entity_id="v1")
    assert device.send(entity_id="v0")
    assert device.reported == ["limit atriz_realtime_ratelimit.memory.MAX_ENTITIES reached"] * 2


def test_what_redis_decides_is_forgotten_without_a_report() -> None:
    device = Device(rate=0.001, burst=1)
    for number in range(MAX_ENTITIES + 1):
        device.limit.note(f"v{number}", HERE)
    assert device.reported == []


@pytest.mark.parametrize(
    "options",
    [
        *({"rate": rate} for rate in (0.0, -1.0, 0.0009, 1_001.0, float("inf"), float("nan"))),
        *({"burst": burst} for burst in (0, -1, 10_001)),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"rate|burst"):
        TokenBucketOptions(**options)
