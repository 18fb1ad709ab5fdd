"""The contracts of backends, for those in memory."""

from __future__ import annotations

import pytest

from atriz_realtime.api import Cache, Fanout, Journal
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.defaults.memory import MemoryCache, MemoryFanout, MemorySettings
from atriz_realtime.defaults.memory.journal import MemoryJournal
from atriz_realtime.testing import FakeClock, FanoutContract, JournalContract, LastKnownContract
from atriz_realtime.testing.journal import LIMIT, RECORDERS


class TestMemoryCache(LastKnownContract):
    @pytest.fixture
    def cache(self, clock: FakeClock) -> Cache:
        return MemoryCache(clock, MemorySettings())


class TestMemoryFanout(FanoutContract):
    @pytest.fixture
    def fanout(self) -> Fanout:
        return MemoryFanout()


def memory_journal(limit: int) -> MemoryJournal:
    clock = FakeClock()
    return MemoryJournal(clock, RECORDERS, limit, 10**9, Incidents(clock).report)


class TestMemoryJournal(JournalContract):
    @pytest.fixture
    def journal(self) -> Journal:
        return memory_journal(100_000)

    @pytest.fixture
    def small_journal(self) -> Journal:
        return memory_journal(LIMIT)
