"""Websocket handshakes on the fast HTTP path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette

from tests.support.servers.http_server import (
    OPEN,
    Connection,
    HttpServer,
    echo,
    fix,
    get,
    http_server,
    request,
)
from tests.support.servers.serving import TIMEOUT, until, watching

pytestmark = pytest.mark.asyncio(loop_scope="module")

HANDSHAKE = b"\r\n".join(
    [
        b"GET %b HTTP/1.1",
        b"Host: here",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"",
        b"",
    ]
)
SOCKET = HANDSHAKE % b"/socket.io/?EIO=4&transport=websocket"

BEFORE = pytest.mark.parametrize(
    "before",
    [[], [get("/hello")], [echo("x")], [OPEN]],
    ids=["first", "get", "call", "polling"],
)
"""What the connection has carried before."""


def masked(text: bytes) -> bytes:
    """Encode a client's text frame; the mask is zero."""
    assert len(text) < 126
    return bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text


async def next_text(client: Connection) -> bytes:
    """Read the server's next frame, a short text."""
    async with asyncio.timeout(TIMEOUT):
        opcode, length = await client.reader.readexactly(2)
        assert opcode == 0x81
        if length == 126:
            length = int.from_bytes(await client.reader.readexactly(2))
        return await client.reader.readexactly(length)


@pytest.mark.parametrize("cut", [0, 1, 20, 60, 120, len(SOCKET) - 1])
@BEFORE
async def test_a_websocket_of_socket_io(server: HttpServer, cut: int, before: list[bytes]) -> None:
    async with server.connect() as client:
        for sent in before:
            await client.call(sent)
        assert (await client.call(*filter(None, (SOCKET[:cut], SOCKET[cut:])))).status == 101
        assert (await next_text(client)).startswith(b'0{"sid":')
        assert server.connections == 1
    await until(lambda: server.connections == 0)


@BEFORE
async def test_a_websocket_outlives_keep_alive(
    short_timeouts: HttpServer, before: list[bytes]
) -> None:
    async with short_timeouts.connect() as client:
        for sent in before:
            await client.call(sent)
        assert (await client.call(SOCKET)).status == 101
        await next_text(client)
        await asyncio.sleep(0.3)
        await client.send(masked(b"40{}"))
        assert (await next_text(client)).startswith(b"40{")


@pytest.mark.parametrize("cut", [0, 30])
@BEFORE
async def test_a_websocket_of_the_application(
    server: HttpServer, cut: int, before: list[bytes]
) -> None:
    handshake = HANDSHAKE % b"/shout"
    async with server.connect() as client:
        for sent in before:
            await client.call(sent)
        answer = await client.call(*filter(None, (handshake[:cut], handshake[cut:])))
        assert answer.status == 101
        await client.send(masked(b"hey"))
        assert await next_text(client) == b"HEY"
        assert server.connections == 1
    await until(lambda: server.connections == 0)


async def test_a_websocket_of_the_application_is_never_idle(short_timeouts: HttpServer) -> None:
    async with short_timeouts.connect() as client, short_timeouts.connect() as idle:
        assert (await client.call(HANDSHAKE % b"/shout")).status == 101
        assert (await idle.call(get("/hello"))).status == 200
        assert await idle.until_closed() == b""  # after the keep-alive timeout
        await client.send(masked(b"still here"))
        assert await next_text(client) == b"STILL HERE"


@pytest.mark.parametrize(
    "order", ["EIO=4&transport=websocket&sid=%s", "sid=%s&EIO=4&transport=websocket"]
)
async def test_an_upgrade_from_polling(server: HttpServer, order: str) -> None:
    async with server.connect() as polling, server.connect() as socket:
        sid = await polling.open()
        handshake = HANDSHAKE % f"/socket.io/?{order % sid}".encode()
        assert (await socket.call(handshake)).status == 101
        await socket.send(masked(b"2probe"))
        assert await next_text(socket) == b"3probe"
        await socket.send(masked(b"5"), masked(b"40{}"))
        assert (await next_text(socket)).startswith(b"40{")
        assert server.connections == 2
        assert server.over_asgi == []


@pytest.mark.parametrize("path", [b"/shout", b"/socket.io/?EIO=4&transport=websocket"])
@pytest.mark.parametrize("cut", [0, 30])
async def test_the_server_stops_with_websockets_open(
    application: Callable[..., Starlette], endpoints: Any, path: bytes, cut: int
) -> None:
    """They are closed with a closing handshake, and uvicorn does not wait."""
    handshake = HANDSHAKE % path
    async with (
        http_server(application(), timeout_graceful_shutdown=None) as server,
        server.connect() as client,
    ):
        await client.call(*filter(None, (handshake[:cut], handshake[cut:])))
        server.web.should_exit = True
        async with asyncio.timeout(TIMEOUT):
            while not (await client.reader.readexactly(1)).startswith(b"\x88"):
                pass
            closing = await client.reader.readexactly(3)
        assert closing[1:] in (b"\x03\xe8", b"\x03\xe9", b"\x03\xf4")
        await client.send(bytes((0x88, 0x82, 0, 0, 0, 0)) + closing[1:])
        await client.until_closed()


async def test_another_upgrade_is_refused(server: HttpServer, client: Connection) -> None:
    answer = await client.call(SOCKET.replace(b"Upgrade: websocket", b"Upgrade: h2c"))
    assert answer.status == 400


async def test_clients_of_both_transports_see_a_published_fix(server: HttpServer) -> None:
    async with (
        watching(server.live, "v1") as upgraded,
        watching(server.live, "v1", polling=True) as polling,
        server.connect() as client,
    ):
        assert (await client.call(request(fix()))).status == 200
        await until(lambda: upgraded.updates and polling.updates)
