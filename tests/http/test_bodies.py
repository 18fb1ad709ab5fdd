"""What the bodies of requests take, all together, is bounded, as is the time in which they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from starlette.applications import Starlette

from atriz_realtime.http.bodies import Bodies
from tests.support.servers.http_server import Answer, HttpServer, echo, http_server, request
from tests.support.servers.serving import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORIGIN = b"Origin: https://app.example"
"""A header with which a request comes over ASGI."""

WAYS = pytest.mark.parametrize("headers", [(), (ORIGIN,)], ids=["endpoint", "asgi"])


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("bodies", "endpoints"):
        monkeypatch.setattr(f"atriz_realtime.http.{module}.MAX_HANDLED_LARGE", 4_000)
    monkeypatch.setattr("atriz_realtime.http.bodies.MAX_HANDLED", 8_000)
    monkeypatch.setattr("atriz_realtime.http.bodies.SMALL_BODY", 500)
    monkeypatch.setattr("atriz_realtime.http.bodies.MAX_ARRIVING", 2_500)


@pytest_asyncio.fixture(loop_scope="module")
async def server(application: Callable[..., Starlette], plugins: Any) -> AsyncIterator[HttpServer]:
    async with http_server(application()) as server:
        module = plugins.loaded("http_endpoints")
        module.called.clear()
        module.gate.clear()
        yield server
        module.gate.set()
        await until(lambda: server.connections == 0)
        assert numbers(server) == {"arriving": 0, "handled": 0}


@pytest.fixture
def endpoints(server: HttpServer, plugins: Any) -> Any:
    """The plugin whose endpoints are called."""
    return plugins.loaded("http_endpoints")


def bodies_of(server: HttpServer) -> Bodies:
    return server.realtime._http.endpoints.bodies


def numbers(server: HttpServer) -> dict[str, float]:
    """The bytes of bodies, as an operator sees them."""
    statistics = server.realtime.reports.own().statistics["http"]
    return {name: statistics[name] for name in ("arriving", "handled")}


def is_refused(answer: Answer) -> bool:
    """Whether an answer tells the client to send its request again."""
    return (answer.status, answer.json["code"], answer.headers["retry-after"]) == (
        503,
        "unavailable",
        "1",
    )


def reached(server: HttpServer, limit: str) -> int:
    return server.realtime.incidents.counts[f"limit http.bodies.{limit} reached"]


def slow(size: int, *headers: bytes) -> bytes:
    """A request that is answered when the gate opens."""
    return request(b"x" * size, "/api/slow", *headers)


@WAYS
async def test_the_body_that_began_first_is_refused_when_too_many_bytes_arrive(
    server: HttpServer, headers: tuple[bytes, ...], endpoints: Any
) -> None:
    async with server.connect() as first, server.connect() as second, server.connect() as third:
        await first.send(echo("a" * 1_000, *headers)[:-1])
        await until(lambda: numbers(server)["arriving"] == 1_001)
        await second.send(echo("b" * 1_000, *headers)[:-1])
        await until(lambda: numbers(server)["arriving"] == 2_002)
        assert (await third.call(echo("whole" * 200, *headers))).json == "whole" * 200
        await third.send(echo("c" * 1_000, *headers)[:-1])
        assert is_refused(await first.answer())
        assert numbers(server)["arriving"] == 2_002
        for client in (second, third):
            assert (await client.call(b'"')).status == 200
    assert reached(server, "MAX_ARRIVING") == 1
    assert server.realtime.incidents.counts["refused unavailable"] == 1
    assert [each[1] for each in endpoints.called] == ["w", "b", "c"]


@WAYS
async def test_a_body_that_takes_too_long_is_refused_however_fast_it_comes(
    server: HttpServer, headers: tuple[bytes, ...], endpoints: Any
) -> None:
    bodies = bodies_of(server)
    async with server.connect() as client:
        await client.send(echo("a" * 1_000, *headers)[:-1])
        (receiver,) = await until(lambda: list(bodies._sizes))
        bodies._deadlines._expire(receiver, 0.0)
        answer = await client.answer()
        assert (answer.status, answer.json["code"]) == (408, "request_timeout")
    assert not endpoints.called


@WAYS
async def test_a_connection_that_is_lost_holds_no_body(
    server: HttpServer, headers: tuple[bytes, ...], endpoints: Any
) -> None:
    async with server.connect() as arriving, server.connect() as handled:
        await arriving.send(echo("a" * 1_000, *headers)[:-1])
        await handled.send(slow(1_000, *headers))
        if not headers:  # pipelined
            await handled.send(slow(700))
        await until(lambda: endpoints.called == ["slow"])
        await until(lambda: numbers(server)["arriving"] == 1_001)
    await until(lambda: server.connections == 0)
    # what is being answered is held until that has ended
    await until(lambda: numbers(server) == {"arriving": 0, "handled": 1_000})
    endpoints.gate.set()
    await until(lambda: numbers(server)["handled"] == 0)


@WAYS
async def test_a_large_body_is_refused_while_many_bytes_are_handled(
    server: HttpServer, headers: tuple[bytes, ...], endpoints: Any
) -> None:
    async with server.connect() as first, server.connect() as second, server.connect() as third:
        for client in (first, third):
            await client.send(slow(1_750, *headers))
        await until(lambda: numbers(server)["handled"] == 3_500)
        assert is_refused(await second.call(echo("large" * 200, *headers)))
        assert numbers(server)["handled"] == 3_500
        assert (await second.call(echo("small", *headers))).json == "small"
        assert endpoints.called == ["slow", "slow", '"small"']
        endpoints.gate.set()
        for client in (first, third):
            assert (await client.answer()).json == "slow"
        assert (await second.call(echo("large" * 200, *headers))).status == 200
    assert reached(server, "MAX_HANDLED_LARGE") == 1
    assert server.realtime.incidents.counts["refused unavailable"] == 1


async def test_small_bodies_are_refused_at_a_bound_of_their_own(
    server: HttpServer, endpoints: Any
) -> None:
    async with server.connect() as first, server.connect() as second, server.connect() as third:
        for client in (first, third):
            await client.send(*[slow(400) for _ in range(10)])
        await until(lambda: numbers(server)["handled"] == 8_000)
        assert is_refused(await second.call(echo("small")))
        endpoints.gate.set()
        for client in (first, third):
            assert [(await client.answer()).json for _ in range(10)] == ["slow"] * 10
        assert (await second.call(echo("small"))).json == "small"
    assert reached(server, "MAX_HANDLED") == 1


async def test_a_refused_request_is_answered_in_its_place(
    server: HttpServer, endpoints: Any
) -> None:
    async with server.connect() as client:
        await client.send(slow(1_750), slow(1_750), echo("large" * 200), echo("small"))
        await until(lambda: numbers(server)["handled"] == 3_507)
        endpoints.gate.set()
        for _ in range(2):
            assert (await client.answer()).json == "slow"
        assert is_refused(await client.answer())
        assert (await client.answer()).json == "small"


async def test_a_body_alone_has_room_however_large_it_may_be(
    application: Callable[..., Starlette],
) -> None:
    async with http_server(application(max_body=10_000)) as server, server.connect() as client:
        large = echo("x" * 9_000)
        assert (await client.call(large)).status == 200
        await client.send(large[:-1])
        await until(lambda: numbers(server)["arriving"] == 9_001)
        assert (await client.call(large[-1:])).status == 200


async def test_the_largest_bodies_have_room_beside_others(
    application: Callable[..., Starlette], plugins: Any
) -> None:
    endpoints = plugins.loaded("http_endpoints")
    endpoints.gate.clear()
    async with (
        http_server(application(max_body=10_000)) as server,
        server.connect() as first,
        server.connect() as second,
        server.connect() as third,
    ):
        await first.send(slow(10_000))
        assert (await second.call(echo("x" * 9_998))).status == 200
        await second.send(slow(9_998))
        await until(lambda: numbers(server)["handled"] == 19_998)
        assert (await third.call(echo(""))).status == 200
        assert is_refused(await third.call(echo("x" * 1_000)))
        await third.send(*[slow(500) for _ in range(3)])
        endpoints.gate.set()
        for client in (first, second, third):
            assert (await client.answer()).json == "slow"


async def test_bodies_that_are_answered_at_once_take_no_room_from_each_other(
    server: HttpServer,
) -> None:
    """They come in the same turn of the event loop; together they have more than the bound."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.connect()) for _ in range(4)]
        for client in clients:
            await client.call(echo("a"))
        for connection in list[Any](server.web.server_state.connections):
            connection.data_received(echo("x" * 1_498))
        assert [(await client.answer()).status for client in clients] == [200] * 4


async def test_an_idle_connection_keeps_no_body(server: HttpServer) -> None:
    async with server.connect() as client:
        assert (await client.call(echo("x" * 1_000))).status == 200
        connection: Any = next(iter(server.web.server_state.connections))
        assert not connection._body


async def test_a_connection_that_is_lost_before_its_turn_holds_no_body(
    server: HttpServer,
) -> None:
    """The task that answers has not begun."""
    async with server.connect() as client:
        await client.call(echo("a"))
        connection: Any = next(iter(server.web.server_state.connections))
        connection.data_received(echo("x" * 1_000) + echo("y" * 1_000))
        assert numbers(server)["handled"] == 1_002  # the one that waits
        connection.connection_lost(None)
        assert numbers(server)["handled"] == 0
        await asyncio.sleep(0)
        assert numbers(server)["handled"] == 0
