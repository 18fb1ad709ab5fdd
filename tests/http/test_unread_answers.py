"""Answers that clients do not read are given up, and slow clients are waited for."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from atriz_realtime.http import unread_answers
from atriz_realtime.http.unread_answers import (
    ANSWER_TIMEOUT,
    UnreadAnswers,
    close_soon,
    taken,
    unsent,
)
from tests.support.servers.certificates import certificate
from tests.support.servers.http_server import HttpServer, get, http_server, poll
from tests.support.servers.serving import TIMEOUT, until

SIZE = 16_000_000
"""Bytes of an answer: more than the kernel buffers on both sides."""

INCIDENT = "unread answer dropped"

ORIGIN = b"Origin: https://app.example"
"""A header with which uvicorn's own protocol answers."""

CLOSE = b"Connection: close"

ENDPOINT = f"""
@hookimpl
def register_endpoints():
    async def huge(call):
        return HttpAnswer(b"x" * {SIZE})

    return Endpoint("/api/huge", huge, method="GET")
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def whole(_: Request) -> Response:
    return Response(b"x" * SIZE)


async def stream(_: Request) -> Response:
    async def content() -> AsyncIterator[bytes]:
        for _ in range(SIZE // 16_000):
            yield b"x" * 16_000

    return StreamingResponse(content(), headers={"content-length": str(SIZE)})


@pytest.fixture(scope="module")
def make(application: Callable[..., Starlette], plugins: Any) -> Callable[[], Starlette]:
    """Make applications with large answers."""
    plugins.module("huge", ENDPOINT)

    def make() -> Starlette:
        app = application(extra_plugins=["huge"])
        app.router.routes += [Route("/whole", whole), Route("/stream", stream)]
        return app

    return make


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(make: Callable[[], Starlette]) -> AsyncIterator[HttpServer]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(unread_answers, "ANSWER_TIMEOUT", 0.2)
        async with http_server(make(), timeout_keep_alive=0.1) as server:
            yield server


@pytest_asyncio.fixture(loop_scope="module")
async def patient(
    make: Callable[[], Starlette], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[HttpServer]:
    """A server that gives up an unread answer only when the test says so."""
    monkeypatch.setattr(unread_answers, "ANSWER_TIMEOUT", 1_000)
    async with http_server(make(), timeout_graceful_shutdown=None) as server:
        yield server


@contextmanager
def reader(server: HttpServer, request: bytes) -> Iterator[socket.socket]:
    """A client that sends a request and reads nothing by itself."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.connect(("127.0.0.1", server.live.port))
        client.sendall(request)
        client.setblocking(False)
        yield client


