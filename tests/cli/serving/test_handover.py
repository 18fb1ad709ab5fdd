"""Connections that one worker hands over to another."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio
import uvloop
from starlette.applications import Starlette

from atriz_realtime import RealtimeExtension
from atriz_realtime.cli.serving import handover
from atriz_realtime.cli.serving.handover import MAX_LINE, Handover, sticky_protocol
from tests.support.servers.http_server import (
    OPEN,
    HttpServer,
    get,
    http_server,
    poll,
    post,
    request,
)
from tests.support.servers.serving import config, until


@attrs.define(eq=False)
class Workers:
    """Two workers; the second accepts nothing before it is started."""

    first: Handover
    second: Handover
    accepted: list[bytes] = attrs.field(factory=list)
    reports: list[tuple[str, str]] = attrs.field(factory=list)
    clients: list[socket.socket] = attrs.field(factory=list)

    def start(self) -> None:
        """Let the second worker accept connections."""
        accepted = self.accepted

        class Accepting(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport

            def data_received(self, data: bytes) -> None:
                accepted.append(data)
                self.transport.close()

        self.second.start(Accepting)

    def pass_on(self, data: bytes, owner: int = 1) -> bool:
        """Hand over a new connection, as if this had been read from it."""
        client, connection = socket.socketpair()
        self.clients.append(client)
        with connection:  # the worker closes its own descriptor
            return self.first.pass_on(owner, connection.fileno(), data)


@pytest_asyncio.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    reports: list[tuple[str, str]] = []

    def report(kind: str, message: str) -> None:
        reports.append((kind, message))

    workers = Workers(
        Handover(tmp_path, 0, report, 2), Handover(tmp_path, 1, report, 3), reports=reports
    )
    yield workers
    for each in (workers.first, workers.second):
        each.close()
    for client in workers.clients:
        client.close()


async def test_a_burst_of_connections_reaches_its_worker_in_order(workers: Workers) -> None:
    sent = [b"%d" % n for n in range(200)]
    assert all(map(workers.pass_on, sent))
    workers.start()
    await until(lambda: len(workers.accepted) == len(sent))
    assert workers.accepted == sent
    assert workers.pass_on(b"later")
    await until(lambda: workers.accepted[-1] == b"later")
    assert workers.reports == []


def test_what_another_worker_has_read_is_read_first(tmp_path: Path) -> None:
    """uvloop reads what follows while it is still setting the connection up."""
    received: dict[asyncio.Protocol, bytes] = {}

    class Accepting(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            received[self] = received.get(self, b"") + data

    async def run() -> None:
        workers = [Handover(tmp_path, number, lambda *_: None, number + 2) for number in range(2)]
        workers[1].start(Accepting)
        clients = []
        for _ in range(100):
            client, connection = socket.socketpair()
            clients.append(client)
            client.sendall(b"body")
            with connection:
                assert workers[0].pass_on(1, connection.fileno(), b"head, ")
        await until(lambda: len("".join(map(bytes.decode, received.values()))) == 100 * 10)
        for worker in workers:
            worker.close()
        for client in clients:
            client.close()

    uvloop.run(run())
    assert set(received.values()) == {b"head, body"}


async def test_what_waits_for_a_worker_is_bounded(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "MAX_QUEUED", 3)
    passed = [workers.pass_on(b"x") for _ in range(100)]
    assert passed == sorted(passed, reverse=True)
    assert workers.reports == [
        ("connection not handed over", "too many wait for their worker")
    ] * passed.count(False)
    workers.start()
    await until(lambda: len(workers.accepted) == passed.count(True))


async def test_the_bytes_that_wait_are_bounded(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "MAX_QUEUED_BYTES", 3_000)
    while workers.pass_on(b"x" * 1_000):
        assert len(workers.clients) < 100
    assert workers.pass_on(b"x") is False or len(workers.reports) == 1


async def test_a_worker_that_is_gone_loses_the_connections_that_wait(workers: Workers) -> None:
    while not workers.first._queues:
        assert workers.pass_on(b"x")
    workers.second.close()
    await until(lambda: not workers.first._queues)
    assert len(workers.reports) == 1
    client = workers.clients[-1]
    client.setblocking(False)
    assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
    workers.second = Handover(workers.first._directory, 1, workers.first._report, 3)
    workers.start()
    assert workers.pass_on(b"again")
    await until(lambda: workers.accepted == [b"again"])


async def test_a_session_of_no_worker_is_left_to_the_one_that_reads_it(workers: Workers) -> None:
    """Which refuses it, as one that has ended: the worker has gone in a rolling restart."""
    assert not workers.pass_on(b"x", owner=9_999)
    assert workers.reports == []


# -- what a worker reads of a request ------------------------------------------------------


class Recorded(Handover):
    """Takes what is handed over, and closes it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, 0, lambda *_: None, 1)
        self.passed: list[tuple[int, bytes]] = []

    def pass_on(self, owner: int, connection: int, data: bytes) -> bool:
        self.passed.append((owner, data))
        return True


