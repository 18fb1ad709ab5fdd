"""The size of request heads is bounded, on whichever path a request is read."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from atriz_realtime.core.runtime import incidents
from atriz_realtime.engine.request.header_fields import MAX_LINES, header_fields
from atriz_realtime.engine.request.request import MAX_HEAD
from atriz_realtime.http.request_head import PIECE
from tests.support.servers.http_server import OPEN, Connection, HttpServer, echo, get, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHUNKED = request(b"", "/api/echo", b"Transfer-Encoding: chunked", sized=False)

HEADERS = b"X: %b\r\n" % (b"x" * 6_000)

WEBSOCKET = get(
    "/socket.io/?EIO=4&transport=websocket",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def with_header(sent: bytes, size: int) -> bytes:
    """A request with one more header, which is long."""
    return sent.replace(b"\r\n", b"\r\nX-Long: %b\r\n" % (b"x" * size), 1)


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"GET /none HTTP/1.1\r\n", HEADERS),
        (b"GET /none HTTP/1.1\r\nX: ", b"x" * 6_000),
        (b"GET /", b"x" * 6_000),
        (OPEN[:-2], HEADERS),
        (echo("x")[:60], b"x" * 6_000),
        (echo("first") + echo("x")[:60], b"x" * 6_000),
        (CHUNKED + b"0\r\n", HEADERS),
        (CHUNKED + b"1;", b"x" * 6_000),
    ],
    ids=[
        "headers",
        "header",
        "target",
        "polling",
        "endpoint",
        "pipelined",
        "trailers",
        "chunk extension",
    ],
)
async def test_a_head_without_an_end_is_refused(
    server: HttpServer, client: Connection, begun: bytes, more: bytes
) -> None:
    if b"first" in begun:
        assert (await client.call(begun)).json == "first"
    else:
        await client.send(begun)
    answering = asyncio.create_task(client.answer())
    sent = 0
    while not answering.done():
        assert sent <= MAX_HEAD + 20 * len(more)
        await client.send(more)
        sent += len(more)
    answer = await answering
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert sent > MAX_HEAD - len(more)


@pytest.mark.parametrize(
    "sent",
    [get("/hello"), OPEN, echo("x"), WEBSOCKET],
    ids=["other", "polling", "endpoint", "websocket"],
)
@pytest.mark.parametrize("pieces", [1, 2])
async def test_a_head_that_comes_at_once_is_bounded_as_well(
    server: HttpServer, client: Connection, sent: bytes, pieces: int
) -> None:
    allowed = with_header(sent, MAX_HEAD - 1_000)
    cut = len(allowed) // 2 if pieces == 2 else len(allowed)
    assert (await client.call(allowed[:cut], allowed[cut:])).status in (101, 200)
    async with server.connect() as other:
        refused = with_header(sent, MAX_HEAD + 2 * PIECE)
        cut = len(refused) // 2 if pieces == 2 else len(refused)
        assert (await other.call(refused[:cut], refused[cut:])).status == 400


@pytest.mark.parametrize(
    "sent",
    [get("/hello"), OPEN, echo("x"), WEBSOCKET],
    ids=["other", "polling", "endpoint", "websocket"],
)
@pytest.mark.parametrize("pieces", [1, 2])
async def test_the_headers_of_a_client_are_counted(
    server: HttpServer, sent: bytes, pieces: int
) -> None:
    """Each costs time wherever it is read."""
    has = sent.count(b"\r\n") - 2
    for more, statuses in ((MAX_LINES - has, (101, 200)), (MAX_LINES - has + 1, (431,))):
        request = sent.replace(b"\r\n", b"\r\n" + b"X: x\r\n" * more, 1)
        cut = 30 if pieces == 2 else len(request)
        async with server.connect() as other:
            assert (await other.call(request[:cut], request[cut:])).status in statuses


@pytest.mark.parametrize("first", [get("/hello"), echo("x")], ids=["other", "endpoint"])
async def test_one_refusal_answers_too_many_headers(
    server: HttpServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    first: bytes,
) -> None:
    """Also behind another request, on a connection that then closes."""
    monkeypatch.setattr(incidents, "QUIET_SECONDS", 0.0)
    caplog.set_level(logging.INFO, "atriz_realtime")
    refused = server.realtime.incidents.counts.get("refused bad_request", 0)
    async with server.connect() as client:
        assert (await client.call(first)).status == 200
        many = first.replace(b"\r\n", b"\r\n" + b"a:\r\n" * 15_000, 1)
        answer = await client.call(many)
    assert (answer.status, answer.headers["connection"]) == (431, "close")
    assert (answer.json["code"], answer.json["message"]) == (
        "bad_request",
        f"the request has more than {MAX_LINES} headers",
    )
    assert server.realtime.incidents.counts["refused bad_request"] == refused + 1
    (line,) = caplog.messages
    assert line.startswith("refused bad_request: a request: the request has more than 128 headers")
    assert "; client 127.0.0.1" in line


async def test_trailers_are_counted_with_the_headers(
    server: HttpServer, client: Connection
) -> None:
    answer = await client.call(CHUNKED + b"0\r\n" + b"X: x\r\n" * MAX_LINES + b"\r\n")
    assert answer.status == 431


async def test_a_body_that_comes_with_its_head_does_not_count(
    server: HttpServer, client: Connection
) -> None:
    assert (await client.call(request(b"x" * 200_000, "/hello"))).json == "hello"
    sent = CHUNKED + b"1\r\n1\r\n" * 1_500 + b"0\r\n\r\n"
    assert (await client.call(sent)).body == b"1" * 1_500


async def test_spaces_in_a_header_are_read_in_linear_time() -> None:
    """With 60,000 of them, a pattern that tries each end for each start takes seconds."""
    spaces = b"a" + b" " * 60_000 + b"b"
    began = time.process_time()
    assert header_fields(b"Connection: %b\r\n" % spaces).body_size == -1
    handshake = b"Connection: Upgrade\r\nUpgrade: %bwebsocket\r\n" % spaces
    assert not header_fields(handshake).opens_websocket
    assert time.process_time() - began < 1
