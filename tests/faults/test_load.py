"""Four servers under load, without a fault and with each fault in turn.

By default the load is short, with one fault.  ``pytest tests/faults/test_load.py --long`` takes a
minute for each fault, with 200 entities and, if the machine can, 500 fixes a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import pytest

from tests.faults.load import Load, Size, loaded
from tests.faults.proxy import Wire, proxying
from tests.faults.scene import Record
from tests.faults.topology import Maker

SHORT = Size(entities=40, rate=100, seconds=3, fault=1)
LONG = Size(entities=200, rate=500, seconds=60, fault=10)


@attrs.frozen
class Place:
    """A Redis, and the fault that is inflicted on it."""

    url: str
    inflict: Callable[[Load, float], Awaitable[None]]


async def _wait(load: Load, seconds: float) -> None:
    await asyncio.sleep(seconds)


@asynccontextmanager
async def nothing(maker: Maker) -> AsyncIterator[Place]:
    async with maker.single() as node:
        yield Place(node.url, _wait)


@asynccontextmanager
async def stopped(maker: Maker) -> AsyncIterator[Place]:
    async with maker.single() as node:

        async def inflict(load: Load, seconds: float) -> None:
            node.suspend()
            await asyncio.sleep(seconds)
            node.resume()

        yield Place(node.url, inflict)


@asynccontextmanager
async def killed_and_started(maker: Maker) -> AsyncIterator[Place]:
    async with maker.single() as node:

        async def inflict(load: Load, seconds: float) -> None:
            node.kill()
            await asyncio.sleep(seconds)
            await node.start()

        yield Place(node.url, inflict)


@asynccontextmanager
async def subscribers_killed(maker: Maker) -> AsyncIterator[Place]:
    async with maker.single() as node:

        async def inflict(load: Load, seconds: float) -> None:
            for _ in range(round(seconds)):
                await node.ask("CLIENT", "KILL", "TYPE", "pubsub")
                await asyncio.sleep(1)

        yield Place(node.url, inflict)


@asynccontextmanager
async def slow(maker: Maker) -> AsyncIterator[Place]:
    async with maker.single() as node, proxying(node.port) as proxy:

        async def inflict(load: Load, seconds: float) -> None:
            proxy.delay = 0.5
            await asyncio.sleep(seconds)
            proxy.delay = 0.0

        yield Place(proxy.url, inflict)


def _broken(do: Callable[[Wire], None]) -> Callable[[Maker], AbstractAsyncContextManager[Place]]:
    @asynccontextmanager
    async def broken(maker: Maker) -> AsyncIterator[Place]:
        async with maker.single() as node, proxying(node.port) as proxy:

            async def inflict(load: Load, seconds: float) -> None:
                for _ in range(round(seconds)):
                    proxy.every(do)
                    await asyncio.sleep(1)

            yield Place(proxy.url, inflict)

    broken.__name__ = do.__name__
    return broken


@asynccontextmanager
async def sentinel_failover(maker: Maker) -> AsyncIterator[Place]:
    async with maker.sentinels() as watched:

        async def inflict(load: Load, seconds: float) -> None:
            watched.primary.kill()
            await watched.replica.wait_for("ROLE", until=lambda role: role[0] == "master")

        yield Place(watched.url, inflict)


@asynccontextmanager
async def cluster_node_lost(maker: Maker) -> AsyncIterator[Place]:
    async with maker.cluster(replicas=True) as cluster:

        async def inflict(load: Load, seconds: float) -> None:
            cluster.primaries[0].kill()
            await cluster.replicas[0].wait_for("ROLE", until=lambda role: role[0] == "master")

        yield Place(cluster.url, inflict)


@asynccontextmanager
async def server_killed(maker: Maker) -> AsyncIterator[Place]:
    async with maker.single() as node:

        async def inflict(load: Load, seconds: float) -> None:
            await load.kill_server(0)

        yield Place(node.url, inflict)


FAULTS = (
    nothing,
    stopped,
    killed_and_started,
    subscribers_killed,
    slow,
    _broken(Wire.drop),
    _broken(Wire.half_close),
    sentinel_failover,
    cluster_node_lost,
    server_killed,
)

BY_DEFAULT = (nothing, killed_and_started)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            fault, id=fault.__name__, marks=[] if fault in BY_DEFAULT else [pytest.mark.long]
        )
        for fault in FAULTS
    ],
)
async def test_four_servers(
    fault: Callable[[Maker], AbstractAsyncContextManager[Place]],
    maker: Maker,
    record: Record,
    request: pytest.FixtureRequest,
) -> None:
    size = LONG if request.config.getoption("--long", default=False) else SHORT
    async with fault(maker) as place, loaded(place.url, size) as load:
        record(await load.run(fault.__name__.replace("_", " "), place.inflict))
        load.judge(everything=fault is nothing and not await load.lost_redis())
