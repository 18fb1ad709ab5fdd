"""One soak: a server in a process of its own, churn, and what it holds before and after."""

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
"""Whoever has broken off a poll is found out within three seconds."""

SETTLE = 20.0
"""Seconds that a server has to notice that everybody has left."""


@attrs.frozen
class Held:
    """What the server's process holds while nobody is connected."""

    memory: int
    """Bytes resident."""
    descriptors: int
    tasks: int


@attrs.frozen
class Outcome:
    """A soak that is over."""

    before: Held
    """After the warm-up."""
    after: Held
    done: Mapping[str, int]
    """What clients did, and how often."""
    incidents: Mapping[str, int]
    """What the server has survived."""


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
            while await insides(target) is None:
                assert process.returncode is None, "the server did not start"
                await asyncio.sleep(0.1)
        yield target
        assert process.returncode is None, "the server did not live"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def insides(target: Target) -> dict[str, Any] | None:
    """What the server holds; ``None`` while it does not answer."""
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{target.url}/insides", headers={"Connection": "close"}) as response,
        ):
            answer: dict[str, Any] = await response.json()
            return answer
    except aiohttp.ClientConnectorError:
        return None


async def settled(target: Target) -> tuple[Held, dict[str, int]]:
    """What the server holds when it has noticed that everybody has left, and its incidents."""
    last: tuple[int, int] | None = None
    async with asyncio.timeout(2 * SETTLE):
        while True:
            await asyncio.sleep(SETTLE / 20)
            found = await insides(target)
            assert found is not None
            held = Held(found["memory"], found["descriptors"], found["tasks"])
            still = (held.descriptors, held.tasks) == last
            if found["connections"] == 0 and still:
                return held, found["incidents"]
            last = (held.descriptors, held.tasks)


async def churn(target: Target, seconds: float, clients: int, rate: float) -> Counter[str]:
    """Let clients come and go, and vehicles move, for a while."""
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
    """Warm a server up, note what it holds, and again after the churn.

    :param warm_up: seconds of churn before the first look: what is allocated once is not a leak.
    :param seconds: of churn between the two looks.
    """
    async with server(redis_url) as target:
        await churn(target, warm_up, clients, rate)
        before, _ = await settled(target)
        done = await churn(target, seconds, clients, rate)
        after, incidents = await settled(target)
        return Outcome(before, after, done, incidents)
