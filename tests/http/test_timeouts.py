"""Idle and request timeouts, flow control, and shutdown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette

from tests.support.servers.http_server import (
    OPEN,
    Connection,
    HttpServer,
    echo,
    get,
    http_server,
    post,
    request,
)
from tests.support.servers.serving import TIMEOUT, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


def refusals(server: HttpServer) -> float:
    """How many requests were refused because they came too slowly."""
    return server.realtime.incidents.refusals.statistics().get("request_timeout", 0)


@pytest.mark.parametrize(
    "before",
    [
        [],
        [echo("a")],
        [get("/hello")],
        [OPEN],
        [echo("a"), get("/hello")],
        [get("/hello"), echo("a")],
        [get("/hello"), OPEN],
        [OPEN, echo("a")],
    ],
    ids=[
        "nothing",
        "call",
        "other",
        "polling",
        "call, other",
        "other, call",
        "other, polling",
        "polling, call",
    ],
)
async def test_an_idle_connection_is_closed(
    short_timeouts: HttpServer, before: list[bytes]
) -> None:
    async with short_timeouts.connect() as client:
        for sent in before:
            assert (await client.call(sent)).status == 200
        assert await client.until_closed() == b""
        await until(lambda: short_timeouts.connections == 0)


@pytest.mark.parametrize("before", [[], [get("/hello")], [OPEN]], ids=["first", "later", "polling"])
async def test_an_incomplete_request_times_out(
    short_timeouts: HttpServer, before: list[bytes]
) -> None:
    async with short_timeouts.connect() as client:
        for sent in before:
            await client.call(sent)
        await client.send(echo("never")[:-3])
        assert (await client.until_closed()).startswith(b"HTTP/1.1 408 ")
        await until(lambda: short_timeouts.connections == 0)


async def dripped(client: Connection, sent: bytes) -> bytes:
    """Send the rest of a request in single bytes, until the server closes; returns its answer.

    A byte that is sent after the server has closed resets the connection, and takes the answer
    with it: then there is none.
    """
    closed = asyncio.create_task(client.until_closed())
    for each in sent:
        await client.send(bytes([each]))
        if (await asyncio.wait((closed,), timeout=0.03))[0]:
            break
    return await closed


def is_timeout(answer: bytes) -> bool:
    """Whether the answer of :func:`dripped` is 408, unless it was lost."""
    return not answer or answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "before", [[], [echo("a")], [get("/hello")], [OPEN]], ids=["first", "call", "other", "polling"]
)
@pytest.mark.parametrize("path", ["/api/echo", "/hello", "/none", "/socket.io/?EIO=4"])
async def test_a_head_that_is_dripped_times_out(
    short_timeouts: HttpServer, before: list[bytes], path: str
) -> None:
    refused = refusals(short_timeouts)
    async with short_timeouts.connect() as client:
        for sent in before:
            await client.call(sent)
        answer = await dripped(client, get(path, b"X-Long: " + b"x" * 1_000))
        assert refusals(short_timeouts) == refused + 1
        if answer:
            assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "request_timeout"


async def test_empty_lines_do_not_keep_a_connection_open(short_timeouts: HttpServer) -> None:
    refused = refusals(short_timeouts)
    async with short_timeouts.connect() as client:
        assert is_timeout(await dripped(client, b"\r\n" * 500))
        assert refusals(short_timeouts) == refused + 1


@pytest.mark.parametrize(
    "headers", [[], [b"Origin: https://page.example"]], ids=["endpoint", "fallback"]
)
async def test_a_body_that_is_dripped_times_out(
    short_timeouts: HttpServer, headers: list[bytes]
) -> None:
    refused = refusals(short_timeouts)
    sent = echo("x" * 1_000, *headers)
    async with short_timeouts.connect() as client:
        await client.send(sent[:-1_000])
        assert is_timeout(await dripped(client, sent[-1_000:]))
        assert refusals(short_timeouts) == refused + 1


async def test_a_post_of_packets_that_is_dripped_times_out(short_timeouts: HttpServer) -> None:
    refused = refusals(short_timeouts)
    async with short_timeouts.connect() as client:
        sent = post(await client.open(), "4" * 1_000)
        await client.send(sent[:-1_000])
        assert is_timeout(await dripped(client, sent[-1_000:]))
        assert refusals(short_timeouts) == refused + 1


async def test_a_body_that_is_dripped_in_chunks_times_out(short_timeouts: HttpServer) -> None:
    head = request(b"", "/api/echo", b"Transfer-Encoding: chunked", sized=False)
    refused = refusals(short_timeouts)
    async with short_timeouts.connect() as client:
        await client.send(head)
        assert is_timeout(await dripped(client, b"1\r\nx\r\n" * 200))
        assert refusals(short_timeouts) == refused + 1


async def test_a_body_that_is_dripped_after_its_answer_closes(short_timeouts: HttpServer) -> None:
    sent = request(b"x" * 1_000, "/early")
    async with short_timeouts.connect() as client:
        assert (await client.call(sent[:-1_000])).body == b"early"
        assert await dripped(client, sent[-1_000:]) == b""


async def test_a_connection_is_idle_once_the_rest_of_an_answered_body_has_come(
    short_timeouts: HttpServer,
) -> None:
    async with short_timeouts.connect() as client:
        head = request(b"", "/early", b"Content-Length: 10")
        assert (await client.call(head + b"12345")).status == 200
        await client.send(b"67890")
        assert await client.until_closed() == b""


@pytest.mark.parametrize(
    "headers", [[], [b"Origin: https://page.example"]], ids=["endpoint", "fallback"]
)
async def test_a_slow_body_is_waited_for(
    short_timeouts: HttpServer, endpoints: Any, headers: list[bytes]
) -> None:
    """A body that comes faster than the least rate may take longer than a head."""
    sent = echo("x" * 1_500, *headers)
    async with short_timeouts.connect() as client:
        await client.send(sent[:-1_500])
        for start in range(len(sent) - 1_500, len(sent), 150):
            await asyncio.sleep(0.06)  # more than the request timeout in all
            await client.send(sent[start : start + 150])
        assert (await client.answer()).json == "x" * 1_500


@pytest.mark.parametrize(
    ("headers", "body"), [([b"Expect: 100-continue"], b""), ([], b"x" * 200_000)]
)
async def test_a_body_that_the_application_does_not_read_is_waited_for(
    short_timeouts: HttpServer, headers: list[bytes], body: bytes
) -> None:
    head = request(b"x" * 300_000, "/late", *headers)[:-300_000]
    async with short_timeouts.connect() as client:
        await client.send(head + body)
        await asyncio.sleep(0.5)  # longer than the request timeout
        short_timeouts.app.state.may_read.set()
        if headers:
            assert (await client.answer()).status == 100
        await client.send(b"x" * (300_000 - len(body)))
        assert (await client.answer()).body == b"300000"


@pytest.mark.parametrize(
    "headers", [[], [b"Origin: https://page.example"]], ids=["endpoint", "fallback"]
)
async def test_half_a_head_does_not_cut_off_the_answer_before_it(
    short_timeouts: HttpServer, endpoints: Any, headers: list[bytes]
) -> None:
    async with short_timeouts.connect() as client:
        await client.send(request(b"{}", "/api/slow", *headers), get("/hello")[:20])
        await asyncio.sleep(0.5)  # longer than the request timeout
        endpoints.gate.set()
        assert (await client.answer()).json == "slow"
        await client.until_closed()


async def test_a_slow_answer_is_waited_for(short_timeouts: HttpServer, endpoints: Any) -> None:
    async with short_timeouts.connect() as client:
        await client.send(request(b"{}", "/api/slow"))
        await asyncio.sleep(0.3)
        endpoints.gate.set()
        assert (await client.answer()).json == "slow"


async def test_the_first_request_has_time_without_keep_alive(
    application: Callable[..., Starlette], endpoints: Any
) -> None:
    async with (
        http_server(application(), timeout_keep_alive=0) as server,
        server.connect() as client,
    ):
        await asyncio.sleep(0.05)
        assert (await client.call(echo("late"))).json == "late"
        assert await client.until_closed() == b""


async def test_reading_pauses_while_the_client_reads_no_answers(
    server: HttpServer, client: Connection
) -> None:
    """Unread answers are bounded by the connection's buffers."""
    (protocol,) = server.web.server_state.connections
    transport: Any = getattr(protocol, "_transport")  # noqa: B009
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    sent = 0
    async with asyncio.timeout(TIMEOUT):
        while transport.is_reading():
            await client.send(get("/api/much"))
            sent += 1
    assert transport.get_write_buffer_size() < 500_000
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    for _ in range(sent):
        assert (await client.answer()).status == 200
    assert (await client.call(echo("on"))).json == "on"


