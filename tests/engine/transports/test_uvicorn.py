"""Websockets under uvicorn: clients that break the protocol or do not read cost little."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket as sockets
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from atriz_realtime.engine import EngineServer
from atriz_realtime.engine.server import MAX_ACK_TIMEOUT, MIN_ACK_TIMEOUT
from atriz_realtime.engine.transports.connections import UNSENT
from atriz_realtime.engine.transports.uvicorn import HIGH_WATER, MAX_IGNORED
from atriz_realtime.testing.web import on_uvicorn, port_of
from tests.engine.host import PATH, Host, hosting
from tests.support.clients.websocket import OFFER, PING, PONG, TEXT, engine_wire, frame
from tests.support.servers.certificates import certificate
from tests.support.servers.serving import TIMEOUT, until

BROKEN = frame(3)

TCP_NOTSENT_LOWAT = 25
"""From ``linux/tcp.h``."""


async def test_nothing_is_read_after_a_broken_frame() -> None:
    reported: list[str] = []
    async with (
        hosting("uvicorn", report=lambda kind, _: reported.append(kind)) as host,
        engine_wire(host.port) as socket,
    ):
        socket.write(BROKEN, frame(PING, "a"))
        await until(lambda: reported)
        for _ in range(3):
            socket.write(frame(PING, "b"), BROKEN)
            for _ in range(4):  # until the server has read it
                await asyncio.sleep(0)
        assert await socket.until_closed() == 1002
        await host.until_ended(socket.sid)
        assert reported == ["protocol broken"]


HANDSHAKE = "\r\n".join(
    [
        f"GET {PATH}?EIO=4&transport=websocket HTTP/1.1",
        "Host: here",
        *[f"{name}: {value}" for name, value in OFFER.items()],
        "\r\n",
    ]
).encode()


class Gate:
    """A handler that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, *_: Any) -> None:
        self.reached.set()
        await self.opened.wait()


