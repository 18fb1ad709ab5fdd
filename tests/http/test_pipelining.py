"""Pipelined requests are answered once and in order, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from atriz_realtime.engine import turns
from atriz_realtime.engine.request.request import MAX_HEAD
from atriz_realtime.engine.transports.connections import descriptor, is_readable
from atriz_realtime.http.bodies import SMALL_BODY
from atriz_realtime.http.connection import MAX_IGNORED, MAX_PIPELINED, EndpointConnection
from tests.support.checks.turns import counting_turns
from tests.support.servers.http_server import (
    Connection,
    HttpServer,
    echo,
    fix,
    get,
    poll,
    request,
)
from tests.support.servers.serving import TIMEOUT, until

ORIGIN = b"Origin: https://app.example"
"""A header with which uvicorn's own protocol answers."""

UPGRADE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
"""Headers that ask for a websocket."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_keep_alive(server: HttpServer, client: Connection) -> None:
    before = server.web.server_state.total_requests
    for number in range(5):
        answer = await client.call(echo(str(number)))
        assert (answer.json, answer.headers.get("connection")) == (str(number), None)
    assert server.connections == 1
    assert server.web.server_state.total_requests == before + 5


@pytest.mark.parametrize("name", [b"Connection", b"connection", b"CONNECTION"])
async def test_connection_close(client: Connection, endpoints: Any, name: bytes) -> None:
    answer = await client.call(echo("last", name + b": close") + echo("after"))
    assert (answer.json, answer.headers["connection"]) == ("last", "close")
    assert await client.until_closed() == b""
    assert endpoints.called == ['"last"']


async def test_http_1_0(server: HttpServer, client: Connection) -> None:
    answer = await client.call(echo("old", version="1.0"))
    assert answer.json == "old"
    assert await client.until_closed() == b""
    assert server.over_asgi == ["/api/echo"]


@pytest.mark.parametrize("headers", [(), (ORIGIN,)], ids=["endpoints", "uvicorn"])
async def test_the_requests_of_many_connections_share_each_turn(
    server: HttpServer, endpoints: Any, monkeypatch: pytest.MonkeyPatch, headers: tuple[bytes, ...]
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(turns, "SHARE", 0.0)
    count, pipelined = 3 * turns.TASKS_PER_TURN, 3
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.connect()) for _ in range(count)]
        turn = await stack.enter_async_context(counting_turns())
        handled: Counter[int] = Counter()
        monkeypatch.setattr(
            endpoints, "called", SimpleNamespace(append=lambda _: handled.update([turn[0]]))
        )
        for client in clients:  # in one turn
            client.writer.write(echo("x", *headers) * pipelined)
        for client in clients:
            assert [(await client.answer()).json for _ in range(pipelined)] == ["x"] * pipelined
    assert handled.total() == count * pipelined
    assert max(handled.values()) <= turns.TASKS_PER_TURN


async def test_a_request_that_came_whole_is_handled_though_its_client_has_left(
    server: HttpServer, endpoints: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(turns, "SHARE", 0.0)
    count = 3 * turns.TASKS_PER_TURN
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.connect()) for _ in range(count)]
        for client in clients:
            client.writer.write(echo("x"))
    await until(lambda: server.connections == 0)
    await until(lambda: len(endpoints.called) == count)


async def test_bodies_count_while_they_wait_for_their_turn_and_no_longer(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise many connections fill the memory, or use up for ever what all may fill."""
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(turns, "SHARE", 0.0)
    monkeypatch.setattr(turns, "TASKS_PER_TURN", 1)
    statistics = server.realtime.reports.own
    count, body, seen = 40, "x" * 1_500, []
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.connect()) for _ in range(count)]
        for client in clients:
            client.writer.write(echo(body) * 3)
        for _ in range(count):
            await asyncio.sleep(0)
            seen.append(statistics().statistics["http"]["handled"])
        for client in clients:
            client.writer.transport.abort()
    assert max(seen) >= count * len(body) / 2
    await until(lambda: server.connections == 0)
    await until(lambda: statistics().statistics["http"]["handled"] == 0)


