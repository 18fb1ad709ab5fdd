"""Servers of this package answer the requests of TypeScript servers."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.defaults.typescript.conftest import Cluster
from tests.defaults.typescript.test_emits import clients_of, fence
from tests.support.clients.node import Node
from tests.support.clients.python_socketio import SERVER_DISCONNECT
from tests.support.servers.serving import token


async def test_fetch_sockets_finds_the_sockets_of_every_server(cluster: Cluster, js: Node) -> None:
    clients = [await js.connect(url, {"token": token()}) for url in cluster.urls]
    stranger = await js.connect(cluster.ours[0].url, {})
    for client in clients:
        assert await client.call("track:vehicle", "v1") == {"success": True}
    found = await cluster.theirs[0].call("fetchSockets", {})
    assert sorted(each["id"] for each in found) == sorted(
        str(each.id) for each in (*clients, stranger)
    )
    some = await cluster.theirs[0].call(
        "fetchSockets", {"rooms": ["vehicle:v1"], "except": [clients[0].id]}
    )
    rooms = {each["id"]: set(each["rooms"]) for each in some}
    assert rooms == {
        client.id: {client.id, "user:u1", "authenticated", "vehicle:v1"} for client in clients[1:]
    }


async def test_every_server_is_counted(cluster: Cluster) -> None:
    assert await cluster.theirs[0].call("allSockets") == 4


@pytest.mark.parametrize("kind", ["classic"], indirect=True)
async def test_all_rooms(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        await clients_of(stack, cluster, "u7", "v1")
        rooms = await cluster.theirs[0].call("allRooms")
        assert {"user:u7", "vehicle:v1", "authenticated"} <= set(rooms)
        assert "realtime:authenticated" not in rooms
        assert len(rooms) == 3 + 4  # and each socket's own


async def test_sockets_join_and_leave_rooms(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        clients = await clients_of(stack, cluster, "u1")
        others = await clients_of(stack, cluster, "u2")
        first = cluster.theirs[0]
        await first.call("socketsJoin", {"rooms": ["user:u1"]}, ["fleet", "depot"])
        await fence(cluster, [*clients, *others], 1)
        await cluster.wait_subscribed("fleet", "depot")
        for sender in ("theirs", "ours"):
            await emit(cluster, sender, "fleet")
        for client in clients:
            await client.next("fleet", 2)
            assert sorted(client.of("fleet")) == ["ours", "theirs"]
        await first.call("socketsLeave", {"rooms": ["fleet"]}, ["fleet"])
        await fence(cluster, [*clients, *others], 2)
        await emit(cluster, "theirs", "fleet")
        await emit(cluster, "ours", "depot")
        for client in clients:
            await client.next("depot")
        await fence(cluster, [*clients, *others], 3)
        assert [len(client.of("fleet")) for client in clients] == [2] * 4
        assert [client.of("fleet") for client in others] == [[]] * 4


async def emit(cluster: Cluster, sender: str, room: str) -> None:
    """Emit an event named after a room to that room."""
    if sender == "ours":
        await cluster.ours[0].server.socket_io.emit(room, sender, room=room)
    else:
        await cluster.theirs[0].call("emit", {"rooms": [room]}, room, sender)


async def test_disconnect_sockets(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        cut = await clients_of(stack, cluster, "u1", "v1")
        spared = await clients_of(stack, cluster, "u2", "v1")
        await cluster.theirs[0].call(
            "disconnectSockets", {"rooms": ["vehicle:v1"], "except": ["user:u2"]}, True
        )
        for client in cut:
            assert await client.until_disconnected() in (SERVER_DISCONNECT, "transport close")
        await fence(cluster, spared)
        assert all(client.connected for client in spared)


async def test_server_side_emits_are_answered_with_nothing(cluster: Cluster) -> None:
    answers = await cluster.theirs[0].call("serverSideEmitWithAck", "hello")
    assert sorted(answers, key=str) == [None, None, "heard"]
    await cluster.theirs[0].call("serverSideEmit", "bye")
    assert await cluster.theirs[0].call("serverSideEmitWithAck", "fence")
    assert cluster.theirs[1].server_side == [["hello"], ["bye"], ["fence"]]


async def test_emits_with_acknowledgements_do_not_reach_clients_of_this_package(
    cluster: Cluster,
) -> None:
    async with AsyncExitStack() as stack:
        clients = await clients_of(stack, cluster, "u1")
        answers = await cluster.theirs[0].call("emitWithAck", "question", 1)
        assert answers == [1, 1]  # python-socketio's clients here give back what they got
        assert [client.of("question") for client in clients] == [[], [], [1], [1]]
