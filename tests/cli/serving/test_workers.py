"""``serve --workers N`` with real processes, clients and signals."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

import aiohttp
import pytest

from atriz_realtime.cli.serving.handover import owner_of
from atriz_realtime.core.clients.socket_engine import session_prefix
from tests.cli.processes import environment
from tests.cli.serving.workers import COUNT, alive, connect, publish, serving_workers
from tests.support.servers.serving import TIMEOUT, until


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


async def test_a_worker_that_is_killed_is_started_again(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRIZ_REALTIME_PLUGINS__METRICS__NETWORKS", '["127.0.0.1"]')
    async with serving_workers(unused_tcp_port) as workers:
        victim = workers.workers()[1]
        os.kill(victim, signal.SIGKILL)
        await until(lambda: workers.said("worker died"), 30)
        await until(lambda: len(workers.workers()) == COUNT and victim not in workers.workers(), 30)
        deaths: dict[str, str] = {}
        async with asyncio.timeout(TIMEOUT), aiohttp.ClientSession() as session:
            while len(deaths) < COUNT:  # the new one answers when it is ready
                async with session.get(f"{workers.url}/metrics") as answer:
                    found = re.findall(
                        r'^atriz_realtime_worker_deaths_total{worker="(.)"} (.+)$',
                        await answer.text(),
                        re.MULTILINE,
                    )
                deaths = dict(found)
        assert deaths == {"0": "0.0", "1": "1.0", "2": "0.0"}
        await until(lambda: workers.said("worker started again"))


async def test_a_worker_that_hangs_is_replaced(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATRIZ_REALTIME_PLUGINS__METRICS__NETWORKS", '["127.0.0.1"]')
    monkeypatch.setenv("ATRIZ_REALTIME_WORKER_TIMEOUT", "3")
    async with serving_workers(unused_tcp_port) as workers:
        before = workers.workers()
        os.kill(before[1], signal.SIGSTOP)
        await until(lambda: workers.said("worker hung, killing it"), 30)
        await until(lambda: workers.said("worker started again"), 30)
        assert len(workers.workers()) == COUNT
        assert set(before) - set(workers.workers()) == {before[1]}
        counts = r"^atriz_realtime_worker(_deaths_total|_hangs_total|s){worker=(.+)} (.+)$"
        found: list[tuple[str, str, str]] = []
        async with asyncio.timeout(TIMEOUT), aiohttp.ClientSession() as session:
            while len(found) < 3 * COUNT:  # the new one answers when it is ready
                async with session.get(f"{workers.url}/metrics") as answer:
                    found = re.findall(counts, await answer.text(), re.MULTILINE)
        assert found == [
            *(("_deaths_total", '"0"', "0.0"), ("_deaths_total", '"1"', "1.0")),
            *(("_deaths_total", '"2"', "0.0"), ("_hangs_total", '"0"', "0.0")),
            *(("_hangs_total", '"1"', "1.0"), ("_hangs_total", '"2"', "0.0")),
            *(("s", '"0"', "3.0"), ("s", '"1"', "3.0"), ("s", '"2"', "3.0")),
        ]


async def test_workers_do_not_hang_when_the_whole_server_stood_still(
    unused_tcp_port: int, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after ``docker pause``: the parent may run again before the workers do."""
    monkeypatch.setenv("ATRIZ_REALTIME_WORKER_TIMEOUT", "3")
    async with serving_workers(unused_tcp_port, redis_url, count=2) as workers:
        everybody = [*workers.workers(), workers.process.pid]
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(4)  # longer than the timeout
        for pid in reversed(everybody):
            os.kill(pid, signal.SIGCONT)
        victim = workers.workers()[0]
        os.kill(victim, signal.SIGSTOP)
        await until(lambda: workers.said("worker hung, killing it"), 30)
        await until(lambda: workers.said("worker started again"), 30)
        assert sum("worker hung" in line for line in workers.lines) == 1


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.mark.parametrize("own_redis", [True, False], ids=["Redis", "private Valkey"])
async def test_nothing_is_left_when_the_parent_is_killed(
    unused_tcp_port: int,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    own_redis: bool,
) -> None:
    # a folder with a short name, for the paths of sockets
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        await kill_the_parent(Path(folder), unused_tcp_port, redis_url if own_redis else None)


async def kill_the_parent(folder: Path, port: int, redis_url: str | None) -> None:
    async with serving_workers(port, redis_url) as workers, aiohttp.ClientSession() as session:
        client, _ = await connect(workers.url, ["websocket"], session)
        pids = workers.children()
        assert left_in(folder)
        os.kill(workers.workers()[0], signal.SIGKILL)  # it removes nothing itself
        workers.process.kill()
        await until(lambda: not any(map(alive, pids)), 30)
        assert left_in(folder) == []
        await client.disconnect()


async def test_a_cleaner_that_dies_is_started_again(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        async with serving_workers(unused_tcp_port) as workers:
            (cleaner,) = workers.running(b"reaper.py")
            os.kill(cleaner, signal.SIGKILL)
            await until(lambda: workers.said("the process that cleans up died"))
            await until(lambda: workers.running(b"reaper.py"))
            # it stays: a worker takes much longer to start
            (second,) = workers.running(b"reaper.py")
            os.kill(workers.workers()[0], signal.SIGKILL)
            await until(lambda: workers.said("worker started again"), 30)
            assert workers.running(b"reaper.py") == [second]
            assert sum("cleans up died" in line for line in workers.lines) == 1
            pids = workers.children()
            workers.process.kill()
            await until(lambda: not any(map(alive, pids)), 30)
            assert left_in(Path(folder)) == []


async def test_sigterm_ends_everything_the_embedded_valkey_last(unused_tcp_port: int) -> None:
    async with serving_workers(unused_tcp_port) as workers, aiohttp.ClientSession() as session:
        client, _ = await connect(workers.url, ["websocket"], session)
        children = workers.children()
        assert len(children) == COUNT + 2  # and the reaper and the Valkey
        workers.process.terminate()
        async with asyncio.timeout(TIMEOUT):
            assert await workers.process.wait() == 0
        assert not [pid for pid in children if alive(pid)]
        assert not workers.said("redis disconnected")
        await client.disconnect()


@pytest.mark.parametrize("to_all", [True, False], ids=["to all", "to the parent"])
async def test_a_stop_while_it_starts_is_no_failure(
    unused_tcp_port: int, redis_url: str, to_all: bool
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "atriz_realtime.cli", "serve"),
        *("--port", str(unused_tcp_port), "--workers", "2"),
        env=environment(REDIS_URL=redis_url),
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    async with asyncio.timeout(TIMEOUT):
        while len(children.read_text().split()) < 2:  # the reaper, and a worker  # noqa: ASYNC240
            await asyncio.sleep(0)
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGTERM)
        _, errors = await process.communicate()
    assert (process.returncode, b"did not start" in errors) == (0, False)
    assert b"Traceback" not in errors


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