async def test_pipelined_requests_are_answered_in_order(client: Connection, endpoints: Any) -> None:
    slow = request(b"{}", "/api/slow")
    await client.send(slow + echo("1") + echo("2"), echo("3"), echo("4")[:50], echo("4")[50:])
    endpoints.gate.set()
    answers = [(await client.answer()).json for _ in range(5)]
    assert answers == ["slow", "1", "2", "3", "4"]
    assert (await client.call(echo("5"))).json == "5"


@pytest.mark.parametrize("cut", range(0, 160, 9))
async def test_two_requests_split_anywhere(client: Connection, endpoints: Any, cut: int) -> None:
    first, second = echo("first"), echo("second")
    await client.send(first + second[:cut], second[cut:])
    assert [(await client.answer()).json for _ in range(2)] == ["first", "second"]
    assert endpoints.called == ['"first"', '"second"']


@pytest.mark.parametrize("headers", [(), (ORIGIN,)], ids=["endpoint", "fallback"])
async def test_as_many_as_may_wait_come_in_one_read(
    client: Connection, endpoints: Any, headers: tuple[bytes, ...]
) -> None:
    sent = [str(number) for number in range(1 + MAX_PIPELINED)]
    await client.send(b"".join(echo(each, *headers) for each in sent))
    assert [(await client.answer()).json for _ in sent] == sent
    assert (await client.call(echo("on", *headers))).json == "on"


async def test_too_many_pipelined_requests_close_the_connection(
    client: Connection, endpoints: Any
) -> None:
    slow = request(b"{}", "/api/slow")
    await client.send(slow, b"".join(echo(str(n)) for n in range(3 * MAX_PIPELINED)))
    endpoints.gate.set()
    assert (await client.answer()).json == "slow"
    for number in range(MAX_PIPELINED):
        assert (await client.answer()).json == str(number)
    assert await client.until_closed() == b""
    assert len(endpoints.called) == 1 + MAX_PIPELINED


async def test_no_more_than_a_small_body_s_bytes_wait_behind_the_request_being_answered(
    server: HttpServer, client: Connection, endpoints: Any
) -> None:
    """So that many connections cannot fill the room that is kept for single fixes."""
    body, head = "x" * 1_798, request(b"x" * 1_800, "/api/slow")
    waiting = SMALL_BODY // 1_800 + 1
    await client.send(head, echo(body) * (waiting + 3))
    await until(lambda: endpoints.called)
    handled = server.realtime.reports.own().statistics["http"]["handled"]
    assert handled == 1_800 * (1 + waiting)
    endpoints.gate.set()
    assert (await client.answer()).json == "slow"
    for _ in range(waiting):
        assert (await client.answer()).json == body
    assert await client.until_closed() == b""
    assert len(endpoints.called) == 1 + waiting


