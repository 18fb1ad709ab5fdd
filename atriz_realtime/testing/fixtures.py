"""Pytest fixtures for the tests of plugins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from atriz_realtime.testing.clock import FakeClock
from atriz_realtime.testing.serving import Live, Watcher, serving, watching


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that stands still except for :meth:`~FakeClock.advance`."""
    return FakeClock()


@pytest.fixture
def realtime_settings() -> dict[str, Any]:
    """The settings of ``realtime_server``: none, unless overridden."""
    return {}


@pytest_asyncio.fixture
async def realtime_server(realtime_settings: dict[str, Any]) -> AsyncIterator[Live]:
    """A real server on a free port."""
    async with serving(**realtime_settings) as live:
        yield live


@pytest_asyncio.fixture
async def realtime_client(realtime_server: Live) -> AsyncIterator[Watcher]:
    """A real Socket.IO client of ``realtime_server``, authenticated as ``u1``."""
    async with watching(realtime_server) as watcher:
        yield watcher
