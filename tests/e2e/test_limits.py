"""Limits on what one client may do, and what happens when it exceeds them."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import connect as websocket

from tests.support.clients.engineio import raw_socket, socket_url
from tests.support.clients.node import Node, js_connect
from tests.support.clients.python_socketio import (
    SERVER_DISCONNECT,
    Connect,
    Refusal,
    Serve,
    python_connect,
)
from tests.support.servers.serving import Live, token, until

SUCCESS = {"success": True}


async def test_the_handshake_contains_the_documented_intervals(live: Live) -> None:
    async with websocket(socket_url(live)) as raw:
        opened = json.loads(str(await raw.recv()).removeprefix("0"))
    del opened["sid"]
    assert opened == {
        "upgrades": [],
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 65_536,
    }


async def test_a_client_that_does_not_answer_pings_is_closed(
    serve: Serve, connect: Connect
) -> None:
    async with (
        serve(ping_interval=1_000, ping_timeout=500) as live,
        raw_socket(live) as silent,
        connect(live) as answering,
    ):
        frames = [frame async for frame in silent]  # until the server closes it
        assert frames.count("2") == 1
        await until(lambda: live.server.connection_count == 1)
        assert await answering.call("track:vehicle", "v1") == SUCCESS


async def test_too_many_events_are_refused_and_then_disconnect(
    serve: Serve, connect: Connect
) -> None:
    async with (
        serve(max_events_per_second=0.001, max_events_burst=20) as live,
        connect(live) as client,
        connect(live) as other,
    ):
        for number in range(20):
            assert await client.call("track:vehicle", f"v{number}") == SUCCESS
        answer = await client.call("track:vehicle", "v20")
        assert (answer["success"], answer["code"]) == (False, "rate_limited")
        assert client.of("error") == ["Rate limit"]
        assert await other.call("track:vehicle", "v1") == SUCCESS
        for _ in range(19):
            await client.emit("track:vehicle", "v20")
        assert await client.until_disconnected() == SERVER_DISCONNECT
        assert client.of("error") == ["Rate limit"]
        assert await other.call("track:vehicle", "v1") == SUCCESS


async def test_a_burst_of_five_hundred_is_accepted(live: Live) -> None:
    async with python_connect(live) as client:
        await asyncio.gather(*(client.emit("track:vehicle", f"v{n}") for n in range(499)))
        assert await client.call("track:vehicle", "last") == SUCCESS
        assert client.of("error") == []


async def test_connections_of_one_user_are_limited(serve: Serve, connect: Connect) -> None:
    async with (
        serve(max_connections_per_user=2) as live,
        connect(live) as one,
        connect(live, user=None) as two,
    ):
        assert await two.call("authenticate", token()) == SUCCESS
        async with connect(live, refused=True) as third:
            assert third.refused == Refusal("Too many connections", {"code": "rate_limited"})
        async with connect(live, user=None) as third:
            answer = await third.call("authenticate", token())
            assert (answer["success"], answer["code"]) == (False, "rate_limited")
            assert third.of("error") == ["Too many connections"]
            assert third.of("authenticated") == [
                {"success": False, "message": "Authentication failed"}
            ]
            assert await third.until_disconnected() == SERVER_DISCONNECT
        assert await two.call("authenticate", token()) == SUCCESS  # it counts once
        async with connect(live, user="u2") as another:
            assert await another.call("track:vehicle", "v1") == SUCCESS
        await one.disconnect()
        await until(lambda: live.server.connection_count == 1)
        async with connect(live) as third:
            assert await third.call("track:vehicle", "v1") == SUCCESS


async def test_connections_of_one_user_are_refused_where_a_token_is_required(
    serve: Serve, connect: Connect
) -> None:
    async with (
        serve(max_connections_per_user=1, require_handshake_auth=True) as live,
        connect(live),
        connect(live, refused=True) as second,
    ):
        assert second.refused == Refusal("Too many connections", {"code": "rate_limited"})


async def test_connections_from_one_address_are_limited(serve: Serve, connect: Connect) -> None:
    async with (
        serve(max_connections_per_address=2) as live,
        connect(live) as one,
        connect(live, user=None),
    ):
        async with connect(live, refused=True) as third:
            assert third.refused == Refusal("Too many connections", {"code": "rate_limited"})
        await one.disconnect()
        await until(lambda: live.server.connection_count == 1)
        async with connect(live) as third:
            assert await third.call("track:vehicle", "v1") == SUCCESS


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_message_over_the_limit_closes_the_connection(
    live: Live, js: Node, transport: str
) -> None:
    connect = js_connect(js, transports=[transport])
    async with connect(live) as client, connect(live) as other:
        fits = "x" * 60_000
        assert (await client.call("track:vehicle", fits))["code"] == "invalid_entity_id"
        await client.emit("track:vehicle", "x" * 70_000)
        assert await client.until_disconnected() in ("transport close", "transport error")
        await until(lambda: live.server.connection_count == 1)
        assert await other.call("track:vehicle", "v1") == SUCCESS
