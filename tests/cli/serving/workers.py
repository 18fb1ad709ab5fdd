"""Runs ``serve --workers N`` with real processes, clients and signals."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import socketio

from tests.support.servers.serving import SECRET, TIMEOUT, token, until

COUNT = 3


@attrs.define
class Workers:
    process: asyncio.subprocess.Process
    url: str
    lines: list[str] = attrs.field(factory=list)

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def children(self) -> list[int]:
        """The child processes of the parent, oldest first."""
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in pids.split()]

    def workers(self) -> list[int]:
        return self.running(b"serving.worker_process")

    def running(self, program: bytes) -> list[int]:
        """The child processes that run a program."""
        return [
            pid for pid in self.children() if program in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]


@asynccontextmanager
async def serving_workers(
    port: int, redis_url: str | None = None, count: int = COUNT
) -> AsyncIterator[Workers]:
    environment = {**os.environ, "JWT_SECRET": SECRET, "ATRIZ_REALTIME_THROTTLE_INTERVAL": "0"}
    environment.pop("REDIS_URL", None)
    if redis_url is not None:
        environment["REDIS_URL"] = redis_url
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "atriz_realtime.cli", "serve"),
        *("--port", str(port), "--workers", str(count)),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    workers = Workers(process, f"http://127.0.0.1:{port}")
    assert process.stdout is not None

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            workers.lines.append(line.decode())

    reading = asyncio.create_task(read())
    try:
        await until(lambda: workers.said("workers ready") or process.returncode is not None, 60)
        assert process.returncode is None, workers.lines
        yield workers
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await reading


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def publish(session: aiohttp.ClientSession, url: str, **fields: Any) -> None:
    body = {"vehicleId": "v1", "latitude": 52.6, "longitude": -8.6, **fields}
    headers = {"Authorization": f"Bearer {token()}"}
    async with session.post(f"{url}/api/tracking/location", json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()


async def connect(
    url: str, transports: list[str] | None, session: aiohttp.ClientSession | None = None
) -> tuple[socketio.AsyncClient, list[Any]]:
    """Connect a client that tracks a vehicle; returns it, and what it will receive.

    :param session: for a client whose server goes away: it does not close a session of its own when
        a poll fails, or when it is told to end while it reconnects.
    """
    received: list[Any] = []
    client = socketio.AsyncClient(http_session=session, reconnection_delay=0.1)
    client.on("location:update", received.append)
    await client.connect(url, auth={"token": token()}, transports=transports)
    answer = await client.call("track:vehicle", "v1", timeout=TIMEOUT)
    assert answer == {"success": True}
    return client, received


async def tracks_again(client: socketio.AsyncClient) -> Any:
    """Track again; it may take the client a moment to notice the lost connection."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await client.call("track:vehicle", "v1", timeout=2)
            except socketio.exceptions.SocketIOError:
                await asyncio.sleep(0.1)
