"""Real servers behind a real nginx, Caddy and HAProxy, each set up as its page says."""

from __future__ import annotations

import asyncio
import functools
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
import socketio
from yarl import URL

from atriz_realtime.testing import free_port
from tests.cli.processes import Served, environment, serve
from tests.operate import proxies
from tests.operate.conftest import installed
from tests.operate.proxies import PROXIES, SetUp, Site, is_ready, running, session_at
from tests.support.servers.serving import TIMEOUT, Live, serving, token, until

# nginx hashes the first three octets, so each of these is another client
CLIENTS = [f"127.0.{number}.1" for number in range(1, 13)]

TRUSTED = ("127.0.0.1",)

HANDSHAKE = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture(params=[*PROXIES])
def set_up(request: pytest.FixtureRequest) -> SetUp:
    return PROXIES[request.param]


@attrs.frozen
class Setting:
    """Two servers behind a proxy; each stops when its stack is closed."""

    servers: list[Live]
    stacks: list[AsyncExitStack]
    site: Site


@asynccontextmanager
async def two_servers(set_up: SetUp, folder: Path, **settings: Any) -> AsyncIterator[Setting]:
    async with AsyncExitStack() as stack:
        stacks = [await stack.enter_async_context(AsyncExitStack()) for _ in range(2)]
        servers = [
            await each.enter_async_context(serving(trusted_proxies=TRUSTED, **settings))
            for each in stacks
        ]
        ports = [live.port for live in servers]
        yield Setting(
            servers, stacks, await stack.enter_async_context(running(set_up, folder, ports))
        )


async def client_at(
    stack: AsyncExitStack,
    site: Site,
    address: str,
    transports: list[str] | None,
    headers: dict[str, str] | None = None,
) -> tuple[socketio.AsyncClient, list[Any]]:
    """Connect a client from its own address."""
    session = await stack.enter_async_context(session_at(site, address))
    received: list[Any] = []
    client = socketio.AsyncClient(http_session=session, reconnection_delay=0.1)
    client.on("location:update", received.append)
    await client.connect(
        site.url, auth={"token": token()}, transports=transports, headers=headers or {}
    )
    stack.push_async_callback(client.disconnect)
    assert await client.call("track:vehicle", "v1", timeout=TIMEOUT) == {"success": True}
    return client, received


async def publish(site: Site, address: str) -> int:
    """Publish a fix from an address; returns the status."""
    async with session_at(site, address) as session:
        return await publish_on(session, site)


async def publish_on(session: aiohttp.ClientSession, site: Site) -> int:
    """Publish a fix on a connection that may be open already; returns the status."""
    body = {"vehicleId": "v1", "latitude": 52.6, "longitude": -8.6}
    headers = {"Authorization": f"Bearer {token()}"}
    url = f"{site.url}/api/tracking/location"
    async with session.post(url, json=body, headers=headers) as answer:
        return answer.status


async def test_two_servers_act_as_one_and_survive_the_loss_of_one(
    set_up: SetUp, tmp_path: Path, redis_url: str
) -> None:
    async with (
        two_servers(set_up, tmp_path, redis_url=redis_url) as setting,
        AsyncExitStack() as stack,
    ):
        servers, site = setting.servers, setting.site
        clients = [
            await client_at(stack, site, address, transports)
            for address, transports in zip(
                CLIENTS, [None, ["polling"], ["websocket"]] * 4, strict=True
            )
        ]
        spread = [live.server.connection_count for live in servers]
        assert sum(spread) == len(CLIENTS)
        assert min(spread) > 0, "all clients are on one server"
        await until(lambda: all(c.transport() == "websocket" for c, _ in clients[0::3]))
        assert await publish(site, CLIENTS[0]) == 200
        await until(lambda: all(len(received) == 1 for _, received in clients))

        before = [client.get_sid() for client, _ in clients]
        gone = spread.index(max(spread))
        await setting.stacks[gone].aclose()
        left = servers[1 - gone]
        await until(lambda: left.server.connection_count == len(CLIENTS), 30)
        for client, received in clients:
            received.clear()
            await until(functools.partial(getattr, client, "connected"))
            answer = await client.call("track:vehicle", "v1", timeout=TIMEOUT)
            assert answer == {"success": True}
        moved = [
            received
            for (client, received), sid in zip(clients, before, strict=True)
            if client.get_sid() != sid
        ]
        assert len(moved) == max(spread)
        await until(lambda: all(moved))