async def read(client: socket.socket, size: int) -> None:
    """Read so many bytes."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT):
        while size > 0:
            data = await loop.sock_recv(client, size)
            assert data
            size -= len(data)


async def unread(server: HttpServer) -> tuple[UnreadAnswers, Any]:
    """Wait until an answer waits; returns what measures it, and its transport."""
    (protocol,) = await until(lambda: list(server.web.server_state.connections))
    measured: UnreadAnswers = protocol._shared.unread
    (transport,) = await until(lambda: list(measured._taken))
    return measured, transport


async def taken_more(transport: Any, before: int) -> None:
    """Wait until the client has taken more."""
    await until(lambda: taken(transport) > before)


ANSWERS = pytest.mark.parametrize(
    "request_",
    [
        get("/api/huge"),
        get("/api/huge", CLOSE),
        get("/api/huge", ORIGIN),
        get("/api/huge", ORIGIN, CLOSE),
        get("/whole"),
        get("/stream"),
        get("/stream", CLOSE),
    ],
    ids=[
        "endpoint",
        "endpoint, last",
        "fallback",
        "fallback, last",
        "route",
        "stream",
        "stream, last",
    ],
)


@ANSWERS
async def test_an_answer_that_is_never_read_is_given_up(
    server: HttpServer, request_: bytes
) -> None:
    before = server.realtime.incidents.counts[INCIDENT]
    with reader(server, request_):
        await until(lambda: server.realtime.incidents.counts[INCIDENT] == before + 1)
        await until(lambda: server.connections == 0)


async def test_the_kernel_gives_no_answer_up_before_the_server_does(server: HttpServer) -> None:
    """Under ``serve`` connections inherit the timeout of the listening socket.

    A client that takes something when its time has just begun has nearly twice that time.
    """
    protocol = server.realtime.websocket_protocol()
    assert protocol.ack_timeout > 2 * ANSWER_TIMEOUT * 1_000


async def test_the_answer_of_a_poll_is_given_up_after_its_session_has_ended(
    patient: HttpServer,
) -> None:
    async with patient.connect() as client:
        sid = await client.open()
    await until(lambda: patient.connections == 0)
    engine = patient.realtime.socket_io.eio
    await engine.send(sid, "x" * 8_000_000)
    with reader(patient, poll(sid)):
        measured, transport = await unread(patient)
        await engine.disconnect(sid)
        await until(lambda: sid not in engine.sockets)
        measured._taken[transport] = taken(transport) + SIZE  # no progress
        measured._deadlines._expire(transport, 0.0)
        await until(lambda: patient.connections == 0)
    assert patient.realtime.incidents.counts[INCIDENT] == 1


@ANSWERS
async def test_a_client_that_reads_slowly_is_waited_for(
    patient: HttpServer, request_: bytes
) -> None:
    """Its deadline passes again and again while it reads, and once it has stopped."""
    with reader(patient, request_) as client:
        measured, transport = await unread(patient)
        for _ in range(3):
            before = measured._taken[transport]
            await read(client, 1_000_000)
            await taken_more(transport, before)
            measured._deadlines._expire(transport, 0.0)
            assert patient.connections == 1
            assert measured._taken[transport] > before
        measured._taken[transport] = taken(transport) + SIZE  # no progress
        measured._deadlines._expire(transport, 0.0)
        await until(lambda: patient.connections == 0)
        assert not measured._taken


async def test_an_answer_that_is_read_is_forgotten(patient: HttpServer) -> None:
    with reader(patient, get("/api/huge")) as client:
        measured, transport = await unread(patient)
        await read(client, SIZE)
        await until(lambda: not transport.get_write_buffer_size())
        measured._deadlines._expire(transport, 0.0)
        assert (patient.connections, measured._taken) == (1, {})
    assert patient.realtime.incidents.counts[INCIDENT] == 0


async def test_a_lost_connection_is_forgotten(patient: HttpServer) -> None:
    with reader(patient, get("/api/huge")):
        measured, _ = await unread(patient)
    await until(lambda: patient.connections == 0)
    assert not measured._taken


@pytest.mark.parametrize("headers", [(), (ORIGIN,)], ids=["endpoint", "fallback"])
async def test_shutdown_does_not_wait_for_an_unread_answer(
    patient: HttpServer, headers: tuple[bytes, ...]
) -> None:
    with reader(patient, get("/api/huge", *headers)):
        await unread(patient)
        patient.web.should_exit = True
        await until(lambda: patient.connections == 0)


async def test_without_help_of_the_kernel_the_buffer_is_measured(
    patient: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread_answers, "_TCP_INFO", None)
    with reader(patient, get("/api/huge")) as client:
        _, transport = await unread(patient)
        before = taken(transport)
        assert before == -transport.get_write_buffer_size()
        await read(client, SIZE)
        await until(lambda: taken(transport) == 0)


@pytest.mark.asyncio(loop_scope="function")
async def test_a_tls_connection_of_asyncio_may_be_closed_twice(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path))
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    closed = asyncio.Event()

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.close()
        close_soon(writer.transport)
        assert unsent(writer.transport) == 0
        closed.set()

    async with await asyncio.start_server(close, "127.0.0.1", 0, ssl=context) as listening:
        port = listening.sockets[0].getsockname()[1]
        _, client = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        async with asyncio.timeout(TIMEOUT):
            await closed.wait()
        client.close()


class Unsent:
    """A transport in which bytes wait; the client takes some when the test says so."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.is_aborted = False

    def get_extra_info(self, _: str) -> None:
        """There is no socket to ask."""

    def get_write_buffer_size(self) -> int:
        return self.size

    def abort(self) -> None:
        self.is_aborted = True


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> tuple[UnreadAnswers, Counter[str]]:
    """A bound of 1,000 bytes, looked at with each answer; and what was reported."""
    monkeypatch.setattr(unread_answers, "MAX_UNREAD", 1_000)
    monkeypatch.setattr(unread_answers, "LOOK_AFTER", 0)
    counts: Counter[str] = Counter()

    def report(kind: str, message: str, *, labels: Mapping[str, str] | None = None) -> None:
        assert message
        counts[kind.format(**labels or {})] += 1

    return UnreadAnswers(report), counts


REACHED = "limit http.unread_answers.MAX_UNREAD reached"


async def test_of_all_answers_together_only_so_much_may_wait(
    bounded: tuple[UnreadAnswers, Counter[str]],
) -> None:
    answers, counts = bounded
    waiting = [Unsent(size) for size in (300, 400, 300)]
    for each in waiting:
        answers.begin(each)
    assert answers.waiting() == 1_000
    assert not counts
    last = Unsent(1)
    answers.begin(last)
    assert [each.is_aborted for each in [*waiting, last]] == [False, True, False, False]
    assert answers.waiting() == 601
    assert counts == {REACHED: 1}


async def test_who_takes_nothing_for_longest_goes_first(
    bounded: tuple[UnreadAnswers, Counter[str]],
) -> None:
    answers, _ = bounded
    idle, slow = Unsent(100), Unsent(900)
    for each in (slow, idle):
        answers.begin(each)
        answers._held[each].since -= 10  # seconds
    slow.size -= 1
    answers.begin(Unsent(100))
    assert (idle.is_aborted, slow.is_aborted) == (True, False)


async def test_an_answer_counts_whole_until_all_of_it_is_sent(
    bounded: tuple[UnreadAnswers, Counter[str]],
) -> None:
    answers, _ = bounded
    first, second = Unsent(900), Unsent(200)
    answers.begin(first)
    first.size = 1
    answers.begin(second)
    assert first.is_aborted
    third = Unsent(700)
    answers.begin(third)
    second.size = 0
    answers.begin(Unsent(300))
    assert not second.is_aborted
    assert not third.is_aborted


async def test_an_answer_that_is_larger_than_the_bound_is_sent(
    bounded: tuple[UnreadAnswers, Counter[str]],
) -> None:
    answers, counts = bounded
    large = Unsent(5_000)
    answers.begin(large)
    assert not large.is_aborted
    assert not counts


async def test_a_full_server_gives_up_connections(
    make: Callable[[], Starlette], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread_answers, "MAX_UNREAD", SIZE)
    async with http_server(make()) as server:
        with reader(server, get("/api/huge")):
            await unread(server)
            with reader(server, get("/whole")):
                await until(lambda: server.realtime.incidents.counts[REACHED] == 1)
                await until(lambda: server.connections == 1)
                statistics = server.realtime.reports.own().statistics["http"]
                assert 0 < statistics["unread"] <= SIZE
        await until(lambda: server.connections == 0)
