"""The contracts of backends, for those in memory."""

from __future__ import annotations

import pytest

from atriz_realtime.api import Cache, Fanout
from atriz_realtime.defaults.memory import MemoryCache, MemoryFanout, MemorySettings
from atriz_realtime.testing import FakeClock, FanoutContract, LastKnownContract


class TestMemoryCache(LastKnownContract):
    @pytest.fixture
    def cache(self, clock: FakeClock) -> Cache:
        return MemoryCache(clock, MemorySettings())


class TestMemoryFanout(FanoutContract):
    @pytest.fixture
    def fanout(self) -> Fanout:
        return MemoryFanout()
