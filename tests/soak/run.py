"""One soak: a server process, churn, and the resources of the process before and after."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs

from atriz_realtime.testing import free_port
from tests.soak.clients import Target, come_and_go, publish
from tests.support.servers.serving import SECRET, TIMEOUT

SETTINGS = {
    "JWT_SECRET": SECRET,
    "ATRIZ_REALTIME_THROTTLE_INTERVAL": "0",
    "ATRIZ_REALTIME_EXTRA_PLUGINS": "tests.support.plugins.process_state",
    "ATRIZ_REALTIME_CONNECT_TIMEOUT": "2",
    "ATRIZ_REALTIME_AUTH_TIMEOUT": "2",
    "WS_PING_INTERVAL": "1500",
    "WS_PING_TIMEOUT": "1500",
}
"""An abandoned polling session ends within three seconds."""

SETTLE = 20.0
"""Seconds that a server has to notice that all clients have left."""


@attrs.frozen
class Held:
    """Resources of the server's process while no client is connected."""

    memory: int
    """Resident bytes."""
    descriptors: int
    tasks: int


@attrs.frozen
class Outcome:
    """The result of a soak."""

    before: Held
    """After the warm-up."""
    after: Held
    done: Mapping[str, int]
    """How often clients did what."""
    incidents: Mapping[str, int]
    """The server's incidents, by kind."""


@asynccontextmanager
async def server(redis_url: str) -> AsyncIterator[Target]:
    """A server in a process of its own."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "atriz_realtime.cli", "serve", "--port", str(port)),
        env={"PATH": "/usr/bin:/bin", "REDIS_URL": redis_url, **SETTINGS},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    target = Target("127.0.0.1", port)
    try:
        async with asyncio.timeout(3 * TIMEOUT):
            while await process_state(target) is None:
                assert process.returncode is None, "the server did not start"
                await asyncio.sleep(0.1)
        yield target
        assert process.returncode is None, "the server ended"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def process_state(target: Target) -> dict[str, Any] | None:
    """The state of the server's process; ``None`` while it does not answer."""
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{target.url}/process-state", headers={"Connection": "close"}) as response,
        ):
            answer: dict[str, Any] = await response.json()
            return answer
    except aiohttp.ClientConnectorError:
        return None


async def settled(target: Target) -> tuple[Held, dict[str, int]]:
    """The server's resources once it has noticed that all clients have left, and its incidents."""
    last: tuple[int, int] | None = None
    async with asyncio.timeout(2 * SETTLE):
        while True:
            await asyncio.sleep(SETTLE / 20)
            found = await process_state(target)
            assert found is not None
            held = Held(found["memory"], found["descriptors"], found["tasks"])
            still = (held.descriptors, held.tasks) == last
            if found["connections"] == 0 and still:
                return held, found["incidents"]
            last = (held.descriptors, held.tasks)


async def churn(target: Target, seconds: float, clients: int, rate: float) -> Counter[str]:
    """Let clients connect and leave, and vehicles move, for a while."""
    stop, done = asyncio.Event(), Counter[str]()
    working = [
        asyncio.create_task(publish(target, stop, done, rate)),
        *(asyncio.create_task(come_and_go(target, stop, done)) for _ in range(clients)),
    ]
    await asyncio.wait(working, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    stop.set()
    await asyncio.gather(*working)
    return done


async def soak(
    redis_url: str, *, warm_up: float, seconds: float, clients: int = 40, rate: float = 200
) -> Outcome:
    """Compare the resources of a server after a warm-up with those after more churn.

    :param warm_up: seconds of churn before the first measurement: what is allocated once does
        not leak.
    :param seconds: seconds of churn between the two measurements.
    """
    async with server(redis_url) as target:
        await churn(target, warm_up, clients, rate)
        before, _ = await settled(target)
        done = await churn(target, seconds, clients, rate)
        after, incidents = await settled(target)
        return Outcome(before, after, done, incidents)
