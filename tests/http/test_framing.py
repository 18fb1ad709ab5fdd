"""The end of a request is never mistaken, so that nothing can be smuggled behind it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.servers.http_server import (
    Connection,
    HttpServer,
    echo,
    fix,
    get,
    request,
)
from tests.support.servers.serving import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_head_and_body_in_segments_of_their_own(
    server: HttpServer, client: Connection
) -> None:
    head, _, body = request(fix()).partition(b"\r\n\r\n")
    assert (await client.call(head + b"\r\n\r\n", body)).status == 200
    assert (await client.call(head + b"\r\n\r\n", body[:9], body[9:])).status == 200
    assert server.over_asgi == []


@pytest.mark.parametrize("cut", [1, 4, 5, 20, 29, 30, 31, 32, 40, 60, 100])
async def test_a_head_split_anywhere(client: Connection, endpoints: Any, cut: int) -> None:
    sent = echo("whole")
    assert (await client.call(sent[:cut], sent[cut:])).json == "whole"
    assert (await client.call(echo("next"))).json == "next"
    assert endpoints.called == ['"whole"', '"next"']


async def test_byte_by_byte(client: Connection, endpoints: Any) -> None:
    await client.call(echo("first"))
    sent = echo("every byte") + echo("and again")
    await client.send(*(sent[n : n + 1] for n in range(len(sent))))
    assert [(await client.answer()).json for _ in range(2)] == ["every byte", "and again"]


async def test_a_body_of_many_parts_is_bounded(server: HttpServer, client: Connection) -> None:
    head = b"POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    await client.send(head, *([b"x" * 10] * 201))
    answer = await client.answer()
    assert (answer.status, answer.json["code"]) == (413, "payload_too_large")
    await client.until_closed()


@pytest.mark.parametrize("name", [b"Transfer-Encoding", b"TRANSFER-ENCODING", b"transfer-encoding"])
async def test_a_body_in_chunks(client: Connection, name: bytes) -> None:
    head = echo("chunk", name + b": chunked", sized=False).partition(b"\r\n\r\n")[0]
    answer = await client.call(head + b"\r\n\r\n", b'3\r\n"ch\r\n', b'4\r\nunk"\r\n0\r\n\r\n')
    assert answer.json == "chunk"
    assert (await client.call(echo("next"))).json == "next"


@pytest.mark.parametrize("name", [b"Expect", b"EXPECT", b"expect"])
async def test_expect(client: Connection, name: bytes) -> None:
    head, _, body = echo("expected", name + b": 100-continue").partition(b"\r\n\r\n")
    assert (await client.call(head + b"\r\n\r\n")).status == 100
    assert (await client.call(body)).json == "expected"


@pytest.mark.parametrize("name", [b"Origin", b"ORIGIN", b"origin"])
async def test_a_web_page_s_request_gets_cors_headers(client: Connection, name: bytes) -> None:
    answer = await client.call(echo("page", name + b": https://app.example"))
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.json == "page"
    assert "access-control-allow-origin" not in (await client.call(echo("program"))).headers


async def test_header_names_in_any_case(client: Connection) -> None:
    for change in (bytes.lower, bytes.upper):
        line, _, rest = request(fix()).partition(b"\r\n")
        head, _, body = rest.partition(b"\r\n\r\n")
        lines = [each.partition(b":") for each in head.split(b"\r\n")]
        changed = b"\r\n".join(change(name) + colon + value for name, colon, value in lines)
        answer = await client.call(line + b"\r\n" + changed + b"\r\n\r\n" + body)
        assert answer.status == 200


# -- malformed requests -------------------------------------------------------------------
HIDDEN = echo("smuggled")
START = b"POST %b HTTP/1.1\r\nHost: x\r\n"
POLLED = b"/socket.io/?EIO=4&transport=polling"
ODD = {
    "length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "upper case": b"CONTENT-LENGTH: 5\r\nTRANSFER-ENCODING: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "one length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n12345",
    "folded": b"X: a\r\n Content-Length: 5\r\n\r\n",
    "folded length": b"Content-Length:\r\n 5\r\n\r\n",
    "bare LF": b"X: a\nContent-Length: 5\r\n\r\n",
    "bare LF at the end": b"X: a\n\n",
    "bare CR": b"X: a\rContent-Length: 5\r\n\r\n",
    "space before the colon": b"Content-Length : 5\r\n\r\n",
    "signed": b"Content-Length: +5\r\n\r\n",
    "listed": b"Content-Length: 5, 5\r\n\r\n",
    "hexadecimal": b"Content-Length: 0x5\r\n\r\n",
    "huge": b"Content-Length: 99999999999999999999\r\n\r\n",
    "unknown encoding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "NUL": b"X\x00: a\r\n\r\n",
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("path", [b"/api/echo", b"/early", POLLED])
@pytest.mark.parametrize("separate", [False, True])
async def test_nothing_is_smuggled_behind_an_odd_head(
    client: Connection, endpoints: Any, path: bytes, odd: str, separate: bool
) -> None:
    """An odd head is refused, and its connection closed."""
    head = START % path + ODD[odd]
    await client.send(*([head, HIDDEN] if separate else [head + HIDDEN]))
    received = await client.until_closed()
    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1") == 1
    assert endpoints.called == []


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\1garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["garbage", "TLS", "path", "chunk"],
)
async def test_what_is_not_http_is_counted_and_logged_once_a_minute(
    server: HttpServer, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    refused = server.realtime.incidents.refusals
    before = refused.statistics().get("bad_request", 0)
    for _ in range(10):
        async with server.connect() as client:
            await client.send(sent)
            assert (await client.until_closed()).startswith(b"HTTP/1.1 400")
    assert refused.statistics()["bad_request"] == before + 10
    assert len(caplog.records) <= 1


async def test_an_unknown_upgrade_is_not_logged(
    client: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        head = b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        assert (await client.call(head)).status == 200
    assert caplog.records == []


LENGTHS = [
    b"Content-Length: %d",
    b"Content-Length:%d",
    b"Content-Length:\t%d",
    b"Content-Length: %d ",
    b"Content-Length: %d\t",
    b"content-length:   0%d  ",
    b"X-Content-Length: 0\r\nContent-Length: %d",
    b"X: content-length\r\nContent-Length: %d",
]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("path", [b"/early", b"/nowhere", POLLED])
async def test_a_body_after_an_early_answer_is_not_a_request(
    client: Connection, endpoints: Any, path: bytes, length: bytes
) -> None:
    """A route that answers without reading the body does not turn the body into a request."""
    head = START % path + length % len(HIDDEN) + b"\r\n\r\n"
    assert (await client.call(head)).status in (200, 400, 404)
    await client.send(HIDDEN)
    assert (await client.call(get("/hello"))).json == "hello"
    assert endpoints.called == []


async def test_a_body_over_several_segments_after_an_early_answer(
    client: Connection, endpoints: Any
) -> None:
    chunked = START % b"/early" + b"Transfer-Encoding: chunked\r\n\r\n"
    assert (await client.call(chunked)).body == b"early"
    chunk = b"%x\r\n%b\r\n" % (len(HIDDEN), HIDDEN)
    await client.send(chunk[:4], chunk[4:], b"0\r\n\r\n")
    assert (await client.call(get("/hello"))).json == "hello"
    assert endpoints.called == []


@pytest.mark.parametrize("rubbish", [b"\x16\x03\x01\x02\x00\x01", b"\x00" * 64, b"HELO you\r\n"])
async def test_rubbish(server: HttpServer, client: Connection, rubbish: bytes) -> None:
    await client.send(rubbish)
    assert (await client.until_closed()).startswith(b"HTTP/1.1 400")
    await until(lambda: server.connections == 0)
