"""``serve --workers N`` with real processes, clients and signals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
import socketio

from atriz_realtime.cli.serving.handover import owner_of
from atriz_realtime.core.clients.socket_engine import session_prefix
from tests.cli.processes import environment, started
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
        return [
            pid
            for pid in self.children()
            if b"serving.worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
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


async def connect(url: str, transports: list[str] | None) -> tuple[socketio.AsyncClient, list[Any]]:
    received: list[Any] = []
    client = socketio.AsyncClient(reconnection=True, reconnection_delay=0.1)
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


@pytest.mark.parametrize(
    ("line", "owner"),
    [
        (b"GET /socket.io/?EIO=4&transport=polling&sid=2~abc HTTP/1.1\r\n", 2),
        (b"POST /socket.io/?EIO=4&sid=0%7Eabc&t=1 HTTP/1.1\r\n", 0),
        (b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n", None),
        (b"GET / HTTP/1.1\r\nReferer: /?sid=2~abc\r\n", None),
        (b"GET /socket.io/?sid=abc HTTP/1.1\r\n", None),
        (b"\x16\x03\x01 garbage", None),
    ],
)
def test_a_request_names_the_owner_of_its_session(line: bytes, owner: int | None) -> None:
    assert owner_of(line) == owner


def test_a_number_that_no_worker_can_have_names_no_owner() -> None:
    assert owner_of(b"GET /socket.io/?sid=%b~a HTTP/1.1\r\n" % (b"9" * 5_000)) is None


def test_a_session_prefix_names_its_worker() -> None:
    request = f"GET /socket.io/?sid={session_prefix(7)}x HTTP/1.1\r\n".encode()
    assert owner_of(request) == 7


async def test_every_transport_works_without_a_load_balancer(unused_tcp_port: int) -> None:
    """Long polling and upgrades reach their session on any worker."""
    async with serving_workers(unused_tcp_port) as workers, aiohttp.ClientSession() as session:
        clients = await asyncio.gather(
            *(
                connect(workers.url, transports)
                for transports in (None, ["polling"], ["websocket"])
                for _ in range(8)
            )
        )
        upgraded = [client for client, _ in clients[:8]]
        await until(lambda: all(client.transport() == "websocket" for client in upgraded))
        await publish(session, workers.url)
        await until(lambda: all(len(received) == 1 for _, received in clients))
        await asyncio.gather(*(client.disconnect() for client, _ in clients))


async def test_a_rolling_restart_refuses_no_publish_and_clients_come_back(
    unused_tcp_port: int, redis_url: str
) -> None:
    async with (
        serving_workers(unused_tcp_port, redis_url) as workers,
        aiohttp.ClientSession() as session,
    ):
        client, _ = await connect(workers.url, ["websocket"])
        before = workers.workers()
        assert len(before) == COUNT
        workers.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(60):
            while not workers.said("workers restarted"):
                # a connection that its worker is closing is lost, as behind any load balancer
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    await publish(session, workers.url)
        assert not set(before) & set(workers.workers())
        assert await tracks_again(client) == {"success": True}
        await client.disconnect()


async def test_a_restart_into_a_broken_configuration_stops_at_the_first_worker(
    tmp_path: Path, redis_url: str
) -> None:
    settings = tmp_path / "atriz.toml"
    settings.write_text("[realtime]\nmax_batch = 10")
    env = environment(REDIS_URL=redis_url)
    async with (
        started("serve", "--port=0", "--workers=2", env=env, cwd=tmp_path) as command,
        aiohttp.ClientSession() as session,
    ):
        url = json.loads(await command.until_said("workers ready"))["url"]
        settings.write_text("[realtime]\nmax_bacth = 10")
        command.process.send_signal(signal.SIGHUP)
        await command.until_said("did you mean 'max_batch'?")
        await command.until_said("restart given up")
        await publish(session, url)
        assert await command.ended(signal.SIGTERM) == 0


async def test_any_worker_reports_the_metrics_of_all(
    unused_tcp_port: int, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = "ATRIZ_REALTIME_PLUGINS__METRICS__NETWORKS"
    monkeypatch.setenv(networks, '["127.0.0.1"]')
    async with serving_workers(unused_tcp_port, redis_url, count=2) as workers:
        clients = await asyncio.gather(*(connect(workers.url, ["websocket"]) for _ in range(4)))
        connections: dict[str, str] = {}
        for _ in range(4):  # any worker may answer
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{workers.url}/metrics") as answer,
            ):
                text = await answer.text()
            found = re.findall(r'^atriz_realtime_connections{worker="(.)"} (.+)$', text, re.M)
            assert connections in ({}, dict(found))
            connections = dict(found)
        assert connections.keys() == {"0", "1"}
        assert sum(map(float, connections.values())) == 4
        await asyncio.gather(*(client.disconnect() for client, _ in clients))


async def test_a_worker_that_is_killed_is_started_again(unused_tcp_port: int) -> None:
    async with serving_workers(unused_tcp_port) as workers:
        victim = workers.workers()[1]
        os.kill(victim, signal.SIGKILL)
        await until(lambda: workers.said("worker died"), 30)
        await until(lambda: len(workers.workers()) == COUNT and victim not in workers.workers(), 30)


async def test_workers_end_when_their_parent_is_killed(
    unused_tcp_port: int, redis_url: str
) -> None:
    async with serving_workers(unused_tcp_port, redis_url) as workers:
        pids = workers.workers()
        workers.process.kill()
        await until(lambda: not any(map(alive, pids)), 30)


async def test_sigterm_ends_everything_the_embedded_valkey_last(unused_tcp_port: int) -> None:
    async with serving_workers(unused_tcp_port) as workers:
        client, _ = await connect(workers.url, ["websocket"])
        children = workers.children()
        assert len(children) == COUNT + 1  # and the Valkey
        workers.process.terminate()
        async with asyncio.timeout(TIMEOUT):
            assert await workers.process.wait() == 0
        assert not [pid for pid in children if alive(pid)]
        assert not workers.said("redis disconnected")
        await client.disconnect()


async def test_a_worker_that_cannot_start_is_one_line(
    unused_tcp_port: int,
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "atriz_realtime.cli", "serve"),
        *("--port", str(unused_tcp_port), "--workers", "2"),
        env={**os.environ, "ATRIZ_REALTIME_CACHE": "nonsense"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 1
    assert b"no cache 'nonsense'" in output
    assert b"Traceback" not in output