@pytest_asyncio.fixture
async def worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[HttpServer, Recorded]]:
    """A worker, and what it hands over."""
    monkeypatch.setattr("atriz_realtime.http.request_deadlines.REQUEST_TIMEOUT", 0.3)
    app = Starlette()
    realtime = RealtimeExtension(config()).install(app)
    recorded = Recorded(tmp_path)
    http = realtime.http_protocol(sticky_protocol(recorded))
    recorded.start(asyncio.Protocol)
    async with http_server(app, http=http) as server:
        yield server, recorded
    recorded.close()


@pytest.mark.parametrize("before", [[], [get("/none")], [get("/none")[:9], get("/none")[9:]]])
@pytest.mark.parametrize("cut", [1, 9, 30, 56, 58, 61, 63, 70, 75, 90])
async def test_a_request_line_split_anywhere_is_handed_over(
    worker: tuple[HttpServer, Recorded], before: list[bytes], cut: int
) -> None:
    server, recorded = worker
    sent = poll("1~abc")
    async with server.connect() as client:
        if before:
            assert (await client.call(*before)).status == 404
        await client.send(sent[:cut], sent[cut:])
        await client.until_closed()
        assert recorded.passed[0][0] == 1
        assert recorded.passed[0][1] in (sent, sent[:cut])


async def test_the_rest_of_a_request_is_not_taken_for_a_request_line(
    worker: tuple[HttpServer, Recorded],
) -> None:
    server, recorded = worker
    line = b"GET /?sid=1~a HTTP/1.1\r\n"
    async with server.connect() as client:
        await client.send(b"POST /none HTTP/1.1\r\n")
        await client.send(line.replace(b":", b""))
        assert (await client.answer()).status == 400
    sent = request(line, "/none")
    async with server.connect() as client:
        assert (await client.call(sent[: -len(line)], line)).status == 404
    assert recorded.passed == []


async def test_half_a_request_line_is_waited_for_as_long_as_a_head(
    worker: tuple[HttpServer, Recorded],
) -> None:
    server, _ = worker
    for sent, status in ((b"GET /", 408), (b"GET /" + b"x" * MAX_LINE, 408)):
        async with server.connect() as client:
            await client.send(sent)
            assert (await client.answer()).status == status


async def test_a_request_line_without_an_end_is_refused(
    worker: tuple[HttpServer, Recorded],
) -> None:
    server, _ = worker
    async with server.connect() as client:
        answering = asyncio.create_task(client.answer())
        await client.send(b"GET /")
        while not answering.done():
            await client.send(b"x" * 6_000)
        assert (await answering).status == 400


# -- a worker that has retired -------------------------------------------------------------


async def test_a_retired_worker_keeps_its_sessions_and_passes_everything_else_on(
    worker: tuple[HttpServer, Recorded],
) -> None:
    server, recorded = worker
    async with server.connect() as client, server.connect() as used, server.connect() as other:
        sid = await client.open()
        for each in (used, other):
            assert (await each.call(request(b"{}"))).status == 400
        recorded.retire()
        protocol: Any = server.web.config.http_protocol_class
        protocol.passes_on = True
        assert (await client.call(post(sid, "40"))).status == 200
        fix, handshake = request(b"{}"), OPEN
        await used.send(fix)
        await used.until_closed()
        await other.send(handshake)
        await other.until_closed()
        assert recorded.passed == [(1, fix), (1, handshake)]


async def test_a_retired_worker_answers_what_its_successor_does_not_take(
    worker: tuple[HttpServer, Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, recorded = worker
    monkeypatch.setattr(Recorded, "pass_on", lambda *_: False)
    recorded.retire()
    protocol: Any = server.web.config.http_protocol_class
    protocol.passes_on = True
    async with server.connect() as client:
        assert (await client.call(request(b"{}"))).status == 400
        assert (await client.call(OPEN)).status == 200