async def test_a_client_is_counted_by_its_own_address(set_up: SetUp, tmp_path: Path) -> None:
    """Whatever it writes into the headers of proxies."""
    async with (
        two_servers(set_up, tmp_path, max_connections_per_address=1) as setting,
        AsyncExitStack() as stack,
    ):
        site = setting.site
        await client_at(stack, site, CLIENTS[0], ["websocket"])
        await client_at(stack, site, CLIENTS[1], ["polling"])
        claimed = {"X-Forwarded-For": "203.0.113.9"}
        for address, transports in ((CLIENTS[0], ["polling"]), (CLIENTS[1], ["websocket"])):
            for headers in ({}, claimed):
                with pytest.raises(socketio.exceptions.ConnectionError):
                    await client_at(stack, site, address, transports, headers)


async def test_pages_of_the_proxys_origin_may_connect(set_up: SetUp, tmp_path: Path) -> None:
    """Because it says under which scheme and host it was reached; what clients say is ignored."""
    foreign = "https://evil.example.com"
    claimed = {"X-Forwarded-Host": "evil.example.com", "X-Forwarded-Proto": "https"}
    async with (
        two_servers(set_up, tmp_path, cors_origin=()) as setting,
        session_at(setting.site, CLIENTS[0]) as session,
    ):
        url = setting.site.url
        for headers, status in (
            ({"Origin": url}, 200),
            ({"Origin": foreign}, 403),
            ({"Origin": foreign, **claimed}, 403),
        ):
            async with session.get(url + HANDSHAKE, headers=headers) as answer:
                assert answer.status == status, headers


async def test_metrics_are_not_passed_on(set_up: SetUp, tmp_path: Path) -> None:
    metrics = {"metrics": {"networks": ["127.0.0.0/8"]}}
    async with (
        two_servers(set_up, tmp_path, plugins=metrics) as setting,
        session_at(setting.site, "127.0.0.1") as session,
    ):
        for url, status in ((setting.servers[0].url, 200), (setting.site.url, 404)):
            for path in ("/metrics", "/%6detrics", "/metric%73"):
                async with session.get(URL(url + path, encoded=True)) as answer:
                    assert answer.status == status, path