@pytest.mark.parametrize("sent", [frame(TEXT, "4early"), frame(PING), b"garbage\r\n\r\n"])
@pytest.mark.parametrize("waiting_for", ["admission", "the application"])
async def test_a_client_that_does_not_wait_for_the_response_is_cut_without_a_log_line(
    sent: bytes, waiting_for: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody can do it, as often as they like."""
    gate = Gate()
    settings = {"ready": gate} if waiting_for == "admission" else {}
    async with hosting("uvicorn", **settings) as host, asyncio.timeout(TIMEOUT):
        if waiting_for == "the application":
            host.engine.on("connect", gate)
        caplog.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
        writer.write(HANDSHAKE)
        await gate.reached.wait()
        writer.write(sent)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        gate.opened.set()
        await until(lambda: not host.engine.sockets)
        writer.close()
        assert caplog.messages == []


@pytest.mark.parametrize("waiting_for", ["admission", "the application"])
async def test_over_asgi_a_message_before_the_response_waits_for_the_session(
    waiting_for: str, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    settings = {"ready": gate} if waiting_for == "admission" else {}
    async with hosting("asgi", **settings) as host, asyncio.timeout(TIMEOUT):
        if waiting_for == "the application":
            host.engine.on("connect", gate)
        reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
        writer.write(HANDSHAKE)
        await gate.reached.wait()
        writer.write(frame(PING) + frame(TEXT, "4early"))
        for _ in range(5):  # until the server has read it
            await asyncio.sleep(0)
        gate.opened.set()
        await until(lambda: list(host.messages.values()) == [["early"]])
        await reader.readuntil(b"4early")
        writer.close()
        await until(lambda: not host.engine.sockets)
        assert [record.message for record in caplog.records if record.exc_info] == []


async def test_a_client_that_sends_on_during_the_close_is_read_no_more() -> None:
    async with hosting("uvicorn") as host, engine_wire(host.port) as socket:
        transport = host.engine.sockets[socket.sid].transport
        socket.write(BROKEN)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(TIMEOUT):
                while True:  # until it is aborted, after CLOSE_GRACE
                    socket.write(bytes(65_536))
                    await socket.writer.drain()
        taken = transport._ignored  # type: ignore[attr-defined]
        assert MAX_IGNORED < taken < 100 * MAX_IGNORED


async def test_pings_of_a_client_that_does_not_read_cost_no_memory() -> None:
    async with hosting("uvicorn") as host, engine_wire(host.port) as socket:
        transport = host.engine.sockets[socket.sid].transport
        socket.writer.transport.pause_reading()  # type: ignore[attr-defined]
        pings = frame(PING, "x" * 125) * 1_000
        async with asyncio.timeout(TIMEOUT):
            for _ in range(40):
                socket.write(pings)
                await socket.writer.drain()
        socket.send("4all")
        await until(lambda: host.messages[socket.sid])
        assert transport._transport.get_write_buffer_size() < 2 * HIGH_WATER  # type: ignore[attr-defined]
        socket.writer.transport.resume_reading()  # type: ignore[attr-defined]
        while (answer := await socket.frame()).opcode == PONG:
            pass
        assert answer.payload == b"4all"


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # asyncio warns of aborted TLS
async def test_a_broken_frame_over_tls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    host = Host(EngineServer())
    cert, key = certificate(tmp_path)
    config = uvicorn.Config(
        host,
        port=0,
        ws=host.engine.websocket_protocol(PATH),
        log_config=None,
        ssl_certfile=cert,
        ssl_keyfile=key,
    )
    async with on_uvicorn(config) as web:
        context = ssl.create_default_context(cafile=str(cert))
        async with engine_wire(port_of(web), tls=context) as socket:
            socket.send("4hello")
            assert await socket.message() == "4hello"
            socket.write(BROKEN)
            assert await socket.until_closed() == 1002
            await host.until_ended(socket.sid)
    assert [each.message for each in caplog.records if each.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("inherits", [False, True])
async def test_socket_options_are_set_on_each_connection_or_inherited(inherits: bool) -> None:
    host = Host(EngineServer(max_lag=100))
    protocol = host.engine.websocket_protocol(PATH)
    with sockets.create_server(("127.0.0.1", 0)) as listening:
        if inherits:
            protocol.listen_on([listening])
        assert protocol.inherits_options is (inherits and sys.platform == "linux")
        config = uvicorn.Config(host, ws=protocol, log_config=None)
        async with on_uvicorn(config, [listening]) as web, engine_wire(port_of(web)) as client:
            transport = host.engine.sockets[client.sid].transport
            connection = transport._transport.get_extra_info("socket")  # type: ignore[attr-defined]
            assert connection.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT) == 200_000
            assert connection.getsockopt(sockets.IPPROTO_TCP, TCP_NOTSENT_LOWAT) == UNSENT


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        ({}, MIN_ACK_TIMEOUT),
        ({"max_lag": 0}, MIN_ACK_TIMEOUT),
        ({"max_lag": 300}, 600),
        ({"ping_interval": 300, "ping_timeout": 20}, 640),
        ({"max_lag": 1e9}, MAX_ACK_TIMEOUT),
    ],
)
def test_the_kernel_gives_a_client_up_later_than_the_server(
    limits: dict[str, float], seconds: float
) -> None:
    """The server counts whom it gives up; the kernel tells nobody."""
    assert EngineServer(**limits).websocket_protocol().ack_timeout == seconds * 1_000  # type: ignore[arg-type]


async def test_a_client_that_leaves_while_the_server_starts_does_not_hold_up_its_stop() -> None:
    asked, started = asyncio.Event(), asyncio.Event()

    async def start() -> None:
        asked.set()
        await started.wait()

    host = Host(EngineServer(ready=lambda: None if started.is_set() else start()))
    protocol = host.engine.websocket_protocol(PATH)
    async with on_uvicorn(uvicorn.Config(host, port=0, ws=protocol, log_config=None)) as web:
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(web))
        writer.write(HANDSHAKE)
        await asked.wait()
        assert web.server_state.connections
        writer.close()
        await until(lambda: not web.server_state.connections)
        started.set()
        for _ in range(5):  # until the handshake would have gone on
            await asyncio.sleep(0)
        assert not web.server_state.connections
