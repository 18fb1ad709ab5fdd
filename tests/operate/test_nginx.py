"""The documented nginx configuration, in a real nginx in front of three real servers."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import socketio

from tests.support.servers.serving import TIMEOUT, Live, serving, token, until

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "nginx.md"

# ip_hash uses the first three octets, so each of these is another client
CLIENTS = [f"127.0.{number}.1" for number in range(1, 13)]


def documented_configuration() -> str:
    block = re.search(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    return block[1]


@asynccontextmanager
async def balancer(nginx: str, folder: Path, port: int, servers: list[Live]) -> AsyncIterator[str]:
    """Run nginx with the documented configuration, in which only names and ports are replaced."""
    configuration = documented_configuration().replace("listen 80;", f"listen 127.0.0.1:{port};")
    for number, live in enumerate(servers, 1):
        configuration = configuration.replace(f"server{number}:3001", f"127.0.0.1:{live.port}")
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;\n"
        "worker_processes 1; events { worker_connections 512; }\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body;\n"
        f"proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;\n"
        f"uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n{configuration}}}\n"
    )
    process = await asyncio.create_subprocess_exec(
        nginx, "-c", str(main), "-p", str(folder), stderr=asyncio.subprocess.PIPE
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(TIMEOUT), aiohttp.ClientSession() as session:
            while True:
                assert process.returncode is None, await process.communicate()
                try:
                    async with session.get(f"{url}/health/realtime") as answer:
                        assert answer.status == 200
                        break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.05)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def client_at(
    stack: AsyncExitStack, url: str, address: str, transports: list[str] | None
) -> tuple[socketio.AsyncClient, list[Any]]:
    """Connect a client from its own address."""
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(address, 0)))
    )
    received: list[Any] = []
    client = socketio.AsyncClient(http_session=session, reconnection_delay=0.1)
    client.on("location:update", received.append)
    await client.connect(url, auth={"token": token()}, transports=transports)
    stack.push_async_callback(client.disconnect)
    assert await client.call("track:vehicle", "v1", timeout=TIMEOUT) == {"success": True}
    return client, received


async def test_three_servers_behind_nginx_act_as_one_and_survive_the_loss_of_one(
    nginx: str, tmp_path: Path, unused_tcp_port: int, redis_url: str
) -> None:
    async with AsyncExitStack() as stack:
        stacks = [await stack.enter_async_context(AsyncExitStack()) for _ in range(3)]
        servers = [await one.enter_async_context(serving(redis_url=redis_url)) for one in stacks]
        url = await stack.enter_async_context(balancer(nginx, tmp_path, unused_tcp_port, servers))
        clients = [
            await client_at(stack, url, address, transports)
            for address, transports in zip(
                CLIENTS, [None, ["polling"], ["websocket"]] * 4, strict=True
            )
        ]
        spread = [live.server.connection_count for live in servers]
        assert sum(spread) == len(CLIENTS)
        assert sum(count > 0 for count in spread) > 1, "all clients are on one server"
        await until(lambda: all(c.transport() == "websocket" for c, _ in clients[0::3]))
        headers = {"Authorization": f"Bearer {token()}"}
        body = {"vehicleId": "v1", "latitude": 52.6, "longitude": -8.6}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{url}/api/tracking/location", json=body) as answer,
        ):
            assert answer.status == 200
        await until(lambda: all(len(received) == 1 for _, received in clients))

        before = [client.get_sid() for client, _ in clients]
        gone = spread.index(max(spread))
        await stacks[gone].aclose()
        left = [live for live in servers if live is not servers[gone]]
        await until(lambda: sum(live.server.connection_count for live in left) == len(CLIENTS), 30)
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
