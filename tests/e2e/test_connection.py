"""Connecting, authenticating, and being disconnected."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from websockets.asyncio.client import connect as websocket

from atriz_realtime.api import EntityRef
from tests.support.clients.engineio import socket_url
from tests.support.clients.node import Node
from tests.support.clients.python_socketio import (
    SERVER_DISCONNECT,
    Client,
    Connect,
    Refusal,
    Serve,
    python_connect,
)
from tests.support.servers.serving import SECRET, Live, token, until

FAILED = {"success": False, "message": "Authentication failed"}

BAD_TOKENS = {
    "another secret": token(secret="another-secret-of-thirty-two-bytes-"),
    "expired": token(exp=1),
    "no user": jwt.encode({"name": "u1"}, SECRET, "HS256"),
    "not a token": "letmein",
    "empty": "",
    "number": 42,
    "null": None,
    "object": {"token": token()},
}


# -- the handshake --------------------------------------------------------------------------


async def test_a_valid_token_in_the_handshake_authenticates(live: Live, connect: Connect) -> None:
    async with connect(live) as client:
        assert await client.call("track:vehicle", "v1") == {"success": True}
        assert client.of("authenticated") == []


async def test_whitespace_around_a_token_does_not_count(live: Live, connect: Connect) -> None:
    """A token that was read from a file ends with the file's line break."""
    async with connect(live, auth={"token": f" {token()}\r\n"}) as client:
        assert await client.call("track:vehicle", "v1") == {"success": True}
        assert await client.call("authenticate", f"{token()}\n") == {"success": True}


@pytest.mark.parametrize("auth", [{}, {"token": "letmein"}, {"token": 42}, {"token": None}])
async def test_a_bad_handshake_leaves_the_socket_unauthenticated(
    live: Live, connect: Connect, auth: dict[str, Any]
) -> None:
    async with connect(live, auth=auth) as client:
        await client.emit("track:vehicle", "v1")
        assert await client.next("error") == "Not authenticated"
        await client.emit("authenticate", token())
        assert await client.next("authenticated") == {"success": True}
        assert await client.call("track:vehicle", "v1") == {"success": True}


@pytest.mark.parametrize("auth", ["", '"letmein"', "[]", "42", '{"token":["x"]}', "{}"])
async def test_an_auth_of_another_shape_and_a_token_in_the_url_are_ignored(
    live: Live, auth: str
) -> None:
    async with websocket(f"{socket_url(live)}&token={token()}") as raw:
        assert str(await raw.recv()).startswith('0{"sid":')
        await raw.send("40" + auth)
        assert str(await raw.recv()).startswith('40{"sid":')
        await raw.send('42["track:vehicle","v1"]')
        assert await raw.recv() == '42["error","Not authenticated"]'


async def test_a_required_handshake_refuses_connections_without_a_good_token(
    serve: Serve, connect: Connect
) -> None:
    async with serve(require_handshake_auth=True) as live:
        async with connect(live, auth={}, refused=True) as client:
            assert client.refused == Refusal("Not authenticated", {"code": "not_authenticated"})
        async with connect(live, auth={"token": "letmein"}, refused=True) as client:
            assert client.refused == Refusal("Authentication failed", {"code": "invalid_token"})
        async with connect(live) as client:
            assert await client.call("track:vehicle", "v1") == {"success": True}
        await until(lambda: not live.server.socket_io.eio.sockets)
        assert live.server.get_stats().items() >= {"connections": 0, "rooms": 0}.items()


async def test_without_a_secret_every_token_is_refused(serve: Serve, connect: Connect) -> None:
    async with serve(jwt_secret=None) as live, connect(live) as client:
        await client.emit("track:vehicle", "v1")
        assert await client.next("error") == "Not authenticated"
        await client.emit("authenticate", token())
        assert await client.next("authenticated") == FAILED


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({"userId": "a", "id": "b", "sub": "c"}, "a"),
        ({"id": "b", "sub": "c"}, "b"),
        ({"sub": "c"}, "c"),
        ({"id": 7}, "7"),
    ],
)
async def test_the_claim_that_names_the_user(
    live: Live, connect: Connect, claims: dict[str, Any], user: str
) -> None:
    signed = jwt.encode(claims, SECRET, "HS256")
    async with connect(live, auth={"token": signed}) as client:
        await live.server.send_to_user(user, "hello", {"user": user})
        assert await client.next("hello") == {"user": user}


async def test_the_default_transport_upgrades_and_loses_nothing(live: Live, js: Node) -> None:
    stop = asyncio.Event()
    start = datetime.now(UTC) - timedelta(hours=1)

    async def publish() -> None:
        number = 0
        while not stop.is_set():
            moment = start + timedelta(milliseconds=number)
            await live.publish("v1", speed=number, timestamp=moment.isoformat())
            number += 1

    publishing = asyncio.create_task(publish())
    clients = [await js.open(live.url, {"token": token()}) for _ in range(10)]
    for client in clients:
        await client.emit("track:vehicle", "v1")
    try:
        await until(
            lambda: all(
                client.transports == ["polling", "websocket"] and len(client.updates) > 2
                for client in clients
            )
        )
    finally:
        stop.set()
        await publishing
    await live.publish("v1", speed=10_000)
    await until(lambda: all(speeds(client)[-1:] == [10_000] for client in clients))
    for client in clients:
        *seen, _ = speeds(client)
        assert seen == list(range(seen[0], seen[0] + len(seen)))


