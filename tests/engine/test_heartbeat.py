"""Pings and pongs on each transport, and sessions without them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import pytest
import pytest_asyncio

from tests.engine.host import PATH, Host, hosting
from tests.support.clients.polling import polling
from tests.support.clients.websocket import engine_wire, wire
from tests.support.servers.transports import Transport

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def patient(transport: Transport) -> AsyncIterator[Host]:
    """A server that pings often and waits long."""
    async with hosting(transport, ping_interval=0.1, ping_timeout=10) as host:
        yield host


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict(transport: Transport) -> AsyncIterator[Host]:
    """A server that pings often and waits briefly."""
    async with hosting(transport, ping_interval=0.1, ping_timeout=0.2) as host:
        yield host


async def test_pings_and_pongs_while_polling(patient: Host) -> None:
    async with polling(patient.port) as client:
        started = monotonic()
        for _ in range(3):
            assert (await client.get()).packets == ["2"]
            assert (await client.post("3")).text == "ok"
        assert monotonic() - started > 0.2
        assert not patient.ended[client.sid]


async def test_pings_and_pongs_over_a_websocket(patient: Host) -> None:
    async with engine_wire(patient.port) as socket:
        started = monotonic()
        for _ in range(3):
            assert await socket.message() == "2"
            socket.send("3")
        assert monotonic() - started > 0.2
        socket.send("4hello")
        while (packet := await socket.message()) == "2":
            pass
        assert packet == "4hello"


async def test_the_next_ping_waits_for_the_pong(patient: Host) -> None:
    async with engine_wire(patient.port) as socket:
        assert await socket.message() == "2"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.35):
                await socket.message()
        socket.send("3")
        assert await socket.message() == "2"


async def test_pings_go_on_after_an_upgrade(patient: Host) -> None:
    async with (
        polling(patient.port) as client,
        wire(patient.port, f"{PATH}?EIO=4&transport=websocket&sid={client.sid}") as socket,
    ):
        socket.send("2probe")
        assert await socket.message() == "3probe"
        socket.send("5")
        for _ in range(2):
            assert await socket.message() == "2"
            socket.send("3")


async def test_a_session_that_never_polls_ends(strict: Host) -> None:
    async with polling(strict.port) as client:
        started = monotonic()
        assert await strict.until_ended(client.sid) == "ping timeout"
        assert monotonic() - started > 0.15
        answer = await client.get()
        assert answer.error == (400, {"code": 1, "message": "Session ID unknown"})


async def test_a_session_that_polls_without_a_pong_ends(strict: Host) -> None:
    async with polling(strict.port) as client:
        assert (await client.get()).packets == ["2"]
        last = await client.get()  # waits until the session ends
        assert last.status == 400 or last.packets in (["1"], ["6"])
        assert await strict.until_ended(client.sid) == "ping timeout"
        assert (await client.get()).status == 400


async def test_messages_do_not_count_as_pongs(strict: Host) -> None:
    async with polling(strict.port) as client:
        while (await client.post("4busy")).status == 200:
            await asyncio.sleep(0.05)
        assert await strict.until_ended(client.sid) == "ping timeout"


async def test_a_websocket_without_a_pong_is_closed(strict: Host) -> None:
    async with engine_wire(strict.port) as socket:
        started = monotonic()
        assert await socket.message() == "2"
        await socket.until_closed()
        assert monotonic() - started > 0.15
        assert await strict.until_ended(socket.sid) == "ping timeout"


async def test_a_websocket_that_has_gone_quiet_is_given_up(strict: Host) -> None:
    """The client neither reads nor answers the closing frame."""
    async with engine_wire(strict.port) as socket:
        socket.writer.transport.pause_reading()  # type: ignore[attr-defined]
        assert await strict.until_ended(socket.sid) == "ping timeout"
