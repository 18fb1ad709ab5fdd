"""An emit to rooms, from either kind of server, reaches the sockets of all servers once."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from tests.defaults.typescript.conftest import Cluster
from tests.defaults.typescript.servers import client_of
from tests.support.clients.node import Node
from tests.support.clients.python_socketio import Client
from tests.support.servers.serving import token, until

KINDS = ("ours", "theirs")
ALL_BYTES = base64.b64encode(bytes(range(256))).decode()


async def clients_of(
    stack: AsyncExitStack, cluster: Cluster, user: str | None, *ids: str
) -> list[Client]:
    """A client on each server."""
    clients = [await stack.enter_async_context(client_of(url, user, *ids)) for url in cluster.urls]
    if user is not None:
        rooms = [f"vehicle:{each}" for each in ids]
        await cluster.wait_subscribed(f"user:{user}", "authenticated", *rooms)
    return list(clients)


async def fence(cluster: Cluster, clients: Sequence[Client], count: int = 1) -> None:
    """Wait until everything that the first server of each kind has emitted has arrived."""
    await cluster.ours[0].server.socket_io.emit("fence", "ours")
    await cluster.theirs[0].call("emit", {}, "fence", "theirs")
    for client in clients:
        await client.next("fence", 2 * count)


async def test_send_to_user(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        wanted = await clients_of(stack, cluster, "u1")
        others = await clients_of(stack, cluster, "u2")
        await cluster.ours[0].server.send_to_user("u1", "ours", {"at": 1.5, "text": "é"})
        await cluster.theirs[0].call("sendToUser", "u1", "theirs", {"at": 1.5, "text": "é"})
        for client in wanted:  # a room's channel and the fence's may overtake each other
            await client.next("ours")
            await client.next("theirs")
        await fence(cluster, [*wanted, *others])
        for client in wanted:
            assert client.of("ours") == client.of("theirs") == [{"at": 1.5, "text": "é"}]
        for client in others:
            assert {name for name, _ in client.received} == {"fence"}


async def test_broadcast_to_authenticated(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        known = await clients_of(stack, cluster, "u1")
        strangers = await clients_of(stack, cluster, None)
        await cluster.ours[0].server.broadcast_to_authenticated("ours", [1, None])
        await cluster.theirs[0].call("broadcastToAuthenticated", "theirs", [1, None])
        for client in known:
            await client.next("ours")
            await client.next("theirs")
        await fence(cluster, [*known, *strangers])
        for client in known:
            assert client.of("ours") == client.of("theirs") == [[1, None]]
        for client in strangers:
            assert {name for name, _ in client.received} == {"fence"}


async def test_rooms_and_exceptions(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        first = await clients_of(stack, cluster, "u1", "v1")
        second = await clients_of(stack, cluster, "u2", "v1", "v2")
        third = await clients_of(stack, cluster, "u3")
        call, io = cluster.theirs[0].call, cluster.ours[0].server.socket_io
        both = ["vehicle:v1", "vehicle:v2"]
        await call("emit", {"rooms": both}, "several", 1)
        await call("emit", {"rooms": both, "except": ["user:u2"]}, "but u2", 2)
        await call("emit", {"except": ["vehicle:v1"]}, "but v1", 3, "x", None)
        everyone = [*first, *second, *third]
        await fence(cluster, everyone)  # what is volatile is dropped while a socket is written to
        await call("emit", {"rooms": both, "flags": {"volatile": True}}, "volatile")
        await io.emit("ours several", ("a", None), room=both)
        await io.emit("ours all", {"b": 1})
        await io.emit("ours none", room=[])
        await fence(cluster, everyone, 2)

        def got(client: Client, kind: str) -> list[tuple[str, list[Any]]]:
            ours = [each for each in client.received if each[0].startswith("ours ")]
            if kind == "ours":
                return ours
            return [each for each in client.received if each not in ours and each[0] != "fence"]

        several: list[Any] = [("several", [1])]
        for client in first:
            assert got(client, "theirs") == [*several, ("but u2", [2]), ("volatile", [])]
        for client in second:
            assert got(client, "theirs") == [*several, ("volatile", [])]
        for client in third:
            assert got(client, "theirs") == [("but v1", [3, "x", None])]
        for client in (*first, *second):
            assert got(client, "ours") == [("ours several", ["a", None]), ("ours all", [{"b": 1}])]
        for client in third:
            assert got(client, "ours") == [("ours all", [{"b": 1}])]


async def test_a_local_emit_stays_on_its_server(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        clients = await clients_of(stack, cluster, "u1")
        await cluster.theirs[0].call("emit", {"flags": {"local": True}}, "local", 1)
        await fence(cluster, clients)
        assert [client.of("local") for client in clients] == [[], [], [1], []]


async def test_a_socket_s_id_is_a_room(cluster: Cluster, js: Node) -> None:
    clients = [await js.connect(url, {"token": token()}) for url in cluster.urls]
    call, io = cluster.theirs[0].call, cluster.ours[0].server.socket_io
    for client in clients:
        await call("emit", {"rooms": [client.id]}, "only", "theirs")
        await io.emit("only", "ours", room=client.id)
        await call("emit", {"except": [client.id]}, "others", [client.id, "theirs"])
        await io.emit("others", [client.id, "ours"], skip_sid=client.id)
    await fence(cluster, clients)
    for client in clients:
        await client.next("only", 2)
        assert sorted(client.of("only")) == ["ours", "theirs"]
        expected = [[other.id, kind] for other in clients if other is not client for kind in KINDS]
        assert sorted(client.of("others")) == sorted(expected)


async def test_binary_arguments_arrive_intact(cluster: Cluster) -> None:
    data = {"name": "x", "parts": [bytes(range(256)), b""]}
    async with AsyncExitStack() as stack:
        clients = await clients_of(stack, cluster, "u1")
        await cluster.ours[0].server.socket_io.emit("ours", data)
        encoded = {"name": "x", "parts": [{"$bytes": ALL_BYTES}, {"$bytes": ""}]}
        await cluster.theirs[0].call("emit", {}, "theirs", encoded)
        await fence(cluster, clients)
        for client in clients:
            assert client.of("ours") == client.of("theirs") == [data]


async def test_other_namespaces_are_not_bridged(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        clients = await clients_of(stack, cluster, "u1")
        await cluster.theirs[0].call("emitInNamespace", "stray", 1)
        await cluster.ours[0].server.socket_io.emit("stray", 2, namespace="/other")
        await fence(cluster, clients)
        for client in clients:
            assert {name for name, _ in client.received} == {"fence"}


async def test_a_socket_that_has_left_a_room_gets_no_more_emits(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        clients = await clients_of(stack, cluster, "u1", "v1")
        for client in clients:
            await client.emit("untrack:vehicle", "v1")
            await client.disconnect()
        await cluster.wait_subscribed("user:u1", "vehicle:v1", servers=0)
        stayed = await clients_of(stack, cluster, "u1")
        await until(lambda: all(live.server.connection_count == 1 for live in cluster.ours))
        await cluster.ours[0].server.send_to_user("u1", "notice", "ours")
        await cluster.theirs[0].call("sendToUser", "u1", "notice", "theirs")
        for client in stayed:
            await client.next("notice", 2)
            assert sorted(client.of("notice")) == ["ours", "theirs"]
        assert [client.of("notice") for client in clients] == [[]] * 4