def speeds(client: Client) -> list[int]:
    return [update["location"]["speed"] for update in client.updates]


# -- authenticate ---------------------------------------------------------------------------


async def test_authenticate_with_a_good_token(live: Live, connect: Connect) -> None:
    async with connect(live, user=None) as client:
        await client.emit("authenticate", token())
        assert await client.next("authenticated") == {"success": True}
        assert await client.call("authenticate", token()) == {"success": True}


@pytest.mark.parametrize("user", [None, "u1"], ids=["unauthenticated", "authenticated"])
async def test_authenticate_with_a_bad_token_ends_the_connection(
    live: Live, connect: Connect, user: str | None
) -> None:
    for what, bad in BAD_TOKENS.items():
        async with connect(live, user=user) as client:
            await client.emit("authenticate", bad)
            assert await client.until_disconnected() == SERVER_DISCONNECT
            assert client.received == [("authenticated", [FAILED])], what
    await until(lambda: live.server.connection_count == 0)


async def test_a_track_waits_for_the_authenticate_before_it(live: Live, connect: Connect) -> None:
    async with connect(live, user=None) as client:
        await client.emit("authenticate", token())
        await client.emit("track:vehicle", "v1")
        await client.emit("untrack:vehicle", "v1")
        await client.emit("track:vehicle", "v2")
        assert await client.call("track:vehicle", "v3") == {"success": True}
        for entity_id in ("v1", "v2", "v3"):
            await live.publish(entity_id)
        await client.next("location:update", 2)
        assert [update["entityId"] for update in client.updates] == ["v2", "v3"]
        assert client.of("error") == []


async def test_a_change_of_user_leaves_what_the_old_user_joined(
    live: Live, connect: Connect
) -> None:
    async with connect(live, user="u1") as client:
        await client.call("track:vehicle", "v1")
        assert await client.call("authenticate", token("u2")) == {"success": True}
        assert await client.call("track:vehicle", "v2") == {"success": True}
        await live.publish("v1")
        await live.publish("v2")
        assert (await client.next("location:update"))["entityId"] == "v2"
        await live.server.send_to_user("u1", "secret", "of u1")
        await live.server.send_to_user("u2", "greeting", "of u2")
        assert await client.next("greeting") == "of u2"
        assert client.of("secret") == []


async def test_a_fresh_token_of_the_same_user_keeps_what_was_joined(
    live: Live, connect: Connect
) -> None:
    async with connect(live, user="u1") as client:
        await client.call("track:vehicle", "v1")
        await client.call("authenticate", token("u1", iat=1))
        await live.publish("v1")
        assert (await client.next("location:update"))["entityId"] == "v1"


# -- leaving --------------------------------------------------------------------------------


async def test_a_closed_socket_leaves_nothing_behind(live: Live, connect: Connect) -> None:
    server = live.server
    async with connect(live, user="u1") as one, connect(live, user="u2") as two:
        await one.call("track:vehicle", ["v1", "v2"])
        await two.call("track:vehicle", ["v2"])
        assert server.connection_count == 2
        # a room for each socket, a room for each user, vehicle:v1 and vehicle:v2
        assert server.room_count == 6
        await two.disconnect()
        await until(lambda: server.connection_count == 1)
        assert server.room_count == 4
    await until(lambda: server.connection_count == 0)
    assert server.room_count == 0
    await until(lambda: not server.socket_io.eio.sockets)


async def test_a_socket_that_never_authenticates_is_closed(serve: Serve) -> None:
    async with serve(auth_timeout=1) as live, python_connect(live) as known:
        async with python_connect(live, user=None) as late:
            assert await late.call("authenticate", token()) == {"success": True}
            async with python_connect(live, user=None) as never:
                assert await never.until_disconnected() == SERVER_DISCONNECT
            # the deadlines of the others passed before; they are still served
            assert await late.call("track:vehicle", "v1") == {"success": True}
        assert await known.call("track:vehicle", "v1") == {"success": True}


async def test_an_integer_names_the_user_whose_token_has_it(live: Live, connect: Connect) -> None:
    bus = EntityRef("vehicle", "v1")
    server = live.server
    sent: list[Any] = [server.send_to_user, server.permissions.revoke, server.permissions.recheck]
    async with connect(live, auth={"token": token("", userId=42)}) as client:
        assert await client.call("track:vehicle", bus.id) == {"success": True}
        await server.send_to_user(42, "hello", "there")
        assert await client.next("hello") == "there"
        await server.permissions.recheck(42)
        await server.permissions.revoke(42, bus)
        assert await client.next("tracking:revoked") == {"type": "vehicle", "entityId": "v1"}
        for function, arguments in zip(sent, [("hello", 1), (bus,), ()], strict=True):
            for wrong in (4.2, True, [42], UUID(int=42)):
                with pytest.raises(TypeError, match="an id must be a string or an integer"):
                    await function(wrong, *arguments)
