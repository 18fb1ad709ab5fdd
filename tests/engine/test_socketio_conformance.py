"""Socket.IO protocol v5, packet by packet, with an application's handlers in two namespaces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import pytest_asyncio
import socketio.exceptions

from atriz_realtime import create_app
from tests.support.clients.polling import Polling, polling
from tests.support.clients.websocket import Wire, engine_wire, wire
from tests.support.servers.serving import config, until
from tests.support.servers.transports import Transport, serving_engine

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/socket.io/"


@attrs.define(eq=False)
class App:
    """Handlers in ``/`` and ``/custom``, and a record of their calls."""

    io: Any
    port: int = 0
    connected: list[tuple[str, str]] = attrs.field(factory=list)
    """Namespace and sid."""
    auth: dict[str, Any] = attrs.field(factory=dict)
    """The payload of each sid's connect."""
    ended: list[tuple[str, str]] = attrs.field(factory=list)
    received: list[tuple[str, tuple[Any, ...]]] = attrs.field(factory=list)
    """Namespace and arguments of each ``message``."""

    def handle(self, namespace: str) -> None:
        """Register the handlers in a namespace."""
        io = self.io

        async def connect(sid: str, environ: Any, auth: Any) -> None:
            if auth == {"token": "refuse"}:
                raise socketio.exceptions.ConnectionRefusedError("Not authorized")
            self.connected.append((namespace, sid))
            self.auth[sid] = auth
            if auth == {"token": "greet"}:
                await io.emit("welcome", to=sid, namespace=namespace)

        def disconnect(sid: str, reason: str) -> None:
            self.ended.append((namespace, sid))

        async def message(sid: str, *arguments: Any) -> None:
            self.received.append((namespace, arguments))
            await io.emit("message-back", arguments, to=sid, namespace=namespace)

        def message_with_ack(sid: str, *arguments: Any) -> tuple[Any, ...]:
            return arguments

        io.on("connect", connect, namespace=namespace)
        io.on("disconnect", disconnect, namespace=namespace)
        io.on("message", message, namespace=namespace)
        io.on("message-with-ack", message_with_ack, namespace=namespace)

    async def until_ended(self, namespace: str, sid: str) -> None:
        """Wait until the disconnect handler was called for a socket; exactly once."""
        await until(lambda: (namespace, sid) in self.ended)
        assert self.ended.count((namespace, sid)) == 1


@asynccontextmanager
async def serving_app(transport: Transport, **settings: Any) -> AsyncIterator[App]:
    """Serve the application."""
    application = create_app(config(max_events_per_second=0, **settings))
    io = application.state.realtime.socket_io
    app = App(io)
    app.handle("/")
    app.handle("/custom")
    async with serving_engine(transport, application, io.eio, PATH) as app.port:
        yield app


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(transport: Transport) -> AsyncIterator[App]:
    """Such an application, for all tests of the module."""
    async with serving_app(transport) as app:
        yield app


async def joined(socket: Wire, namespace: str = "/", auth: str = "") -> str:
    """Connect to a namespace; returns the sid there."""
    prefix = "" if namespace == "/" else f"{namespace},"
    socket.send(f"40{prefix}{auth}")
    answer = str(await socket.message())
    assert answer.startswith(f"40{prefix}"), answer
    payload = json.loads(answer.removeprefix(f"40{prefix}"))
    assert payload == {"sid": payload["sid"]}
    return str(payload["sid"])


@asynccontextmanager
async def connected(app: App) -> AsyncIterator[Wire]:
    """A socket in the main namespace."""
    async with engine_wire(app.port, PATH) as socket:
        await joined(socket)
        yield socket


async def works(socket: Wire, prefix: str = "") -> None:
    """Check that a namespace answers."""
    socket.send(f'42{prefix}["message","still there"]')
    assert await socket.message() == f'42{prefix}["message-back","still there"]'


# -- connect ---------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", ["/", "/custom"])
@pytest.mark.parametrize("auth", ["", '{"token":"123"}'])
async def test_connect(app: App, namespace: str, auth: str) -> None:
    async with engine_wire(app.port, PATH) as socket:
        sid = await joined(socket, namespace, auth)
        assert (namespace, sid) in app.connected
        assert app.auth[sid] == (json.loads(auth) if auth else None)
        assert sid != socket.sid


