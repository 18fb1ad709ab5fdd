"""A server is killed: no other server and no client depends on what it held."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.cli.processes import environment, own_uvicorn, serve
from tests.faults.nodes import Node
from tests.faults.proxy import proxying
from tests.faults.scene import ENTITIES, INTERVAL, RECOVERY_LIMIT, Measured, Record
from tests.faults.traffic import PUBLISH_LIMIT, Devices, Sightings
from tests.support.servers.serving import until


@pytest.mark.parametrize(
    "servers",
    [(serve, own_uvicorn), (own_uvicorn, serve)],
    ids=["from serve to ASGI", "from ASGI to serve"],
)
async def test_a_server_is_killed(single: Node, record: Record, servers: Any) -> None:
    """Clients connect through a balancer, behind which the next server takes over."""
    env = environment(REDIS_URL=single.url)
    async with AsyncExitStack() as stack:
        lost, left = await asyncio.gather(
            *(stack.enter_async_context(run(env=env)) for run in servers)
        )
        balancer = await stack.enter_async_context(proxying(lost.port, left.port))
        address = f"http://127.0.0.1:{balancer.port}"
        moving, staying = Sightings(ENTITIES), Sightings(ENTITIES)
        await stack.enter_async_context(moving.watching(address))
        await stack.enter_async_context(staying.watching(left.url))
        half = len(ENTITIES) // 2
        devices = Devices(
            dict.fromkeys(ENTITIES[:half], address) | dict.fromkeys(ENTITIES[half:], left.url),
            INTERVAL,
        )
        await stack.enter_async_context(devices.publishing())
        await until(lambda: not moving.behind(dict.fromkeys(ENTITIES, 3)))

        assert await lost.command.ended(signal.SIGKILL) == -signal.SIGKILL
        ended = time.perf_counter()
        await until(lambda: moving.reconnects, RECOVERY_LIMIT)
        coming = devices.coming(ENTITIES)
        await until(lambda: not moving.behind(coming) + staying.behind(coming), RECOVERY_LIMIT)
        recovery = time.perf_counter() - ended
        await asyncio.sleep(1.0)
        devices.pause(*ENTITIES)
        last = devices.last
        await until(lambda: not moving.behind(last) + staying.behind(last), RECOVERY_LIMIT)

        record(Measured("server killed (SIGKILL)", recovery, devices.slowest, devices.count))
        assert devices.longest_wait <= PUBLISH_LIMIT
        assert moving.reconnects == 1
        assert moving.disorder() == staying.disorder() == []
        # a publish under way on the lost server fails; the device's next one goes to the other
        cut_off = {line.partition(" ")[0] for line in devices.refused}
        assert len(devices.refused) == len(cut_off)
        assert cut_off <= set(ENTITIES[:half])
        assert [gap for gap in staying.gaps() if gap.partition(":")[0] not in cut_off] == []
