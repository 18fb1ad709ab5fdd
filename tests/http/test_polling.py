"""Long polling on the fast HTTP path: the same answers as over ASGI, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from atriz_realtime.engine import EngineServer
from atriz_realtime.engine.request.request import Request
from atriz_realtime.engine.transports.polling import COMPRESS_FROM, COMPRESS_UP_TO
from atriz_realtime.http.request_head import split
from tests.support.checks.turns import HeldTurns
from tests.support.servers.http_server import (
    OPEN,
    Connection,
    HttpServer,
    echo,
    get,
    http_server,
    poll,
    post,
    request,
)
from tests.support.servers.serving import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = b"Origin: https://app.example"


def engine(server: HttpServer) -> EngineServer:
    found: EngineServer = server.realtime.socket_io.eio
    return found


def is_polled(server: HttpServer, sid: str) -> bool:
    """Whether a poll of the session waits for packets."""
    session: Any = engine(server).sockets[sid]
    return session.transport.poll is not None


async def waiting(server: HttpServer, client: Connection) -> str:
    """Open a session, and send a poll that waits; returns the session's id."""
    sid = await client.open()
    await client.send(poll(sid))
    await until(lambda: is_polled(server, sid))
    return sid


async def test_polling_takes_no_asgi_and_no_task(server: HttpServer) -> None:
    async with server.connect() as polling, server.connect() as posting:
        sid = await polling.open()
        tasks = len(asyncio.all_tasks())
        await polling.send(poll(sid))
        await until(lambda: is_polled(server, sid))
        assert len(asyncio.all_tasks()) == tasks
        assert (await posting.call(post(sid, "40{}"))).body == b"ok"
        assert (await polling.answer()).body.startswith(b"40{")
        for number in range(3):  # on the same connections
            await engine(server).send(sid, f"{number}")
            assert (await polling.call(poll(sid))).body == b"4%d" % number
        assert server.over_asgi == []
        assert server.connections == 2


# -- the same answers ----------------------------------------------------------------------

SAME: dict[str, Callable[[str], bytes]] = {
    "open": lambda _: OPEN,
    "open, from a page": lambda _: get("/socket.io/?EIO=4&transport=polling", PAGE),
    "open, from another page": lambda _: get(
        "/socket.io/?EIO=4&transport=polling", b"Origin: https://evil.example"
    ),
    "open, closing": lambda _: get("/socket.io/?EIO=4&transport=polling", b"Connection: close"),
    "open by POST": lambda _: request(b"4x", "/socket.io/?EIO=4&transport=polling"),
    "version": lambda _: get("/socket.io/?EIO=3&transport=polling"),
    "transport": lambda _: get("/socket.io/?EIO=4&transport=other"),
    "no parameters": lambda _: get("/socket.io/?"),
    "session": lambda _: poll("unknown"),
    "poll": poll,
    "poll, from a page": lambda sid: poll(sid, PAGE),
    "poll, compressed": lambda sid: poll(sid, b"Accept-Encoding: gzip"),
    "poll, closing": lambda sid: poll(sid, b"connection: CLOSE"),
    "poll, staying": lambda sid: poll(sid, b"Connection: keep-alive"),
    "poll with a body": lambda sid: poll(sid, b"Content-Length: 2") + b"{}",
    "post": lambda sid: post(sid, "40{}"),
    "post, from a page": lambda sid: post(sid, "40{}", PAGE),
    "post, closing": lambda sid: post(sid, "40{}", b"Connection: close"),
    "post of nothing": lambda sid: post(sid, ""),
    "post of no packet": lambda sid: post(sid, "40{}\x1enothing"),
    "post of too many packets": lambda sid: post(sid, "\x1e".join(["3"] * 1_001)),
    "post that is too large": lambda sid: post(sid, "4".ljust(3_001)),
    "post of the largest size": lambda sid: post(sid, "3".ljust(3_000)),
}


@pytest.fixture(scope="module")
def limited(application: Callable[..., Starlette]) -> Callable[..., Starlette]:
    """Make applications whose posts have 3,000 bytes at most."""

    def make() -> Starlette:
        return application(cors_origin=["https://app.example"], max_payload=3_000)

    return make


def without_secrets(response: bytes) -> bytes:
    """A response, without its session id and date."""
    return re.sub(rb'"sid":"[^"]+"|date: [^\r]+|\x08\x00....', b"", response)


