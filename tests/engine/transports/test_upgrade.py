"""Upgrades from polling to a websocket lose no message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from atriz_realtime.engine.transports import polling as polling_transport
from atriz_realtime.engine.transports import websocket
from tests.engine.host import PATH, Host
from tests.support.clients.polling import Polling, polling
from tests.support.clients.websocket import Wire, close, engine_wire, frame, wire

pytestmark = pytest.mark.asyncio(loop_scope="module")


def upgrading(host: Host, sid: str) -> AbstractAsyncContextManager[Wire]:
    """A websocket for a session that polls."""
    return wire(host.port, f"{PATH}?EIO=4&transport=websocket&sid={sid}")


async def probe(socket: Wire) -> None:
    """Send a probe, and wait for its answer."""
    socket.send("2probe")
    assert await socket.message() == "3probe"


@asynccontextmanager
async def upgraded(host: Host) -> AsyncIterator[tuple[Polling, Wire]]:
    """A session after its upgrade."""
    async with polling(host.port) as client, upgrading(host, client.sid) as socket:
        await probe(socket)
        socket.send("5")
        socket.send("4hello")
        assert await socket.message() == "4hello"
        yield client, socket


async def refused(host: Host, client: Polling) -> None:
    """Check that a further websocket is refused, or closed at once."""
    answer = await client.handshake(f"EIO=4&transport=websocket&sid={client.sid}")
    if answer.status == 101:
        async with upgrading(host, client.sid) as second:
            second.send("2probe")
            await second.until_closed()
    else:
        assert answer.error == (400, {"code": 3, "message": "Bad request"})


async def test_a_poll_that_waits_is_ended(host: Host) -> None:
    async with polling(host.port) as client:
        poll = asyncio.create_task(client.get())
        await host.until_polled(client.sid)
        async with upgrading(host, client.sid) as socket:
            await probe(socket)
            assert (await poll).packets == ["6"]
            socket.send("5")
            socket.send("4hello")
            assert await socket.message() == "4hello"
            assert not host.ended[client.sid]


async def test_a_poll_that_comes_after_the_probe_is_ended_too(host: Host) -> None:
    async with polling(host.port) as client, upgrading(host, client.sid) as socket:
        await probe(socket)
        assert (await client.get()).packets == ["6"]
        socket.send("5")
        socket.send("4hello")
        assert await socket.message() == "4hello"


async def test_messages_go_over_the_websocket_in_both_directions(host: Host) -> None:
    async with upgraded(host) as (client, socket):
        await host.engine.send(client.sid, b"\x01\x02")
        await host.engine.send(client.sid, "text")
        assert await socket.messages(2) == [b"\x01\x02", "4text"]
        socket.send(b"\x03")
        assert await socket.message() == b"\x03"
        assert host.messages[client.sid] == ["hello", b"\x03"]


async def test_messages_sent_during_an_upgrade_come_in_order(host: Host) -> None:
    async with polling(host.port) as client:
        await host.engine.send(client.sid, "0")
        async with upgrading(host, client.sid) as socket:
            await host.engine.send(client.sid, "1")
            await probe(socket)
            await host.engine.send(client.sid, "2")
            socket.send("5")
            await host.engine.send(client.sid, "3")
            assert await socket.messages(4) == ["40", "41", "42", "43"]


async def test_messages_polled_during_an_upgrade_are_not_sent_again(host: Host) -> None:
    async with polling(host.port) as client:
        await host.engine.send(client.sid, "0")
        async with upgrading(host, client.sid) as socket:
            await probe(socket)
            polled = [packet for packet in (await client.get()).packets if packet != "6"]
            await host.engine.send(client.sid, "1")
            socket.send("5")
            await host.engine.send(client.sid, "2")
            rest = await socket.messages(3 - len(polled))
            assert [*polled, *rest] == ["40", "41", "42"]


async def test_posts_are_handled_until_the_upgrade_is_complete(host: Host) -> None:
    async with polling(host.port) as client, upgrading(host, client.sid) as socket:
        await probe(socket)
        assert (await client.post("4during the upgrade")).text == "ok"
        socket.send("5")
        assert await socket.message() == "4during the upgrade"


async def test_requests_of_an_upgraded_session_are_refused(host: Host) -> None:
    async with upgraded(host) as (client, socket):
        assert (await client.get()).error == (400, {"code": 3, "message": "Bad request"})
        assert (await client.post("4no")).error == (400, {"code": 3, "message": "Bad request"})
        socket.send("4yes")
        assert await socket.message() == "4yes"
        assert host.messages[client.sid] == ["hello", "yes"]


async def test_a_second_websocket_of_an_upgraded_session_is_refused(host: Host) -> None:
    async with upgraded(host) as (client, socket):
        await refused(host, client)
        socket.send("4yes")
        assert await socket.message() == "4yes"


async def test_a_second_websocket_during_an_upgrade_is_refused(host: Host) -> None:
    async with polling(host.port) as client, upgrading(host, client.sid) as socket:
        await probe(socket)
        await refused(host, client)
        socket.send("5")
        socket.send("4yes")
        assert await socket.message() == "4yes"


async def test_a_second_websocket_of_a_session_without_polling_is_refused(host: Host) -> None:
    async with engine_wire(host.port) as socket, polling(host.port) as client:
        client.opened = socket.opened
        await refused(host, client)
        socket.send("4yes")
        assert await socket.message() == "4yes"


@pytest.mark.parametrize(
    "first", ["4hello", "5", "2", "2other", "3probe", "abc", "", b"\x01", b"2probe"]
)
async def test_a_first_packet_other_than_a_probe_closes_only_the_websocket(
    host: Host, first: str | bytes
) -> None:
    async with polling(host.port) as client:
        async with upgrading(host, client.sid) as socket:
            socket.send(first)
            await socket.until_closed()
        assert not host.messages[client.sid]
        await client.echoes()


@pytest.mark.parametrize("second", ["4hello", "3", "abc", b"\x01"])
async def test_a_second_packet_other_than_an_upgrade_closes_only_the_websocket(
    host: Host, second: str | bytes
) -> None:
    async with polling(host.port) as client:
        async with upgrading(host, client.sid) as socket:
            await probe(socket)
            socket.send(second)
            await socket.until_closed()
        assert not host.messages[client.sid]
        await client.echoes()


@pytest.mark.parametrize("probed", [False, True])
async def test_an_upgrade_that_is_never_completed_closes_only_the_websocket(
    host: Host, probed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "UPGRADE_TIMEOUT", 0.1)
    async with polling(host.port) as client, upgrading(host, client.sid) as socket:
        if probed:
            await probe(socket)
        await socket.until_closed()
        await client.echoes()
        assert not host.ended[client.sid]


async def test_a_poll_that_waits_at_the_end_of_an_upgrade_is_refused_after_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client may take the refusal for the end, so what is on the websocket comes first."""
    monkeypatch.setattr(polling_transport, "UPGRADE_GRACE", 600)
    async with polling(host.port) as client, upgrading(host, client.sid) as socket:
        await probe(socket)
        poll = asyncio.create_task(client.get())
        await host.until_polled(client.sid)
        socket.send("5")
        for number in range(5):  # the poll has turns enough to be refused
            socket.send(f"4{number}")
            assert await socket.message() == f"4{number}"
        assert not poll.done()
        poll.cancel()