@pytest.mark.parametrize(
    ("is_sent", "status"), [(True, 200), (False, 408)], ids=["sent", "not sent"]
)
@pytest.mark.parametrize("due", ["request", "body"])
async def test_a_request_is_not_late_while_the_server_reads_nothing(
    server: HttpServer, client: Connection, is_sent: bool, status: int, due: str
) -> None:
    """It pauses reading amid a request, because answers before it wait for the client."""
    await until(lambda: server.connections == 1)
    protocol: Any = next(iter(server.web.server_state.connections))
    state: Any = server.web.server_state
    before = state.total_requests
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    calls, rest = get("/api/much") * 8 + echo("begun")[:-3], echo("begun")[-3:]
    await client.send(calls)
    answers = 8
    async with asyncio.timeout(TIMEOUT):
        while state.total_requests < before + answers or protocol._transport.is_reading():
            if state.total_requests == before + answers:
                answers += 9
                await client.send(rest + calls)
            await asyncio.sleep(0)
    requests, bodies = protocol._shared.requests, protocol._shared.endpoints.bodies
    for deadlines in (requests, bodies._deadlines):
        deadlines._expire(protocol, 0.0)
    if is_sent:
        await client.send(rest)
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    for _ in range(answers):
        assert (await client.answer()).status == 200
    if not is_sent:  # its time has begun anew
        await until(protocol._transport.is_reading)
        (requests if due == "request" else bodies._deadlines)._expire(protocol, 0.0)
    assert (await client.answer()).status == status


