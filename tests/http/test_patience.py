"""Timeouts of HTTP connections, and how they close."""

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
    request,
    serving_http,
)
from tests.support.servers.serving import TIMEOUT, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    "before",
    [[], [echo("a")], [get("/hello")], [echo("a"), get("/hello")], [get("/hello"), echo("a")]],
    ids=["nothing", "call", "other", "call, other", "other, call"],
)
async def test_an_idle_connection_is_closed(impatient: HttpServer, before: list[bytes]) -> None:
    async with impatient.connect() as client:
        for sent in before:
            assert (await client.call(sent)).status == 200
        assert await client.until_closed() == b""
        await until(lambda: impatient.connections == 0)


@pytest.mark.parametrize("before", [[], [get("/hello")]], ids=["first", "later"])
async def test_a_call_that_stops_in_the_middle_is_given_up(
    impatient: HttpServer, before: list[bytes]
) -> None:
    async with impatient.connect() as client:
        for sent in before:
            await client.call(sent)
        await client.send(echo("never")[:-3])
        assert await client.until_closed() == b""
        await until(lambda: impatient.connections == 0)


async def test_a_body_that_goes_on_coming_is_waited_for(impatient: HttpServer, calls: Any) -> None:
    body = json.dumps("slowly").encode()
    async with impatient.connect() as client:
        await client.send(echo("slowly")[: -len(body)])
        for n in range(len(body)):
            await asyncio.sleep(0.06)  # more than the patience in all
            await client.send(body[n : n + 1])
        assert (await client.answer()).json == "slowly"


async def test_who_answers_is_waited_for(impatient: HttpServer, calls: Any) -> None:
    async with impatient.connect() as client:
        await client.send(request(b"{}", "/api/slow"))
        await asyncio.sleep(0.3)
        calls.gate.set()
        assert (await client.answer()).json == "slow"


async def test_without_keep_alive_clients_still_have_time_to_call(
    application: Callable[..., Starlette], calls: Any
) -> None:
    async with (
        serving_http(application(), timeout_keep_alive=0) as server,
        server.connect() as client,
    ):
        await asyncio.sleep(0.05)
        assert (await client.call(echo("late"))).json == "late"
        assert await client.until_closed() == b""


async def test_a_client_that_does_not_read_is_not_read(
    server: HttpServer, client: Connection
) -> None:
    """What it is owed is bounded by its connection's buffers, whatever it goes on asking."""
    (protocol,) = server.uvicorn_server.server_state.connections
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
async def test_a_call_that_is_under_way_is_answered_when_the_server_stops(
    application: Callable[..., Starlette], calls: Any, before: list[bytes]
) -> None:
    async with (
        serving_http(application()) as server,
        server.connect() as client,
        server.connect() as idle,
    ):
        for sent in before:
            await client.call(sent)
        await client.send(request(b"{}", "/api/slow"))
        await until(lambda: calls.called)
        server.uvicorn_server.should_exit = True
        assert await idle.until_closed() == b""
        calls.gate.set()
        answer = await client.answer()
        assert (answer.json, answer.headers["connection"]) == ("slow", "close")
        assert await client.until_closed() == b""


async def test_a_call_that_is_coming_is_answered_when_the_server_stops(
    application: Callable[..., Starlette], calls: Any
) -> None:
    async with (
        serving_http(application()) as server,
        server.connect() as client,
        server.connect() as idle,
    ):
        await client.send(echo("nearly")[:-3])
        server.uvicorn_server.should_exit = True
        assert await idle.until_closed() == b""
        answer = await client.call(echo("nearly")[-3:])
        assert (answer.json, answer.headers["connection"]) == ("nearly", "close")


async def test_a_client_that_is_gone_takes_its_calls_with_it(
    server: HttpServer, client: Connection, calls: Any
) -> None:
    await client.send(request(b"{}", "/api/slow") + echo("never"))
    await until(lambda: calls.called)
    await client.close()
    await until(lambda: server.connections == 0)
    calls.gate.set()
    async with server.connect() as other:
        assert (await other.call(echo("other"))).json == "other"
    assert calls.called == ["slow", '"other"']