@pytest.mark.parametrize("prefix", ["", "/custom,"])
async def test_emits_of_a_connect_handler_come_after_the_connect_packet(
    app: App, prefix: str
) -> None:
    async with engine_wire(app.port, PATH) as socket:
        socket.send(f'40{prefix}{{"token":"greet"}}')
        assert str(await socket.message()).startswith(f'40{prefix}{{"sid":')
        assert await socket.message() == f'42{prefix}["welcome"]'


async def test_connect_to_both_namespaces_over_one_connection(app: App) -> None:
    async with connected(app) as socket:
        await joined(socket, "/custom", '{"token":"abc"}')
        await works(socket)
        await works(socket, "/custom,")


async def test_a_namespace_with_a_query(app: App) -> None:
    async with engine_wire(app.port, PATH) as socket:
        socket.send("40/custom?token=abc,")
        assert str(await socket.message()).startswith('40/custom,{"sid":"')


async def test_an_unknown_namespace(app: App) -> None:
    async with engine_wire(app.port, PATH) as socket:
        for packet in ("40/random", "40/random,", '40/random,{"token":"123"}'):
            socket.send(packet)
            assert await socket.message() == '44/random,{"message":"Invalid namespace"}'
        await joined(socket)
        await works(socket)


async def test_a_namespace_refuses(app: App) -> None:
    async with engine_wire(app.port, PATH) as socket:
        for prefix in ("", "/custom,"):
            socket.send(f'40{prefix}{{"token":"refuse"}}')
            answer = str(await socket.message())
            assert answer.startswith(f"44{prefix}")
            assert json.loads(answer.removeprefix(f"44{prefix}"))["message"] == "Not authorized"
        await joined(socket)
        await works(socket)


@pytest.mark.parametrize(
    "packet",
    [
        '42["message","too early"]',
        '42/custom,["message","too early"]',
        '421["message-with-ack","too early"]',
        "430[]",
        "41",
        '451-["message",{"_placeholder":true,"num":0}]',
        "4abc",
        "4[[[",
        "4",
        "47",
    ],
)
async def test_any_packet_before_a_connect_closes_the_session(app: App, packet: str) -> None:
    async with engine_wire(app.port, PATH) as socket:
        socket.send(packet)
        await socket.until_closed()
        await until(lambda: socket.sid not in app.io.eio.sockets)
    assert not [arguments for _, arguments in app.received if arguments[:1] == ("too early",)]


async def test_a_session_that_never_connects_is_closed(transport: Transport) -> None:
    async with (
        serving_app(transport, connect_timeout=0.5) as app,
        engine_wire(app.port, PATH) as present,
    ):
        await joined(present)
        async with (
            engine_wire(app.port, PATH) as silent,
            engine_wire(app.port, PATH) as misled,
            polling(app.port, PATH) as client,
        ):
            misled.send("40/random")
            assert await misled.message() == '44/random,{"message":"Invalid namespace"}'
            poll = await client.get()
            assert poll.status == 400 or poll.packets == ["1"]
            await silent.until_closed()
            await misled.until_closed()
            assert (await client.get()).status == 400
            await works(present)
            assert list(app.io.eio.sockets) == [present.sid]


# -- events ----------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/custom,"])
async def test_an_event(app: App, prefix: str) -> None:
    async with connected(app) as socket:
        await joined(socket, "/custom")
        socket.send(f'42{prefix}["message",1,"2",{{"3":[true,null]}}]')
        assert await socket.message() == f'42{prefix}["message-back",1,"2",{{"3":[true,null]}}]'


@pytest.mark.parametrize("prefix", ["", "/custom,"])
async def test_an_event_with_attachments(app: App, prefix: str) -> None:
    rest = '{"_placeholder":true,"num":0},{"in":[{"_placeholder":true,"num":1}]}]'
    async with connected(app) as socket:
        await joined(socket, "/custom")
        socket.send(f'452-{prefix}["message",{rest}')
        socket.send(b"\x01\x02\x03")
        socket.send(b"")
        assert await socket.messages(3) == [
            f'452-{prefix}["message-back",{rest}',
            b"\x01\x02\x03",
            b"",
        ]
        where = prefix.strip(",") or "/"
        assert app.received[-1] == (where, (b"\x01\x02\x03", {"in": [b""]}))


