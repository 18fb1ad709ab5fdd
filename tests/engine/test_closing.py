"""Closing a session, from either side."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.host import Host
from tests.support.clients.polling import polling
from tests.support.clients.websocket import CLOSE, close, engine_wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNKNOWN_SID = (400, {"code": 1, "message": "Session ID unknown"})


async def test_a_polling_client_closes(host: Host) -> None:
    async with polling(host.port) as client:
        poll = asyncio.create_task(client.get())
        await host.until_polled(client.sid)
        assert (await client.post("1")).text == "ok"
        assert (await poll).packets == ["6"]
        await host.until_ended(client.sid)
        assert (await client.get()).error == UNKNOWN_SID
        assert (await client.post("4hello")).error == UNKNOWN_SID


async def test_a_client_closes_while_it_does_not_poll(host: Host) -> None:
    async with polling(host.port) as client:
        assert (await client.post("4last words\x1e1")).text == "ok"
        await host.until_ended(client.sid)
        assert host.messages[client.sid] == ["last words"]
        late = await client.get()  # this poll may cross the close
        assert (late.status, late.text[:1]) == (200, "6")
        assert (await client.get()).status == 400


async def test_a_websocket_client_closes(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        socket.send("1")
        await socket.until_closed()
        await host.until_ended(socket.sid)


async def test_a_client_closes_the_websocket_itself(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        socket.write(close(1000, "bye"))
        assert await socket.until_closed() == 1000
        await host.until_ended(socket.sid)


async def test_a_connection_is_reset(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        socket.abort()
        await host.until_ended(socket.sid)


async def test_messages_before_a_close_are_handled(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        for number in range(20):
            socket.send(f"4{number}")
        socket.write(close(1000))
        await socket.until_closed()
        await host.until_ended(socket.sid)
        assert host.messages[socket.sid] == [str(number) for number in range(20)]


async def test_the_application_closes_a_polling_session(host: Host) -> None:
    async with polling(host.port) as client:
        poll = asyncio.create_task(client.get())
        await host.until_polled(client.sid)
        await host.engine.disconnect(client.sid)
        assert (await poll).packets == ["1"]
        await host.until_ended(client.sid)
        assert (await client.get()).error == UNKNOWN_SID


async def test_messages_sent_before_the_application_closes_reach_the_next_poll(host: Host) -> None:
    async with polling(host.port) as client:
        await host.engine.send(client.sid, "last words")
        await host.engine.disconnect(client.sid)
        assert (await client.get()).packets == ["4last words", "1"]
        assert (await client.get()).error == UNKNOWN_SID
        await host.until_ended(client.sid)


async def test_the_application_closes_a_websocket(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        await host.engine.send(socket.sid, "last words")
        await host.engine.disconnect(socket.sid)
        assert await socket.message() == "4last words"
        frame = await socket.frame()
        if frame.opcode != CLOSE:
            assert frame.payload == b"1"
        await socket.until_closed()
        await host.until_ended(socket.sid)


async def test_closing_twice_is_harmless(host: Host) -> None:
    async with engine_wire(host.port) as socket:
        await host.engine.disconnect(socket.sid)
        await host.engine.disconnect(socket.sid)
        await host.engine.send(socket.sid, "too late")
        await socket.until_closed()
        await host.until_ended(socket.sid)
