"""A request head that is repeated with another body is recognised, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette

from atriz_realtime.http.connection import MAX_HEAD_MISSES
from atriz_realtime.http.request_head import MAX_CACHED_HEAD, HeadCache
from tests.support.servers.http_server import (
    AUTHORIZATION,
    Connection,
    HttpServer,
    echo,
    fix,
    get,
    http_server,
    request,
)
from tests.support.servers.serving import until

HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\nAccept: */*\r\n\r\n"
LENGTH_LAST = b"POST /x HTTP/1.1\r\nHost: x\r\ncontent-length:%b\r\n\r\n"
HEADS = pytest.mark.parametrize("head", [HEAD, LENGTH_LAST], ids=["in between", "length last"])


def whole(head: bytes, body: bytes) -> bytes:
    return head % str(len(body)).encode() + body


def cached(head: bytes = HEAD) -> HeadCache:
    found = HeadCache.of(whole(head, b"{}"))
    assert found is not None
    return found


@HEADS
@pytest.mark.parametrize("body", [b"", b"{}", b'{"a":1}', b"x" * 100, b"\r\n\r\n", HEAD])
def test_a_repeated_head_is_recognised_with_any_body(head: bytes, body: bytes) -> None:
    assert cached(head).body(whole(head, body), 100) == body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD % b"2" + b"{",
        HEAD % b"2" + b"{}" + HEAD,
        HEAD % b"" + b"{}",
        HEAD % b"+2" + b"{}",
        HEAD % b"2 " + b"{}",
        HEAD % b"0x2" + b"{}",
        HEAD % b"2_0" + b"x" * 20,
        HEAD % "²".encode() + b"{}",
        HEAD % b"0000000002" + b"{}",
        HEAD % b"2\r\nTransfer-Encoding: chunked" + b"{}",
        (HEAD % b"2").replace(b"*/*", b"*") + b"{}",
        (HEAD % b"2").replace(b"/x", b"/y") + b"{}",
        (HEAD % b"2").replace(b"Host: x", b"Host: y") + b"{}",
        HEAD % b"101" + b"x" * 101,
    ],
    ids=[
        "nothing",
        "not all of the body",
        "another request behind it",
        "no length",
        "a sign",
        "a space",
        "hexadecimal",
        "an underscore",
        "another script's digit",
        "too many digits",
        "a header more",
        "another header behind the length",
        "another path",
        "another header before the length",
        "too long a body",
    ],
)
def test_anything_else_is_not_recognised(data: bytes) -> None:
    assert cached().body(data, 100) is None


@pytest.mark.parametrize(
    "data",
    [
        b"POST /x HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD % b"2" + b"{",
        HEAD % b"2" + b"{}" + HEAD % b"2" + b"{}",
        (HEAD % b"2").replace(b"Accept", b"Content-Length: 2\r\nAccept") + b"{}",
        (HEAD % b"2").replace(b"Accept", b"X-Content-Length") + b"{}",
        HEAD % b"2x" + b"{}",
        (HEAD % b"2").replace(b"Accept", b"X: " + b"x" * MAX_CACHED_HEAD + b"\r\nAccept") + b"{}",
    ],
    ids=["no length", "not whole", "two", "two lengths", "its name twice", "no number", "long"],
)
def test_such_a_head_is_not_cached(data: bytes) -> None:
    assert HeadCache.of(data) is None


class Parsed:
    """What a parser reads of one request."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


@given(
    before=st.sampled_from([b"", b"2", b"\r\nX: y", b" ", b"Content-Length: 1\r\n"]),
    digits=st.one_of(
        st.integers(0, 30).map(lambda n: str(n).encode()), st.binary(max_size=4), st.just(b"007")
    ),
    after=st.sampled_from([b"", b"\r\nA: b", b" ", b"\r\n\r\n", b"\r\nContent-Length: 1"]),
    body=st.binary(max_size=30),
)
@example(before=b"", digits=b"007", after=b"", body=b"x" * 7)
def test_a_recognised_request_is_what_a_parser_reads(
    before: bytes, digits: bytes, after: bytes, body: bytes
) -> None:
    data = before + HEAD.replace(b"%b", digits + after) + body
    found = cached().body(data, 1_000)
    if found is None:
        return
    parsed = Parsed(data)
    assert (parsed.complete, parsed.body) == (1, found)
    first = Parsed(whole(HEAD, b"{}"))
    assert [each for each in parsed.headers if each[0] != b"Content-Length"] == [
        each for each in first.headers if each[0] != b"Content-Length"
    ]
    assert parsed.parser.should_keep_alive()


