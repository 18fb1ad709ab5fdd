"""Idle and request timeouts, flow control, and shutdown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette

from tests.support.servers.http_server import (
    Connection,
    HttpServer,
    echo,
    get,
    http_server,
    request,
)
from tests.support.servers.serving import TIMEOUT, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    "before",
    [[], [echo("a")], [get("/hello")], [echo("a"), get("/hello")], [get("/hello"), echo("a")]],
    ids=["nothing", "call", "other", "call, other", "other, call"],
)
async def test_an_idle_connection_is_closed(
    short_timeouts: HttpServer, before: list[bytes]
) -> None:
    async with short_timeouts.connect() as client:
        for sent in before:
            assert (await client.call(sent)).status == 200
        assert await client.until_closed() == b""
        await until(lambda: short_timeouts.connections == 0)


@pytest.mark.parametrize("before", [[], [get("/hello")]], ids=["first", "later"])
async def test_an_incomplete_request_times_out(
    short_timeouts: HttpServer, before: list[bytes]
) -> None:
    async with short_timeouts.connect() as client:
        for sent in before:
            await client.call(sent)
        await client.send(echo("never")[:-3])
        assert await client.until_closed() == b""
        await until(lambda: short_timeouts.connections == 0)


async def test_a_slow_body_is_waited_for(short_timeouts: HttpServer, endpoints: Any) -> None:
    body = json.dumps("slowly").encode()
    async with short_timeouts.connect() as client:
        await client.send(echo("slowly")[: -len(body)])
        for n in range(len(body)):
            await asyncio.sleep(0.06)  # more than the request timeout in all
            await client.send(body[n : n + 1])
        assert (await client.answer()).json == "slowly"


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


# -- shutdown ------------------------------------------------------------------------------
@pytest.mark.parametrize("before", [[], [get("/hello")]], ids=["first", "later"])
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