async def test_attachments_in_another_order(app: App) -> None:
    async with connected(app) as socket:
        socket.send('452-["message",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]')
        socket.send(b"\x01")
        socket.send(b"\x02")
        await socket.messages(3)
        assert app.received[-1] == ("/", (b"\x02", b"\x01"))


@pytest.mark.parametrize("prefix", ["", "/custom,"])
async def test_an_acknowledgement(app: App, prefix: str) -> None:
    async with connected(app) as socket:
        await joined(socket, "/custom")
        socket.send(f'42{prefix}456["message-with-ack",1,"2",{{"3":[false]}}]')
        assert await socket.message() == f'43{prefix}456[1,"2",{{"3":[false]}}]'
        socket.send(f'42{prefix}0["message-with-ack"]')
        assert await socket.message() == f"43{prefix}0[]"


@pytest.mark.parametrize("prefix", ["", "/custom,"])
async def test_an_acknowledgement_with_attachments(app: App, prefix: str) -> None:
    rest = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    async with connected(app) as socket:
        await joined(socket, "/custom")
        socket.send(f'452-{prefix}789["message-with-ack",{rest}')
        socket.send(b"\x01\x02\x03")
        socket.send(b"\x04\x05\x06")
        assert await socket.messages(3) == [
            f"462-{prefix}789[{rest}",
            b"\x01\x02\x03",
            b"\x04\x05\x06",
        ]


@pytest.mark.parametrize("namespace", ["/", "/custom"])
async def test_the_server_asks_for_an_acknowledgement(app: App, namespace: str) -> None:
    prefix = "" if namespace == "/" else f"{namespace},"
    async with engine_wire(app.port, PATH) as socket:
        sid = await joined(socket, namespace)
        for answer, attachments, result in (
            ('["yes",1]', [], ("yes", 1)),
            ("[]", [], None),
            ('[{"_placeholder":true,"num":0}]', [b"\x01"], b"\x01"),
        ):
            asked = asyncio.create_task(app.io.call("ask", "what?", to=sid, namespace=namespace))
            question = str(await socket.message())
            assert question.startswith(f"42{prefix}")
            number = question.removeprefix(f"42{prefix}").partition("[")[0]
            assert question == f'42{prefix}{number}["ask","what?"]'
            kind = f"46{len(attachments)}-" if attachments else "43"
            socket.send(f"{kind}{prefix}{number}{answer}")
            for attachment in attachments:
                socket.send(attachment)
            assert await asked == result
            socket.send(f"43{prefix}{number}[2]")  # a second acknowledgement is ignored
        await works(socket, prefix)


async def test_an_unexpected_acknowledgement_is_ignored(app: App) -> None:
    async with connected(app) as socket:
        socket.send("4399[1]")
        await works(socket)


# -- disconnect ------------------------------------------------------------------------------


async def test_a_client_leaves_the_main_namespace_and_comes_back(app: App) -> None:
    async with engine_wire(app.port, PATH) as socket:
        first = await joined(socket)
        socket.send("41")
        await app.until_ended("/", first)
        second = await joined(socket)
        assert second != first
        await works(socket)


async def test_a_client_leaves_one_namespace_of_two(app: App) -> None:
    async with connected(app) as socket:
        for packet in ("41/custom", "41/custom,"):
            sid = await joined(socket, "/custom")
            socket.send(packet)
            await app.until_ended("/custom", sid)
            await works(socket)


async def test_the_server_disconnects_a_client_from_a_namespace(app: App) -> None:
    async with connected(app) as socket:
        sid = await joined(socket, "/custom")
        await app.io.disconnect(sid, namespace="/custom")
        assert await socket.message() == "41/custom,"
        await app.until_ended("/custom", sid)
        await works(socket)


async def test_all_namespaces_end_with_the_connection(app: App) -> None:
    async with engine_wire(app.port, PATH) as socket:
        main = await joined(socket)
        custom = await joined(socket, "/custom")
        socket.send("1")
        await socket.until_closed()
        await app.until_ended("/", main)
        await app.until_ended("/custom", custom)


