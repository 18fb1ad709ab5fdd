"""Where a token is accepted, and how long a socket lives on it."""

from __future__ import annotations

import signal
import time
from typing import Any

import aiohttp

from tests.cli.processes import serve
from tests.support.clients.node import Node, js_connect
from tests.support.clients.python_socketio import SERVER_DISCONNECT
from tests.support.servers.serving import serving, token, until
from tests.support.servers.transports import BOTH_ON_UVICORN

CUT_WITHIN = 1.0 + 9.0
"""Seconds after its token's expiry within which a socket is closed: one, and what a busy machine
may add.  :mod:`tests.security.measure` measures the time."""


@BOTH_ON_UVICORN
async def test_a_socket_is_told_and_cut_when_its_token_expires(js: Node, portable: bool) -> None:
    exp = int(time.time()) + 6
    async with (
        serving(portable=portable) as live,
        js_connect(js)(live, auth={"token": token(exp=exp)}) as client,
        js_connect(js)(live) as forever,
    ):
        notice = await client.next("token:expiring")
        assert notice["expiresIn"] in range(4)
        expected = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(exp))
        assert notice["expiresAt"] == expected
        assert await client.until_disconnected() == SERVER_DISCONNECT
        assert exp <= time.time() < exp + CUT_WITHIN
        assert live.server.incidents.counts["token expired"] == 1
        assert await forever.call("track:vehicle", "v1") == {"success": True}
        assert forever.of("token:expiring") == []


@BOTH_ON_UVICORN
async def test_a_fresh_token_keeps_the_socket_and_what_it_still_may(
    js: Node, portable: bool
) -> None:
    exp = int(time.time()) + 2
    first = token(exp=exp, ids=["v1", "v2"])
    fresh = token(exp=exp + 3_600, ids=["v1"])
    async with (
        serving(portable=portable, extra_plugins=["tests.support.plugins.claimed_ids"]) as live,
        js_connect(js)(live, auth={"token": first}) as client,
    ):
        assert await client.call("track:vehicle", ["v1", "v2"]) == {"success": True}
        assert await client.call("authenticate", fresh) == {"success": True}
        assert client.of("tracking:revoked") == [{"type": "vehicle", "entityId": "v2"}]
        rooms = live.server.socket_io.manager
        assert sum(1 for _ in rooms.get_participants("/", "vehicle:v1")) == 1
        assert sum(1 for _ in rooms.get_participants("/", "vehicle:v2")) == 0
        await until(lambda: time.time() > exp + 0.6)  # the first token has expired
        await live.publish("v1")
        assert (await client.next("location:update"))["entityId"] == "v1"
        assert client.disconnected is None


async def test_the_notice_can_be_turned_off(js: Node) -> None:
    async with (
        serving(token_notice=0) as live,
        js_connect(js)(live, auth={"token": token(exp=int(time.time()) + 2)}) as client,
    ):
        assert await client.until_disconnected() == SERVER_DISCONNECT
        assert client.of("token:expiring") == []


async def test_leeway_is_given_to_a_socket_as_well(js: Node) -> None:
    exp = int(time.time()) - 5
    async with (
        serving(plugins={"jwt_auth": {"leeway": 7}}) as live,
        js_connect(js)(live, auth={"token": token(exp=exp)}) as client,
    ):
        assert await client.until_disconnected() == SERVER_DISCONNECT
        assert exp + 7 <= time.time() < exp + 7 + CUT_WITHIN


async def test_an_expired_token_does_not_renew(js: Node) -> None:
    soon, late = int(time.time()) + 60, int(time.time()) - 1
    async with (
        serving() as live,
        js_connect(js)(live, auth={"token": token(exp=soon)}) as client,
    ):
        answer = await client.call("authenticate", token(exp=late))
        assert answer == {
            "success": False,
            "message": "Authentication failed",
            "code": "invalid_token",
        }
        assert await client.until_disconnected() == SERVER_DISCONNECT
        await until(lambda: live.server.connection_count == 0)


# -- where a token is read -----------------------------------------------------------------


@BOTH_ON_UVICORN
async def test_a_token_in_the_query_string_is_never_read(js: Node, portable: bool) -> None:
    async with serving(portable=portable) as live:
        for name in ("token", "access_token", "auth", "authorization", "jwt"):
            query: dict[str, Any] = {name: token()}
            client = await js.connect(live.url, {}, query=query)
            assert await client.call("track:vehicle", "v1") == {
                "success": False,
                "code": "not_authenticated",
                "message": "Not authenticated",
            }
            await client.disconnect()
            path = f"/api/tracking/vehicle/v1?{name}={token()}"
            status, _ = await live.get(path, headers={})
            assert status == 401


async def test_a_token_in_the_query_string_reaches_no_log(js: Node) -> None:
    async with serve() as served:
        secret = token()
        async with aiohttp.ClientSession() as session:
            for path in ("/api/tracking/vehicle/v1", "/nowhere", "/socket.io/"):
                async with session.get(f"{served.url}{path}?token={secret}") as response:
                    assert response.status in (400, 401, 404)
        client = await js.connect(served.url, {"token": "bad"}, query={"token": secret})
        await client.disconnect()
        line = await served.command.until_said("refused credentials")
        assert "DecodeError" in line
        assert await served.command.ended(signal.SIGTERM) == 0
    assert secret not in "".join(served.command.out + served.command.err)