async def test_nothing_is_parsed_behind_too_many_pipelined_requests(
    server: HttpServer, client: Connection, endpoints: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parsing a whole read of requests would keep the event loop from everybody else."""
    begun = []
    begin = EndpointConnection.on_message_begin

    def on_message_begin(connection: EndpointConnection) -> None:
        begun.append(connection)
        begin(connection)

    monkeypatch.setattr(EndpointConnection, "on_message_begin", on_message_begin)
    await client.send(request(b"{}", "/api/slow"), echo("x") * 500)
    endpoints.gate.set()
    await client.until_closed()
    assert len(begun) <= MAX_PIPELINED + 3


async def to_be_answered(
    server: HttpServer, client: Connection, endpoints: Any, by: str
) -> Callable[[bytes], Awaitable[None]]:
    """Send a request that waits for its answer; returns what answers it with a body."""
    if by == "endpoint":
        await client.send(request(b"{}", "/api/slow"))
        await until(lambda: endpoints.called)

        async def answer_slow(_: bytes) -> None:
            endpoints.gate.set()

        return answer_slow
    sid = await client.open()
    sent = poll(sid)
    await client.send(*[sent] if by == "engine" else [sent[:20], sent[20:]])
    session: Any = server.realtime.socket_io.eio.sockets[sid]
    await until(lambda: session.transport.poll)
    return lambda body: server.realtime.socket_io.eio.send(sid, body.decode())


BY = pytest.mark.parametrize("by", ["endpoint", "engine", "uvicorn"])


@BY
async def test_a_client_that_sends_on_behind_its_last_request_is_cut(
    server: HttpServer, client: Connection, endpoints: Any, by: str
) -> None:
    """Reading what it sends would cost the others time for as long as the answer takes."""
    await to_be_answered(server, client, endpoints, by)
    before = server.realtime.incidents.counts.get("flooding client cut", 0)
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(TIMEOUT):
            while True:
                client.writer.write(bytes(MAX_IGNORED))
                await client.writer.drain()
    await until(lambda: not server.connections)
    assert server.realtime.incidents.counts["flooding client cut"] == before + 1


@BY
async def test_who_pipelines_too_much_still_gets_the_whole_answer(
    server: HttpServer, client: Connection, endpoints: Any, by: str
) -> None:
    answer = await to_be_answered(server, client, endpoints, by)
    protocol: Any
    (protocol,) = server.web.server_state.connections
    client.writer.write(bytes(MAX_IGNORED))
    fd = descriptor(getattr(protocol, "transport", None) or protocol._transport)
    await until(lambda: not (client.writer.transport.get_write_buffer_size() or is_readable(fd)))
    await answer(b"x" * 90_000)
    if by == "endpoint":
        assert (await client.answer()).json == "slow"
        assert (await client.answer()).status == 400  # zeros are no request
    else:
        assert len((await client.answer()).body) > 90_000
    assert await client.until_closed() == b""


@pytest.mark.parametrize("segments", [1, 2])
@pytest.mark.parametrize("path", ["/shout", "/socket.io/?EIO=4&transport=websocket"])
async def test_an_upgrade_does_not_overtake_the_answers_before_it(
    server: HttpServer, client: Connection, endpoints: Any, path: str, segments: int
) -> None:
    slow, upgrade = request(b"{}", "/api/slow", ORIGIN), get(path, *UPGRADE)
    await client.send(*[slow + upgrade] if segments == 1 else [slow, upgrade])
    await until(lambda: endpoints.called)
    endpoints.gate.set()
    answer = await client.answer()
    assert (answer.json, answer.headers["connection"]) == ("slow", "close")
    assert await client.until_closed() == b""


async def test_pipelined_requests_over_asgi_are_answered_in_order(
    server: HttpServer, client: Connection, endpoints: Any
) -> None:
    sent = [get("/hello"), get("/none"), request(b"x", "/hello"), get("/early")]
    await client.send(b"".join(sent))
    answers = [await client.answer() for _ in sent]
    assert [each.status for each in answers] == [200, 404, 200, 200]
    assert (await client.call(get("/hello"))).status == 200


async def test_too_many_pipelined_requests_over_asgi_close_the_connection(
    server: HttpServer, client: Connection, endpoints: Any
) -> None:
    slow = request(b"{}", "/api/slow", ORIGIN)
    await client.send(slow, get("/hello") * 1_000, get("/hello") * 1_000)
    endpoints.gate.set()
    assert (await client.answer()).json == "slow"
    answers = [await client.answer() for _ in range(MAX_PIPELINED)]
    assert {answer.json for answer in answers} == {"hello"}
    assert answers[-1].headers["connection"] == "close"
    assert await client.until_closed() == b""
    assert len(server.over_asgi) == 1 + MAX_PIPELINED


async def test_a_pipelined_request_over_asgi_is_told_that_the_client_has_left(
    server: HttpServer,
) -> None:
    async with server.connect() as client:
        await client.send(get("/left") + get("/hello"))
        await until(lambda: hasattr(server.app.state, "has_left"))
    await server.app.state.has_left.wait()


async def test_an_error_over_asgi_is_not_the_answer_to_the_request_before(
    server: HttpServer, client: Connection, endpoints: Any
) -> None:
    await client.send(request(b"{}", "/api/slow", ORIGIN), get("/hello") + b"nonsense\r\n\r\n")
    endpoints.gate.set()
    assert (await client.answer()).json == "slow"
    answer = await client.answer()
    assert (answer.json, answer.headers["connection"]) == ("hello", "close")
    assert await client.until_closed() == b""


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("other", [b"GET /hello", b"POST /hello", b"POST /api/echoes"])
async def test_a_pipelined_request_to_another_route_closes_the_connection(
    client: Connection, endpoints: Any, other: bytes, separate: bool
) -> None:
    """It is not answered out of order, and its body is not read as a request."""
    hidden = echo("smuggled")
    after = b"%b HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % (other, len(hidden))
    slow = request(b"{}", "/api/slow")
    segments = [slow, after, hidden] if separate else [slow + after, hidden]
    await client.send(*segments)
    endpoints.gate.set()
    answer = await client.answer()
    assert (answer.json, answer.headers["connection"]) == ("slow", "close")
    assert await client.until_closed() == b""
    assert endpoints.called == ["slow"]


async def test_the_rest_of_a_request_to_another_route_closes_the_connection(
    client: Connection, endpoints: Any
) -> None:
    await client.send(echo("mine") + b"GET /hello HTT")
    assert (await client.answer()).json == "mine"
    await client.send(b"P/1.1\r\nHost: here\r\n\r\n")
    assert await client.until_closed() == b""


async def test_a_path_split_over_segments_is_read_as_one(
    client: Connection, endpoints: Any
) -> None:
    await client.send(echo("mine") + b"POST /api/echo", b"es HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.answer()).json == "mine"
    assert await client.until_closed() == b""
    assert endpoints.called == ['"mine"']


@pytest.mark.parametrize(
    "broken",
    [
        b"nonsense\r\n\r\n",
        echo("x", b"Content-Length: 3"),
        echo("x" * 3_000),
        echo("x", b"Transfer-Encoding: chunked"),
        echo("x", b"Origin: https://app.example"),
        b"POST /api/echo HTTP/1.1\r\nX: " + b"x" * 2 * MAX_HEAD,
    ],
    ids=["nonsense", "lengths", "too large", "chunks", "origin", "endless head"],
)
async def test_an_error_of_a_pipelined_request_is_not_the_answer_to_the_one_before(
    client: Connection, endpoints: Any, broken: bytes
) -> None:
    middle = len(broken) // 2
    await client.send(request(b"{}", "/api/slow"), broken[:middle], broken[middle:])
    await client.send(b"x" * 10)
    endpoints.gate.set()
    assert (await client.answer()).json == "slow"
    rest = await client.until_closed()
    assert rest.count(b"HTTP/1.1") <= 1
    assert b"HTTP/1.1 200" not in rest
    assert endpoints.called == ["slow"]


async def test_a_mixed_connection(server: HttpServer, client: Connection) -> None:
    for _ in range(3):
        health = await client.call(get("/health/realtime"))
        assert health.json["status"] == "healthy"
        assert (await client.call(request(fix()))).status == 200
        assert (await client.call(get("/api/tracking/vehicle/v1"))).json["latitude"] == 52.6
        assert (await client.call(request(b"{}", "/nowhere"))).status == 404
        await client.send(get("/parts"))
        chunks = await client.reader.readuntil(b"0\r\n\r\n")
        assert chunks.count(b"part") == 3
    assert server.connections == 1
    assert "/api/tracking/location" not in server.over_asgi
