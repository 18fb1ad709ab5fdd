"""Invalid input, by its row in the table of bad input in docs/security.md."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.security.conftest import Serve
from tests.support.clients.polling import poller, polling
from tests.support.clients.python_socketio import python_connect
from tests.support.clients.websocket import OFFER, TEXT, Wire, engine_wire, frame, wire
from tests.support.servers.serving import Live, token, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/socket.io/"
BAD = '42["error","Bad request"]'
REFUSAL = '{"success":false,"code":"bad_request","message":"Bad request"}'


@asynccontextmanager
async def joined(live: Live) -> AsyncIterator[Wire]:
    """The websocket of an authenticated client."""
    async with engine_wire(live.port, PATH) as socket:
        socket.send("40" + json.dumps({"token": token()}))
        assert str(await socket.message()).startswith('40{"sid":')
        yield socket


async def is_served(socket: Wire) -> None:
    socket.send('420["untrack:vehicle","v1"]')
    assert await socket.message() == '430[{"success":true}]'


async def is_closed(live: Live, *packets: str | bytes) -> None:
    """Check that packets end a session, and that nothing of the session is left."""
    async with joined(live) as socket:
        for packet in packets:
            socket.send(packet)
        await socket.until_closed()
        await until(lambda: socket.sid not in live.server.socket_io.eio.sockets)
        assert live.server.connection_count == 0


@pytest.mark.parametrize("event", ["connect", "disconnect", "connect_error"])
async def test_rows_1_and_2_reserved_events(live: Live, event: str) -> None:
    heard: list[object] = []
    live.server.socket_io.on(event, lambda *data: heard.append(data), namespace="/other")
    await is_closed(live, "42" + json.dumps([event, {"REMOTE_ADDR": "10.0.0.1"}, {"token": "x"}]))
    assert heard == []


@pytest.mark.parametrize("message", ["", "x", "4", "4[[[", "4" + "[" * 10_000, "4abc"])
async def test_row_3_what_is_no_packet(live: Live, message: str) -> None:
    await is_closed(live, message)


@pytest.mark.parametrize("packet", ["42", "42{}", "42[]", "42[{}]"])
async def test_row_4_an_event_without_a_name(live: Live, packet: str) -> None:
    before = live.server.incidents.counts.get("protocol broken", 0)
    await is_closed(live, packet)
    assert live.server.incidents.counts["protocol broken"] == before + 1


@pytest.mark.parametrize(
    "payload",
    [
        '["track:vehicle"',
        "[" * 10_000,
        '["track:vehicle",' + "[" * 5_000 + "]" * 5_000 + "]",
        '["track:vehicle",NaN]',
        '["track:vehicle",1e400]',
        '["track:vehicle","\\ud800"]',
        '["' + "x" * 257 + '"]',
        '["track:vehicle"' + ",1" * 33 + "]",
    ],
    ids=["broken", "deep", "deep and whole", "NaN", "1e400", "surrogate", "name", "arguments"],
)
async def test_rows_5_and_6_a_payload_that_cannot_be_read(live: Live, payload: str) -> None:
    async with joined(live) as socket:
        socket.send(f"42{payload}")
        assert await socket.message() == BAD
        socket.send(f"427{payload}")
        assert await socket.messages(2) == [BAD, f"437[{REFUSAL}]"]
        await is_served(socket)
    await until(lambda: live.server.connection_count == 0)


async def test_rows_5_and_6_over_polling(live: Live) -> None:
    async with polling(live.port, PATH) as client:
        await client.post("40")
        assert (await client.get()).packets[0].startswith("40")
        await client.post('42["track:vehicle"')
        assert (await client.get()).packets == [BAD]
        await client.post("41")


async def test_row_5_repeated_errors_close_the_session(serve: Serve) -> None:
    async with (
        serve(max_errors_per_second=0.001, max_errors_burst=50) as live,
        joined(live) as other,
        joined(live) as socket,
    ):
        for _ in range(500):
            socket.send("42[")
        answers = await socket.messages(11)
        assert answers == [BAD] * 10 + ["41"]
        await socket.until_closed()
        assert live.server.incidents.counts["misbehaving client cut"] == 1
        await is_served(other)


async def test_refused_events_take_from_the_error_budget_too(serve: Serve) -> None:
    async with (
        serve(max_errors_per_second=0.001, max_errors_burst=5) as live,
        joined(live) as socket,
    ):
        for _ in range(6):
            socket.send('42["track:boat","b1"]')
        said = "Unknown entity type 'boat'; known: delivery, vehicle"
        errors = [f'42["error","{said}"]'] * 6
        assert await socket.messages(7) == [*errors, "41"]
        await socket.until_closed()


async def test_without_an_error_budget_errors_close_nothing(serve: Serve) -> None:
    async with serve(max_errors_per_second=0, max_errors_burst=1) as live, joined(live) as socket:
        for _ in range(50):
            socket.send("42[")
        assert await socket.messages(50) == [BAD] * 50
        await is_served(socket)


async def test_row_7_long_numbers(live: Live) -> None:
    number = "9" * 101
    async with joined(live) as socket:
        socket.send(f'421["track:vehicle",{number}]')
        assert json.loads(str((await socket.messages(2))[1])[3:])[0]["code"] == "invalid_entity_id"
    await until(lambda: live.server.connection_count == 0)
    await is_closed(live, f'42{number}["track:vehicle","v1"]')


@pytest.mark.parametrize(
    "packets",
    [
        ['459999999999-["e",{"_placeholder":true,"num":0}]'],
        ['4511-["e",{"_placeholder":true,"num":0}]'],
        ['451-["e",{"_placeholder":true,"num":0}]', '42["track:vehicle","v1"]'],
        ['451-["e",{"_placeholder":true,"num":-1}]', b"x"],
    ],
    ids=["many", "one too many", "never sent", "minus one"],
)
async def test_rows_8_and_9_attachments(live: Live, packets: list[str | bytes]) -> None:
    await is_closed(live, *packets)


async def test_row_8_bytes_are_for_events_that_declare_them(serve: Serve) -> None:
    async with (
        serve(extra_plugins=["tests.support.plugins.event_sizes"]) as live,
        python_connect(live) as client,
    ):
        assert (await client.call("track:vehicle", b"v1"))["code"] == "bad_request"
        assert (await client.call("size:text", b"v1"))["code"] == "bad_request"
        assert await client.call("size:text", "v1") == 2
        assert await client.call("size:bytes", b"v1") == 2
        live.server.socket_io.on("upload", lambda _, data: len(data))
        assert await client.call("upload", b"v1") == 2


async def test_row_10_a_namespace_again_and_again(live: Live) -> None:
    await is_closed(live, *["40"] * 500)


async def test_row_10_a_refused_namespace_again_and_again(live: Live) -> None:
    async with engine_wire(live.port, PATH) as socket:
        for _ in range(500):
            socket.send("40/nowhere")
        refused = '44/nowhere,{"message":"Invalid namespace"}'
        assert (await socket.messages(10))[-1] == refused
        await socket.until_closed()


@pytest.mark.parametrize("length", [129, 60_000])
async def test_row_11_a_long_namespace(live: Live, length: int) -> None:
    await is_closed(live, f"40/{'n' * length},")


async def test_row_12_a_session_that_never_connects(serve: Serve) -> None:
    async with (
        serve(connect_timeout=0.2) as live,
        engine_wire(live.port, PATH) as silent,
        polling(live.port, PATH) as polls,
    ):
        assert await silent.message() == "1"
        await silent.until_closed()
        await until(lambda: not live.server.socket_io.eio.sockets)
        assert (await polls.get()).packets == ["1"]
        assert (await polls.get()).status == 400
        assert live.server.incidents.counts["session never connected"] == 2


async def test_row_12_a_session_that_has_left_its_last_namespace(serve: Serve) -> None:
    async with serve(connect_timeout=0.5) as live, joined(live) as socket:
        await is_served(socket)
        socket.send("41")
        await socket.until_closed()
        assert live.server.incidents.counts["session never connected"] == 1


async def test_row_12_a_session_that_the_server_has_disconnected(serve: Serve) -> None:
    async with serve(connect_timeout=0.5) as live, joined(live) as socket:
        (sid,) = live.server.socket_io.manager.rooms["/"][None]
        await live.server.socket_io.disconnect(sid)
        assert await socket.message() == "41"
        await socket.until_closed()
        assert live.server.incidents.counts["session never connected"] == 1


async def test_packets_that_cross_a_disconnection_by_the_server(serve: Serve) -> None:
    """Their client did not know of it; what it sends after leaving by itself is an error."""
    pieces = '451-["e",{"_placeholder":true,"num":0}]', b"x"
    crossing = '427["track:vehicle","v1"]', *pieces, "430[]", "41"
    async with serve() as live, joined(live) as socket:
        io = live.server.socket_io
        (sid,) = io.manager.rooms["/"][None]
        socket.send(pieces[0])
        await until(lambda: io._binary_packet)
        await io.disconnect(sid)
        for packet in (pieces[1], *crossing):
            socket.send(packet)
        socket.send("40" + json.dumps({"token": token()}))
        left, welcome = await socket.messages(2)
        assert (left, str(welcome)[:9]) == ("41", '40{"sid":')
        await is_served(socket)
        assert "protocol broken" not in live.server.incidents.counts
        for _ in range(2):
            socket.send("41")
        await socket.until_closed()
        assert live.server.incidents.counts["protocol broken"] == 1


async def test_a_flood_after_a_disconnection_by_the_server_ends(serve: Serve) -> None:
    async with (
        serve(max_errors_per_second=0.001, max_errors_burst=50) as live,
        joined(live) as socket,
    ):
        (sid,) = live.server.socket_io.manager.rooms["/"][None]
        await live.server.socket_io.disconnect(sid)
        for _ in range(100):
            socket.send('42["track:vehicle","v1"]')
        await socket.until_closed()
        assert live.server.incidents.counts["misbehaving client cut"] == 1


async def test_row_12_a_socket_that_never_authenticates(serve: Serve) -> None:
    async with serve(auth_timeout=0.2) as live, engine_wire(live.port, PATH) as socket:
        socket.send("40")
        await socket.message()
        assert await socket.message() == "41"
        assert live.server.incidents.counts["never authenticated"] == 1


@pytest.mark.parametrize("auth", ['"token"', "[]", "-7", '{"token":7}', '{"token":"x"}'])
async def test_row_13_no_proper_auth(serve: Serve, auth: str) -> None:
    async with (
        serve(require_handshake_auth=True) as live,
        engine_wire(live.port, PATH) as socket,
    ):
        socket.send(f"40{auth}")
        answer = str(await socket.message())
        assert json.loads(answer.removeprefix("44"))["data"]["code"] == "invalid_token"
        assert live.server.incidents.counts["connection refused"] == 1


async def test_row_17_an_origin_behind_a_tls_proxy(serve: Serve) -> None:
    page = "https://app.example.com"
    async with serve(cors_origin=page, trusted_proxies="127.0.0.1") as live:
        target = f"{PATH}?EIO=4&transport=websocket"
        offer = [*OFFER.items(), ("X-Forwarded-Proto", "https")]
        async with wire(live.port, target, [*offer, ("Origin", page)]) as socket:
            opened = json.loads(str(await socket.message())[1:])
            session = live.server.socket_io.eio.sockets[opened["sid"]]
            assert session.request.scheme == "https"
        async with poller(live.port, PATH) as client:
            for origin in ("null", "https://evil.example.com", "http://app.example.com"):
                answer = await client.handshake("EIO=4&transport=websocket", Origin=origin)
                assert answer.status == 403


async def test_row_18_too_large(live: Live) -> None:
    for sent in (
        [frame(TEXT, "4" + "x" * 65_536)],
        [frame(TEXT, "4", size=17 << 20)],
        [
            frame(TEXT, "4", fin=False),
            *[frame(0, "x" * 30_000, fin=False)] * 2,
            frame(0, "x" * 9_000),
        ],
    ):
        async with joined(live) as socket:
            socket.write(*sent)
            assert await socket.until_closed() == 1009
    await until(lambda: live.server.connection_count == 0)


async def test_a_polling_request_of_too_many_packets(serve: Serve) -> None:
    async with serve(max_packets=3) as live, polling(live.port, PATH) as client:
        assert (await client.post("40\x1e3\x1e3")).text == "ok"
        assert (await client.get()).packets[0].startswith("40")
        assert (await client.post("\x1e".join(["3"] * 4))).status == 400
        assert (await client.get()).status == 400


async def test_the_bounds_of_a_packet_are_settings(serve: Serve) -> None:
    bounds = {
        "max_depth": 2,
        "max_event_name": 20,
        "max_arguments": 1,
        "max_attachments": 0,
        "max_namespace": 4,
    }
    async with serve(**bounds) as live:
        async with joined(live) as socket:
            for bad in ('["a",[[]]]', f'["{"a" * 21}"]', '["a",1,2]'):
                socket.send(f"42{bad}")
                assert await socket.message() == BAD
            await is_served(socket)
            socket.send("40/abcd,")
            assert str(await socket.message()).startswith("44/abcd,")
        await until(lambda: live.server.connection_count == 0)
        await is_closed(live, "40/abcde,")
        await is_closed(live, '451-["a",{"_placeholder":true,"num":0}]')