@pytest.mark.parametrize("case", SAME)
async def test_an_answer_has_the_same_bytes_as_over_asgi(
    limited: Callable[..., Starlette], endpoints: Any, case: str
) -> None:
    received = []
    async with http_server(limited()) as server:
        for over_asgi in (False, True):
            async with server.connect() as opening, server.connect() as client:
                sid = await opening.open()
                await engine(server).send(sid, "much" * 500)
                sent = SAME[case](sid)
                server.over_asgi.clear()
                await client.send(*([sent[:9], sent[9:]] if over_asgi else [sent]))
                client.writer.write_eof()
                received.append(without_secrets(await client.until_closed()))
                assert bool(server.over_asgi) == over_asgi or case == "session"
    assert received[0] == received[1]
    assert received[0].count(b"HTTP/1.1 ") == 1


async def test_a_preflight_is_answered_over_asgi(server: HttpServer, client: Connection) -> None:
    sent = request(b"", "/socket.io/?EIO=4&transport=polling", PAGE, method="OPTIONS")
    answer = await client.call(sent)
    assert answer.headers["access-control-allow-methods"] == "options, get, post"
    assert server.over_asgi == ["/socket.io/"]
    assert (await client.call(OPEN)).status == 200
    assert server.over_asgi == ["/socket.io/"]


# -- what a response costs ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "size", "is_compressed"),
    [
        (b"gzip", COMPRESS_FROM, True),
        (b"gzip", COMPRESS_UP_TO - 10, True),
        (b"gzip", COMPRESS_UP_TO, False),
        (b"gzip", COMPRESS_FROM - 10, False),
        (b"br, GZIP;q=0.5 , deflate", COMPRESS_FROM, True),
        (b"deflate,gzip ; q=1", COMPRESS_FROM, True),
        (b"gzip;q=0", COMPRESS_FROM, False),
        (b"br, gzip; q=0.000, deflate", COMPRESS_FROM, False),
        (b"gzip;q=0.001", COMPRESS_FROM, True),
        (b"x-gzip-not", COMPRESS_FROM, False),
        (b"identity", COMPRESS_FROM, False),
    ],
)
async def test_what_is_compressed(
    server: HttpServer, client: Connection, accepted: bytes, size: int, is_compressed: bool
) -> None:
    sid = await client.open()
    await engine(server).send(sid, "x" * size)
    answer = await client.call(poll(sid, b"Accept-Encoding: " + accepted))
    assert answer.headers.get("content-encoding") == ("gzip" if is_compressed else None)
    body = gzip.decompress(answer.body) if is_compressed else answer.body
    assert body == b"4" + b"x" * size


@pytest.mark.parametrize("over_asgi", [False, True])
async def test_a_client_that_does_not_read_its_answers_gets_no_further_one(
    server: HttpServer, client: Connection, over_asgi: bool
) -> None:
    """On new connections it would go round the bound of what waits for it."""
    sid = await client.open()
    async with server.connect() as unread, server.connect() as other:
        unread.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await engine(server).send(sid, "x" * 8_000_000)
        sent = poll(sid)
        await unread.send(*([sent[:9], sent[9:]] if over_asgi else [sent]))
        await engine(server).send(sid, "y")
        assert (await other.call(poll(sid))).status == 400
        assert sid not in engine(server).sockets
        unread.writer.transport.abort()


@pytest.mark.parametrize("over_asgi", [False, True])
async def test_a_client_that_has_read_its_answer_polls_on_any_connection(
    server: HttpServer, client: Connection, over_asgi: bool
) -> None:
    sid = await client.open()
    async with server.connect() as first, server.connect() as second:
        for each in (first, second, first):
            await engine(server).send(sid, "x" * 5_000_000)
            sent = poll(sid)
            answer = await each.call(*([sent[:9], sent[9:]] if over_asgi else [sent]))
            assert len(answer.body) == 5_000_001


@pytest.mark.parametrize("over_asgi", [False, True])
async def test_the_unread_answer_of_another_client_on_the_same_connection_ends_no_session(
    server: HttpServer, client: Connection, over_asgi: bool
) -> None:
    """A proxy gives a connection to whoever is next."""
    async with server.connect() as shared, server.connect() as other:
        reads, slow = await client.open(), await client.open()
        await engine(server).send(reads, "x" * 5_000_000)
        assert len((await shared.call(poll(reads))).body) == 5_000_001
        shared.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await engine(server).send(slow, "x" * 8_000_000)
        sent = poll(slow)
        await shared.send(*([sent[:9], sent[9:]] if over_asgi else [sent]))
        await engine(server).send(reads, "next")
        assert (await other.call(poll(reads))).body == b"4next"
        shared.writer.transport.abort()


