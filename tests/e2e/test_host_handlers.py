"""A host's own handlers on ``server.socket_io`` work beside the server's handlers."""

from __future__ import annotations

from typing import Any

import pytest
import socketio
import socketio.exceptions

from tests.support.checks.loop_errors import LOOP_ERRORS
from tests.support.clients.node import Node
from tests.support.clients.python_socketio import SERVER_DISCONNECT, Connect, Refusal, Serve
from tests.support.servers.serving import Live, token, until


@pytest.fixture
def io(live: Live) -> socketio.AsyncServer:
    """The Socket.IO server that a host registers handlers on."""
    return live.server.socket_io


async def test_a_host_s_event_with_and_without_an_acknowledgement(
    live: Live, io: socketio.AsyncServer, connect: Connect
) -> None:
    async def chat(sid: str, text: str, *more: Any) -> Any:
        await io.emit("chat", {"from": sid, "text": text}, room="vehicle:v1")
        return "said", text, list(more)

    io.on("chat", chat)

    def add(sid: str, numbers: list[int]) -> int:
        return sum(numbers)

    io.on("sum", add)

    async with connect(live) as client, connect(live, user=None) as stranger:
        await client.call("track:vehicle", "v1")
        await stranger.emit("chat", "hello")
        assert (await client.next("chat"))["text"] == "hello"
        assert await client.call("chat", "again", 1, None) == ("said", "again", [1, None])
        assert await client.call("sum", [1, 2, 3]) == 6
        await live.publish("v1")
        assert (await client.next("location:update"))["entityId"] == "v1"


async def test_a_failing_handler_of_the_host_does_not_disturb_the_socket(
    live: Live, io: socketio.AsyncServer, connect: Connect
) -> None:
    async def broken(sid: str) -> None:
        raise LookupError("as planned")

    io.on("broken", broken)

    async with connect(live) as client:
        await client.emit("broken")
        assert await client.call("track:vehicle", "v1") == {"success": True}
    await until(lambda: LOOP_ERRORS.reports)
    assert all("LookupError: as planned" in report for report in LOOP_ERRORS.take())


async def test_a_catch_all_gets_the_events_without_another_handler(
    live: Live, io: socketio.AsyncServer, connect: Connect
) -> None:
    caught: list[tuple[str, tuple[Any, ...]]] = []

    async def anything(event: str, sid: str, *arguments: Any) -> str:
        caught.append((event, arguments))
        return "caught"

    io.on("*", anything)

    async with connect(live) as client:
        assert await client.call("surprise", 1, {"two": 2}) == "caught"
        assert await client.call("track:vehicle", "v1") == {"success": True}
        assert await client.call("authenticate", token()) == {"success": True}
        assert caught == [("surprise", (1, {"two": 2}))]


async def test_the_host_calls_a_client_and_stores_a_session_for_it(
    live: Live, io: socketio.AsyncServer, connect: Connect
) -> None:
    sids: list[str] = []

    async def accept(sid: str, environ: dict[str, Any], auth: dict[str, Any]) -> None:
        await io.save_session(sid, {"path": environ["PATH_INFO"]})
        await io.enter_room(sid, "lobby")
        sids.append(sid)

    io.on("connect", accept)

    async with connect(live) as client:
        (sid,) = sids
        assert await io.call("question", ("a", {"b": 1}), to=sid, timeout=10) == ("a", {"b": 1})
        assert client.received == [("question", ["a", {"b": 1}])]
        assert await io.get_session(sid) == {"path": "/socket.io/"}
        assert set(io.rooms(sid)) >= {sid, "lobby", "user:u1"}
        await io.emit("hello", room="lobby")
        await client.next("hello")
        await io.close_room("lobby")
        assert "lobby" not in io.rooms(sid)
        await io.disconnect(sid)
        assert await client.until_disconnected() == SERVER_DISCONNECT


@pytest.mark.parametrize("refusal", ["false", "exception"])
async def test_the_host_refuses_connections(
    live: Live, io: socketio.AsyncServer, connect: Connect, refusal: str
) -> None:
    left: list[str] = []

    async def accept(sid: str, environ: dict[str, Any], auth: dict[str, Any]) -> bool:
        if auth.get("name") == "friend":
            return True
        if refusal == "exception":
            raise socketio.exceptions.ConnectionRefusedError("full", {"retry": 5})
        return False

    io.on("connect", accept)

    async def gone(sid: str, reason: str) -> None:
        left.append(reason)

    io.on("disconnect", gone)

    async with connect(live, auth={"token": token()}, refused=True) as client:
        if refusal == "exception":
            assert client.refused == Refusal("full", {"retry": 5})
    assert live.server.connection_count == 0
    await until(lambda: live.server.room_count == 0)
    assert left == []
    async with connect(live, auth={"token": token(), "name": "friend"}) as client:
        assert await client.call("track:vehicle", "v1") == {"success": True}
        assert live.server.connection_count == 1
    await until(lambda: left)
    await until(lambda: live.server.room_count == 0)
    assert live.server.connection_count == 0


