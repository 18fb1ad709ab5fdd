"""The contract of throttling policies, for both policies."""

from __future__ import annotations

from typing import Any

import pytest

from atriz_realtime.api import Clock, Resources, ThrottlePolicy
from atriz_realtime.testing import IntervalThrottleContract, MakePolicy, ThrottleContract
from atriz_realtime_ratelimit.distance import DistanceOptions
from atriz_realtime_ratelimit.ratelimit import register_throttles
from atriz_realtime_ratelimit.token_bucket import TokenBucketOptions


def maker(name: str, options: Any) -> MakePolicy:
    """How a server without Redis makes a policy."""
    (throttle,) = (record for record in register_throttles() if record.name == name)

    def make(clock: Clock) -> ThrottlePolicy:
        return throttle.create(options, Resources(clock=clock, redis=None, settings={}))

    return make


class TestTokenBucket(ThrottleContract):
    @pytest.fixture
    def make_policy(self) -> MakePolicy:
        return maker("token-bucket", TokenBucketOptions(rate=2.0, burst=5))


class TestTokenBucketOfOne(IntervalThrottleContract):
    """By default it is the documented limit: one a second."""

    @pytest.fixture
    def make_policy(self) -> MakePolicy:
        return maker("token-bucket", TokenBucketOptions())


class TestDistanceOfWhatIsParked(IntervalThrottleContract):
    """An entity that never moves is published once per heartbeat."""

    @pytest.fixture
    def make_policy(self) -> MakePolicy:
        return maker("distance", DistanceOptions(seconds=1.0))