@pytest.mark.parametrize("probed", [False, True])
@pytest.mark.parametrize("cut", [False, True])
async def test_an_aborted_upgrade_leaves_the_session_polling(
    host: Host, probed: bool, cut: bool
) -> None:
    async with polling(host.port) as client:
        async with upgrading(host, client.sid) as socket:
            if probed:
                await probe(socket)
                await host.engine.send(client.sid, "meanwhile")
            if cut:
                socket.abort()
            else:
                socket.write(close(1001))
                await socket.until_closed()
        received: list[str] = []
        while probed and "4meanwhile" not in received:  # a noop may come before
            received += (await client.get()).packets
        assert (await client.post("4hello")).text == "ok"
        while "4hello" not in received:
            received += (await client.get()).packets
        assert [packet for packet in received if packet != "6"] == [
            *["4meanwhile"][:probed],
            "4hello",
        ]
        assert not host.ended[client.sid]
        async with upgrading(host, client.sid) as again:
            await probe(again)
            again.send("5")
            again.send("4at last")
            assert await again.message() == "4at last"


async def test_an_upgraded_session_ends_with_its_websocket(host: Host) -> None:
    async with upgraded(host) as (client, socket):
        socket.write(close(1000))
        await socket.until_closed()
        await host.until_ended(client.sid)
        assert (await client.get()).error == (400, {"code": 1, "message": "Session ID unknown"})


async def test_the_end_of_a_session_closes_its_upgrading_websocket(host: Host) -> None:
    async with polling(host.port) as client, upgrading(host, client.sid) as socket:
        await probe(socket)
        assert (await client.post("1")).text == "ok"
        await host.until_ended(client.sid)
        await socket.until_closed()


async def test_probe_upgrade_and_message_in_one_write(host: Host) -> None:
    async with polling(host.port) as client, upgrading(host, client.sid) as socket:
        socket.write(frame(1, "2probe"), frame(1, "5"), frame(1, "4hello"), frame(2, b"\x01"))
        assert await socket.messages(3) == ["3probe", "4hello", b"\x01"]