@pytest.mark.parametrize("failure", [LookupError, TypeError])
@pytest.mark.parametrize("namespace", ["/", "/admin"])
@pytest.mark.parametrize("auth", [{}, {"token": token()}], ids=["unauthenticated", "authenticated"])
async def test_a_connect_handler_that_fails_refuses_and_leaves_nothing_behind(
    live: Live, js: Node, failure: type[Exception], namespace: str, auth: dict[str, Any]
) -> None:
    io = live.server.socket_io

    async def accept(sid: str, environ: dict[str, Any], auth: dict[str, Any]) -> None:
        raise failure("as planned")

    io.on("connect", accept, namespace=namespace)
    client = await js.connect(live.url + namespace, auth)
    assert client.refused == Refusal("Internal error", {"code": "internal"})
    await until(lambda: not io.eio.sockets)
    assert live.server.get_stats().items() >= {"connections": 0, "rooms": 0}.items()
    assert not io.manager.rooms


async def test_a_connect_handler_without_auth_serves_clients_without_it(
    live: Live, js: Node
) -> None:
    seen: list[str] = []

    async def accept(sid: str, environ: dict[str, Any]) -> None:
        seen.append(sid)

    live.server.socket_io.on("connect", accept)
    client = await js.connect(live.url, {})
    assert seen == [client.id]
    assert live.server.connection_count == 1


class Admin(socketio.AsyncNamespace):
    """A namespace of the host, with its own access rule."""

    def __init__(self) -> None:
        super().__init__("/admin")
        self.left: list[str] = []

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: dict[str, Any]) -> None:
        if auth.get("password") != "opensesame":
            raise socketio.exceptions.ConnectionRefusedError("admins only", {"why": 7})
        await self.enter_room(sid, "staff")

    async def on_disconnect(self, sid: str, reason: str) -> None:
        self.left.append(sid)

    async def on_count(self, sid: str, start: int) -> int:
        await self.emit("counted", start, room="staff")
        return start + 1


async def test_a_host_s_namespace(live: Live, io: socketio.AsyncServer, connect: Connect) -> None:
    admin = Admin()
    io.register_namespace(admin)
    async with connect(live, namespace="/admin", auth={"password": "?"}, refused=True) as client:
        assert client.refused == Refusal("admins only", {"why": 7})
    secret = {"password": "opensesame"}
    async with connect(live, namespace="/admin", auth=secret) as client:
        assert await client.call("count", 41) == 42
        assert client.received == [("counted", [41])]
        await live.server.broadcast_to_authenticated("notice", 1)
        await io.emit("notice", 2, namespace="/admin")
        assert await client.next("notice") == 2
        assert live.server.connection_count == 0  # counts sockets of the default namespace
    await until(lambda: admin.left)


async def test_an_event_that_nobody_handles_in_a_host_s_namespace_is_answered(
    live: Live, io: socketio.AsyncServer, connect: Connect
) -> None:
    io.on("known", lambda _: "heard", namespace="/chat")
    io.register_namespace(Admin())
    async with connect(live, namespace="/chat") as client:
        assert await client.call("known") == "heard"
        unknown = {"success": False, "code": "bad_request", "message": "unknown event"}
        assert await client.call("unknown", 1) == unknown
        await client.emit("unknown", 1)  # as in the default namespace
        assert await client.call("known") == "heard"
        assert client.received == []
    assert live.server.incidents.counts["refused bad_request"] == 1
    async with connect(live, namespace="/admin", auth={"password": "opensesame"}) as client:
        assert await client.call("unknown", 1) in (None, ())  # its class answers with nothing


async def test_unknown_events_in_a_host_s_namespace_take_from_the_error_budget(
    serve: Serve, connect: Connect
) -> None:
    async with serve(max_errors_per_second=0.001, max_errors_burst=3) as live:
        live.server.socket_io.on("known", lambda _: "heard", namespace="/chat")
        async with connect(live, namespace="/chat") as client:
            for _ in range(4):
                assert (await client.call("unknown"))["code"] == "bad_request"
            assert await client.until_disconnected() == SERVER_DISCONNECT
        assert live.server.incidents.counts["misbehaving client cut"] == 1


async def test_a_namespace_that_nobody_registered_is_refused(live: Live, connect: Connect) -> None:
    async with connect(live, namespace="/elsewhere", refused=True) as client:
        assert client.refused is not None


async def test_two_namespaces_share_one_connection(
    live: Live, io: socketio.AsyncServer, js: Node
) -> None:
    io.register_namespace(Admin())
    root = await js.connect(live.url, {"token": token()}, forceNew=False)
    admin = await js.connect(live.url + "/admin", {"password": "opensesame"}, forceNew=False)
    assert len(io.eio.sockets) == 1
    assert await admin.call("count", 1) == 2
    assert await root.call("track:vehicle", "v1") == {"success": True}
    await admin.disconnect()
    await admin.until_disconnected()
    await live.publish("v1")
    assert (await root.next("location:update"))["entityId"] == "v1"
    assert root.connected