@pytest.mark.parametrize("name", ["caddy", "haproxy"])
async def test_no_request_fails_when_a_server_leaves(
    name: str, tmp_path: Path, redis_url: str
) -> None:
    """The proxy asks for ``/readyz``, and the server goes on until the proxy has noticed."""
    env = environment(
        REDIS_URL=redis_url,
        ATRIZ_REALTIME_DRAIN_DELAY="600",
        ATRIZ_REALTIME_TRUSTED_PROXIES=TRUSTED[0],
    )
    statuses: list[int] = []
    ended = asyncio.Event()

    async def keep_publishing(site: Site, address: str) -> None:
        while not ended.is_set():
            statuses.append(await publish(site, address))

    async with (
        serve(env=env) as leaving,
        serve(env=env) as staying,
        running(PROXIES[name], tmp_path, [leaving.port, staying.port]) as site,
        asyncio.TaskGroup() as tasks,
    ):
        for address in CLIENTS[:4]:
            tasks.create_task(keep_publishing(site, address))
        await until(lambda: len(statuses) > 20)
        leaving.command.process.send_signal(signal.SIGTERM)
        await leaving.command.until_said("leaving")
        await until_ready_for_all(site)
        assert leaving.command.process.returncode is None
        assert await leaving.command.ended(signal.SIGTERM) == 0
        before = len(statuses)
        await until(lambda: len(statuses) > before + 20)
        ended.set()
    assert set(statuses) == {200}
    assert isinstance(staying, Served)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_no_publish_through_nginx_fails_when_a_server_stops(
    workers: str, tmp_path: Path, redis_url: str
) -> None:
    """What nginx has sent on connections that it keeps open, or is opening, is answered."""
    env = environment(REDIS_URL=redis_url, ATRIZ_REALTIME_TRUSTED_PROXIES=TRUSTED[0])
    statuses: list[int] = []
    ended = asyncio.Event()

    async def keep_publishing(site: Site, address: str) -> None:
        async with session_at(site, address) as session:
            while not ended.is_set():
                statuses.append(await publish_on(session, site))

    async with (
        serve("--workers", workers, env=env) as stopping,
        serve(env=env) as staying,
        running(PROXIES["nginx"], tmp_path, [stopping.port, staying.port]) as site,
        asyncio.TaskGroup() as tasks,
    ):
        for address in CLIENTS * 2:
            tasks.create_task(keep_publishing(site, address))
        await until(lambda: len(statuses) > 200)
        assert await stopping.command.ended(signal.SIGTERM) == 0
        before = len(statuses)
        await until(lambda: len(statuses) > before + 50)
        ended.set()
    assert set(statuses) == {200}


async def test_servers_that_are_back_are_used_at_once(tmp_path: Path, redis_url: str) -> None:
    """nginx shuts no server out: websockets, which do not end, would keep it shut."""
    env = environment(REDIS_URL=redis_url, ATRIZ_REALTIME_TRUSTED_PROXIES=TRUSTED[0])
    ports = [free_port(), free_port()]
    connected: set[str] = set()

    async def stay_connected(site: Site, address: str) -> None:
        url = f"{site.url}/socket.io/?EIO=4&transport=websocket"
        async with session_at(site, address) as session:
            while True:
                with suppress(aiohttp.ClientError):
                    async with session.ws_connect(url) as websocket:
                        async for message in websocket:
                            if message.data.startswith("0"):
                                await websocket.send_str("40" + json.dumps({"token": token()}))
                            elif message.data.startswith("40"):
                                connected.add(address)
                connected.discard(address)
                await asyncio.sleep(0.1)

    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serve(port=port, env=env)) for port in ports]
        site = await stack.enter_async_context(running(PROXIES["nginx"], tmp_path, ports))
        clients = [asyncio.create_task(stay_connected(site, address)) for address in CLIENTS]
        for index in (0, 1, 0):
            await until(lambda: len(connected) == len(CLIENTS), 30)
            assert await servers[index].command.ended(signal.SIGTERM) == 0
            servers[index] = await stack.enter_async_context(serve(port=ports[index], env=env))
        await until(lambda: len(connected) == len(CLIENTS), 30)
        for client in clients:
            client.cancel()
        await asyncio.wait(clients)
    log = (tmp_path / "error.log").read_text()
    assert "connect() failed" in log
    assert "no live upstreams" not in log


async def until_ready_for_all(site: Site) -> None:
    """Wait until no client is sent to a server that is not ready."""
    async with asyncio.timeout(TIMEOUT):
        while not all([await is_ready(site, address) for address in CLIENTS]):
            await asyncio.sleep(0.1)


def test_nginx_does_not_start_with_debians_site_beside_this_one(tmp_path: Path) -> None:
    etc = proxies.debian_nginx(Site(tmp_path, [1, 2]))
    (etc / "sites-enabled" / "realtime").symlink_to(etc / "sites-available" / "realtime")
    done = subprocess.run(
        [installed("nginx"), "-t", "-c", etc / "nginx.conf"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "a duplicate default server" in done.stderr


def test_a_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.operate.conftest.PATH", "")
    with pytest.raises(pytest.fail.Exception, match=r"^no caddy: apt-get install "):
        installed("caddy")
