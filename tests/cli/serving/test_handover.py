"""Connections that one worker hands over to another."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import pytest_asyncio

from atriz_realtime.cli.serving import handover
from atriz_realtime.cli.serving.handover import Handover
from tests.support.servers.serving import until


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

    workers = Workers(Handover(tmp_path, 0, report), Handover(tmp_path, 1, report), reports=reports)
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
    workers.second = Handover(workers.first._directory, 1, workers.first._report)
    workers.start()
    assert workers.pass_on(b"again")
    await until(lambda: workers.accepted == [b"again"])


async def test_a_session_of_no_worker_is_reported(workers: Workers) -> None:
    """As an incident: counted, and logged once a minute whatever clients invent."""
    assert not workers.pass_on(b"x", owner=9_999)
    assert [kind for kind, _ in workers.reports] == ["connection not handed over"]
