"""Engines on each lane, shared by the tests of a module: each test has sessions of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.engine.host import Host, hosting
from tests.support.servers.transports import Lane


@pytest.fixture(scope="module", params=["lane", "portable", "hypercorn"])
def lane(request: pytest.FixtureRequest) -> Lane:
    """Each way of serving websockets."""
    lane: Lane = request.param
    return lane


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(lane: Lane) -> AsyncIterator[Host]:
    """An application that answers each message with itself."""
    async with hosting(lane) as host:
        yield host
