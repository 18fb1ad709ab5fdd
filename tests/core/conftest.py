"""Parts of the core, put together."""

from __future__ import annotations

import pytest

from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.testing import FakeClock
from tests.core.parts import Hub


@pytest.fixture
async def hub() -> Hub:
    return Hub()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def incidents(clock: FakeClock) -> Incidents:
    return Incidents(clock)