# -- on a connection -----------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="module")
async def test_each_request_has_its_own_body(
    server: HttpServer, client: Connection, endpoints: Any
) -> None:
    bodies = ["x" * n for n in (1, 5, 1, 200, 0, 1_000)]
    for body in bodies:
        assert (await client.call(echo(body))).json == body
    assert endpoints.called == [f'"{body}"' for body in bodies]
    assert (await client.call(request(b"x" * 2_001))).status == 413
    assert server.over_asgi == []


@pytest.mark.asyncio(loop_scope="module")
async def test_each_request_has_its_own_headers(client: Connection) -> None:
    for number in [1, 1, 2, 2, 1, *range(3 * MAX_HEAD_MISSES), 1, 1]:
        seen = (await client.call(request(b"{}", "/api/caller", b"X-Number: %d" % number))).json[1]
        assert seen["x-number"] == str(number)


@pytest.mark.asyncio(loop_scope="module")
async def test_each_request_is_authenticated(client: Connection) -> None:
    bad = request(fix()).replace(AUTHORIZATION, b"Authorization: Bearer x")
    statuses = [(await client.call(sent)).status for sent in [request(fix())] * 2 + [bad] * 2]
    assert statuses == [200, 200, 401, 401]
    assert (await client.call(request(fix()))).status == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_what_follows_a_cached_request_is_another_request(
    client: Connection, endpoints: Any
) -> None:
    for _ in range(2):
        await client.call(echo("a"))
    await client.send(echo("b") + echo("c"), echo("d")[:-2], echo("d")[-2:])
    assert [(await client.answer()).json for _ in range(3)] == ["b", "c", "d"]
    assert (await client.call(echo("e"))).json == "e"
    assert endpoints.called == [f'"{body}"' for body in "aabcde"]


HANDSHAKE = get(
    "/socket.io/?EIO=4&transport=websocket",
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


def cached_heads(server: HttpServer) -> float:
    """The bytes of heads that connections have cached, as an operator sees them."""
    return server.realtime.reports.own().statistics["http"]["cached_heads"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("end", ["closed", "another head", "a websocket"])
async def test_cached_heads_are_counted_until_they_are_dropped(
    server: HttpServer, end: str
) -> None:
    assert cached_heads(server) == 0
    async with server.connect() as connection:
        await connection.call(echo("a"))
        size = len(echo("a").partition(b"\r\n\r\n")[0]) + len(b"\r\n\r\n") - len(b"3")
        assert cached_heads(server) == size
        if end == "another head":
            await connection.call(echo("a", b"X: y"))
            assert cached_heads(server) == size + len(b"X: y\r\n")
        elif end == "a websocket":
            assert (await connection.call(HANDSHAKE)).status == 101
            assert cached_heads(server) == 0
    await until(lambda: cached_heads(server) == 0)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_connection_that_is_handed_over_to_uvicorn_drops_its_head(
    application: Callable[..., Starlette],
) -> None:
    async with (
        http_server(application(), limit_concurrency=2) as server,
        server.connect() as connection,
    ):
        await connection.call(echo("a"))
        assert cached_heads(server) > 0
        async with server.connect():
            await until(lambda: server.connections == 2)
            await connection.send(get("/hello")[:-2])
            await until(lambda: cached_heads(server) == 0)


@pytest.mark.asyncio(loop_scope="module")
async def test_cached_heads_are_bounded_together(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atriz_realtime.http.connection.MAX_CACHED_HEADS", 1)
    async with server.connect() as first, server.connect() as second:
        for text in "ab":
            assert (await first.call(echo(text))).json == text
        size = cached_heads(server)
        assert size > 0
        for text in "ab":
            assert (await second.call(echo(text))).json == text
        assert cached_heads(server) == size
        await first.close()
        await until(lambda: cached_heads(server) == 0)
        assert (await second.call(echo("c"))).json == "c"
        assert cached_heads(server) == size