async def test_a_request_that_is_pipelined_behind_an_unread_answer_does_not_make_it_read(
    server: HttpServer, client: Connection
) -> None:
    sid = await client.open()
    async with server.connect() as unread, server.connect() as other:
        unread.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await engine(server).send(sid, "x" * 8_000_000)
        await unread.send(poll(sid))
        await unread.send(echo("more"))
        await engine(server).send(sid, "y")
        assert (await other.call(poll(sid))).status == 400
        assert sid not in engine(server).sockets
        unread.writer.transport.abort()


@pytest.mark.parametrize("over_asgi", [False, True])
async def test_a_second_poll_closes_the_session_while_the_answer_waits_for_its_turn(
    application: Callable[..., Starlette], over_asgi: bool
) -> None:
    async with (
        http_server(application()) as server,
        server.connect() as client,
        server.connect() as other,
    ):
        sid = await client.open()
        await engine(server).send(sid, "x" * COMPRESS_FROM)
        turns = engine(server).sessions.turns = HeldTurns()
        sent = poll(sid, b"Accept-Encoding: gzip")
        await client.send(*([sent[:9], sent[9:]] if over_asgi else [sent]))
        await until(lambda: turns.held)
        assert (await other.call(poll(sid))).status == 400
        turns.held[0]()
        answer = await client.answer()
        assert gzip.decompress(answer.body) == b"4" + b"x" * COMPRESS_FROM


# -- requests that are not ordinary --------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, 200, 13))
async def test_requests_split_anywhere(server: HttpServer, client: Connection, cut: int) -> None:
    sid = await client.open()
    sent = post(sid, "40{}")
    assert (await client.call(sent[:cut], sent[cut:])).body == b"ok"
    assert (await client.call(poll(sid))).body.startswith(b"40{")


async def test_pipelined_requests_in_one_segment(server: HttpServer, client: Connection) -> None:
    sid = await client.open()
    await client.send(post(sid, "40{}") + poll(sid) + echo("last"))
    assert (await client.answer()).body == b"ok"
    assert (await client.answer()).body.startswith(b"40{")
    assert (await client.answer()).json == "last"


@pytest.mark.parametrize("later", [echo("x"), get("/hello"), OPEN, b"nonsense"])
async def test_a_request_behind_a_poll_that_waits_closes_the_connection(
    server: HttpServer, client: Connection, endpoints: Any, later: bytes
) -> None:
    """It is not answered; the client sends it again on a new connection."""
    sid = await waiting(server, client)
    known = set(engine(server).sockets)
    await client.send(later, later)
    await engine(server).send(sid, "x")
    answer = await client.answer()
    assert (answer.body, answer.headers["connection"]) == (b"4x", "close")
    assert await client.until_closed() == b""
    assert endpoints.called == []
    assert set(engine(server).sockets) == known


async def test_a_body_in_chunks(server: HttpServer, client: Connection) -> None:
    sid = await client.open()
    head = post(sid, "", b"Transfer-Encoding: chunked")
    assert (await client.call(head + b"4\r\n40{}\r\n0\r\n\r\n")).body == b"ok"
    assert (await client.call(poll(sid))).body.startswith(b"40{")


async def test_expect(client: Connection) -> None:
    sid = await client.open()
    head, _, body = post(sid, "40{}", b"Expect: 100-continue").partition(b"\r\n\r\n")
    assert (await client.call(head + b"\r\n\r\n")).status == 100
    assert (await client.call(body)).body == b"ok"