async def test_a_packet_in_pieces_ends_with_its_session(transport: Transport) -> None:
    """Also one that begins while the host handles that the socket was disconnected."""
    handling, finish = asyncio.Event(), asyncio.Event()

    async def disconnect(sid: str, reason: str) -> None:
        handling.set()
        await finish.wait()

    async with serving_app(transport) as app:
        app.io.on("disconnect", disconnect)
        async with engine_wire(app.port, PATH) as socket:
            leaving = asyncio.create_task(app.io.disconnect(await joined(socket)))
            await handling.wait()
            socket.send('451-["message",{"_placeholder":true,"num":0}]')
            await until(lambda: app.io._binary_packet)
        finish.set()
        await leaving
        await until(lambda: not app.io.eio.sockets)
        assert app.io._binary_packet == {}


# -- protocol errors -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "packets",
    [
        ["4abc"],
        ["4[[["],
        ["4"],
        ["47"],
        ["49[]"],
        ["42"],
        ["42{}"],
        ["42[]"],
        ['42"message"'],
        ["42null"],
        ["42[[]]"],
        ['42["connect"]'],
        ['42["disconnect"]'],
        ['42abc["message-with-ack",1,"2",{"3":[false]}]'],
        ['42-1["message-with-ack"]'],
        ["43"],
        ["430"],
        ["430{}"],
        ['45["message"]'],
        ['45x-["message"]'],
        ['45-1-["message"]'],
        ['451-["message",{"_placeholder":true,"num":0}]', "4abc"],
        ['451-["message",{"_placeholder":true,"num":0}]', '42["message"]'],
        ['451-["message",{"_placeholder":true,"num":1}]', b"\x01"],
        ['451-["message",{"_placeholder":true,"num":-1}]', b"\x01"],
        ['451-["message",{"_placeholder":true,"num":"0"}]', b"\x01"],
        ["451-{}", b"\x01"],
        ['459999999999-["message",{"_placeholder":true,"num":0}]', b"\x01"],
        [b"\x01\x02\x03"],
    ],
    ids=lambda packets: " ".join(map(str, packets)).replace("[", "(").replace("]", ")"),
)
async def test_an_invalid_packet_closes_the_session(app: App, packets: list[str | bytes]) -> None:
    async with engine_wire(app.port, PATH) as socket:
        sid = await joined(socket)
        before = len(app.received)
        for packet in packets:
            socket.send(packet)
        await socket.until_closed()
        await app.until_ended("/", sid)
        assert len(app.received) == before
        assert socket.sid not in app.io.eio.sockets


async def test_an_invalid_packet_closes_a_polling_session(app: App) -> None:
    async with polling(app.port, PATH) as client:
        sid = await joined_by_polling(client)
        await client.post("4abc")
        await app.until_ended("/", sid)
        await until(lambda: client.sid not in app.io.eio.sockets)


# -- polling and upgrades ----------------------------------------------------------


async def joined_by_polling(client: Polling) -> str:
    """Connect to the main namespace; returns the sid there."""
    assert (await client.post("40")).text == "ok"
    (packet,) = (await client.get()).packets
    assert packet.startswith('40{"sid":"')
    return str(json.loads(packet[2:])["sid"])


async def test_events_and_attachments_by_polling(app: App) -> None:
    rest = '{"_placeholder":true,"num":0}]'
    async with polling(app.port, PATH) as client:
        await joined_by_polling(client)
        assert (await client.post(f'451-7["message-with-ack",{rest}\x1ebAQID')).text == "ok"
        packets: list[str] = []
        while len(packets) < 2:
            packets += (await client.get()).packets
        assert packets == [f"461-7[{rest}", "bAQID"]


async def test_a_socket_keeps_its_namespaces_through_an_upgrade(app: App) -> None:
    async with polling(app.port, PATH) as client:
        sid = await joined_by_polling(client)
        target = f"{PATH}?EIO=4&transport=websocket&sid={client.sid}"
        async with wire(app.port, target) as socket:
            socket.send("2probe")
            assert await socket.message() == "3probe"
            await app.io.emit("meanwhile", to=sid)
            socket.send("5")
            assert await socket.message() == '42["meanwhile"]'
            await works(socket)
            await joined(socket, "/custom")
        await app.until_ended("/", sid)
