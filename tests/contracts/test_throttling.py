"""The contract of throttling policies, for the default ones."""

from __future__ import annotations

from typing import Any

import pytest

from atriz_realtime.api import Clock, Resources, ThrottlePolicy
from atriz_realtime.defaults.throttling import IntervalOptions, register_throttles
from atriz_realtime.testing import IntervalThrottleContract, MakePolicy, ThrottleContract


def make(name: str) -> MakePolicy:
    (throttle,) = (record for record in register_throttles() if record.name == name)
    options: Any = {} if throttle.options is None else IntervalOptions(interval=1_000)

    def make_policy(clock: Clock) -> ThrottlePolicy:
        return throttle.create(options, Resources(clock=clock, redis=None, settings={}))

    return make_policy


class TestInterval(IntervalThrottleContract):
    @pytest.fixture
    def make_policy(self) -> MakePolicy:
        return make("interval")


class TestLatest(IntervalThrottleContract):
    @pytest.fixture
    def make_policy(self) -> MakePolicy:
        return make("latest")


class TestNone(ThrottleContract):
    @pytest.fixture
    def make_policy(self) -> MakePolicy:
        return make("none")