async def test_http_1_0(server: HttpServer, client: Connection) -> None:
    await client.send(OPEN.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (await client.until_closed()).startswith(b"HTTP/1.1 200")
    assert server.over_asgi == ["/socket.io/"]


@pytest.mark.parametrize("named", ["other", "%s&sid=other"])
@pytest.mark.parametrize("upgrade", [False, True])
async def test_a_request_for_the_session_of_another_worker_is_left_to_the_handover(
    application: Callable[..., Starlette], endpoints: Any, named: str, upgrade: bool
) -> None:
    left: list[bytes] = []

    class Handover(HttpToolsProtocol):
        def data_received(self, data: bytes) -> None:
            left.append(data)
            super().data_received(data)

    app = application()
    http = app.state.realtime.http_protocol(Handover)
    async with http_server(app, http=http) as server, server.connect() as client:
        sid = await client.open()
        headers = [b"Upgrade: websocket", b"Connection: Upgrade"] if upgrade else []
        sent = poll(named.replace("%s", sid), *headers)
        if upgrade:
            sent = sent.replace(b"=polling", b"=websocket")
        assert (await client.call(sent)).status == 400
        assert left == [sent]


# -- the life of a connection --------------------------------------------------------------


async def test_a_client_that_goes_away_during_a_poll_ends_its_session(server: HttpServer) -> None:
    async with server.connect() as client:
        sid = await waiting(server, client)
    await until(lambda: sid not in engine(server).sockets)


async def test_a_poll_outlives_keep_alive(short_timeouts: HttpServer) -> None:
    async with short_timeouts.connect() as client:
        sid = await waiting(short_timeouts, client)
        await asyncio.sleep(0.3)  # longer than both timeouts
        await engine(short_timeouts).send(sid, "x")
        assert (await client.answer()).body == b"4x"
        assert await client.until_closed() == b""  # it is idle from now on


async def test_a_poll_counts_as_a_request(server: HttpServer, client: Connection) -> None:
    before = server.web.server_state.total_requests
    await client.open()
    assert server.web.server_state.total_requests == before + 1


async def test_shutdown_waits_for_a_poll(
    application: Callable[..., Starlette], endpoints: Any
) -> None:
    async with (
        http_server(application()) as server,
        server.connect() as client,
        server.connect() as idle,
    ):
        sid = await waiting(server, client)
        server.web.should_exit = True
        assert await idle.until_closed() == b""
        await engine(server).send(sid, "last")
        answer = await client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"4last", "close")
        assert await client.until_closed() == b""


# -- what is ordinary ----------------------------------------------------------------------

LINE = b"POST /socket.io/?EIO=4 HTTP/1.1\r\n"


def plain_request(data: bytes) -> tuple[bytes, bytes, bool] | None:
    """The head, the body, and whether the connection stays open."""
    parts = split(data)
    if parts is None:
        return None
    head, body = parts
    fields = Request(head, None, "http").fields
    return (head, body, fields.keep_alive) if fields.body_size == len(body) else None


@pytest.mark.parametrize(
    ("headers", "stays"),
    [
        (b"", True),
        (b"Host: x\r\nX-\xe4: \xff\t\xe4\r\nEmpty:\r\n".replace(b"X-\xe4", b"X"), True),
        (b"Connection:keep-alive\r\n", True),
        (b"CONNECTION: Close \r\n", False),
    ],
)
async def test_an_ordinary_request_is_split(headers: bytes, stays: bool) -> None:
    head = LINE + headers
    assert plain_request(head + b"\r\n") == (head, b"", stays)
    sized = head + b"Content-Length: 8\r\n"
    assert plain_request(sized + b"\r\n4a\r\n\r\nbc") == (sized, b"4a\r\n\r\nbc", stays)


@pytest.mark.parametrize(
    "data",
    [
        LINE + b"Content-Length: 2\r\n\r\n4",
        LINE + b"Content-Length: 1\r\n\r\n4x",
        LINE.replace(b"1.1", b"1.0") + b"\r\n",
        LINE.replace(b"POST", b"PUT") + b"\r\n",
        LINE.replace(b"4", b"\xff") + b"\r\n",
        LINE.replace(b"4", b"4#x") + b"\r\n",
        LINE.replace(b" HTTP", b" x HTTP") + b"\r\n",
        LINE.replace(b"\r", b"") + b"\r\n\r\n",
        LINE + b"X: a\r\n b\r\n\r\n",
        LINE + b"X: a\nY: b\r\n\r\n",
        LINE + b"X: a\rY: b\r\n\r\n",
        LINE + b"X : a\r\n\r\n",
        LINE + b"X: \0\r\n\r\n",
        LINE + b"no header\r\n\r\n",
        LINE + b": nameless\r\n\r\n",
        LINE + b"Connection: keep-alive\r\nConnection: close\r\n\r\n",
        LINE + b"Connection: close, x\r\n\r\n",
        LINE + b"Upgrade: websocket\r\n\r\n",
        LINE + b"Expect: 100-continue\r\n\r\n",
        LINE + b"Transfer-Encoding: chunked\r\n\r\n",
        LINE + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_anything_else_is_not_ordinary(data: bytes) -> None:
    assert plain_request(data) is None
