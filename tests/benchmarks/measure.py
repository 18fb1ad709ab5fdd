"""Servers as processes, and what the operating system says they cost."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import attrs

from atriz_realtime.testing import free_port

SECRET = "a-secret-of-more-than-thirty-two-bytes"

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, from ``/proc/<pid>/stat`` (fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@attrs.frozen
class Server:
    """A running server process."""

    name: str
    url: str
    pid: int


@asynccontextmanager
async def server(name: str, command: Sequence[str], redis_url: str) -> AsyncIterator[Server]:
    """Start a server that listens on ``PORT``, and stop it afterwards."""
    port = free_port()
    environment = {
        **os.environ,
        "PORT": str(port),
        "REDIS_URL": redis_url,
        "JWT_SECRET": SECRET,
        "ATRIZ_REALTIME_THROTTLE_INTERVAL": "0",
    }
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=sys.stderr
    )
    try:
        url = f"http://127.0.0.1:{port}"
        await _answering(url)
        yield Server(name, url, process.pid)
    finally:
        process.terminate()
        await process.wait()


async def _answering(url: str) -> None:
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/socket.io/?EIO=4&transport=polling"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)


def median(values: Sequence[float]) -> float:
    """The median of repeated runs."""
    return statistics.median(values)