# -- shutdown ------------------------------------------------------------------------------
@pytest.mark.parametrize("before", [[], [get("/hello")], [OPEN]], ids=["first", "later", "polling"])
async def test_shutdown_waits_for_a_request_that_is_being_answered(
    application: Callable[..., Starlette], endpoints: Any, before: list[bytes]
) -> None:
    async with (
        http_server(application()) as server,
        server.connect() as client,
        server.connect() as idle,
    ):
        for sent in before:
            await client.call(sent)
        await client.send(request(b"{}", "/api/slow"))
        await until(lambda: endpoints.called)
        server.web.should_exit = True
        assert await idle.until_closed() == b""
        endpoints.gate.set()
        answer = await client.answer()
        assert (answer.json, answer.headers["connection"]) == ("slow", "close")
        assert await client.until_closed() == b""


async def test_shutdown_waits_for_a_request_that_is_being_read(
    application: Callable[..., Starlette], endpoints: Any
) -> None:
    async with (
        http_server(application()) as server,
        server.connect() as client,
        server.connect() as idle,
    ):
        await client.send(echo("nearly")[:-3])
        server.web.should_exit = True
        assert await idle.until_closed() == b""
        answer = await client.call(echo("nearly")[-3:])
        assert (answer.json, answer.headers["connection"]) == ("nearly", "close")


async def test_a_lost_connection_drops_its_queued_requests(
    server: HttpServer, client: Connection, endpoints: Any
) -> None:
    await client.send(request(b"{}", "/api/slow") + echo("never"))
    await until(lambda: endpoints.called)
    await client.close()
    await until(lambda: server.connections == 0)
    endpoints.gate.set()
    async with server.connect() as other:
        assert (await other.call(echo("other"))).json == "other"
    assert endpoints.called == ["slow", '"other"']
