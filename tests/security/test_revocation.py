"""Revoked tokens, users and sessions are refused on every server within a second."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import jwt
import pytest

from atriz_realtime.api import (
    AuthenticationRejected,
    ConfigurationError,
    Credentials,
    EntityRef,
    Identity,
    InvalidRequest,
    Unavailable,
)
from atriz_realtime.defaults.revocations import revoke
from atriz_realtime.defaults.revocations.stored import Kind
from tests.faults.topology import Maker
from tests.support.clients.node import js_connect, node_clients
from tests.support.plugins.files import plugins_in
from tests.support.servers.serving import SECRET, Live, serving, token, until, watching
from tests.support.servers.transports import BOTH_ON_UVICORN

WITHIN = 1.0 + 9.0
"""Seconds within which every server knows: one, and what a busy machine may add.
:mod:`tests.security.measure` measures the time."""

EARLIER = int(time.time()) - 60
THEIRS = token("u1", jti="t1", sid="s1", iat=EARLIER)
OTHER = token("u2", jti="t2", sid="s2", iat=EARLIER)


@pytest.fixture
async def two(redis_url: str) -> AsyncIterator[tuple[Live, Live]]:
    """Two servers that share a Redis; the other one is served over ASGI."""
    async with (
        serving(redis_url=redis_url) as one,
        serving(redis_url=redis_url, portable=True) as other,
    ):
        yield one, other


async def status(live: Live, bearer: str) -> int:
    found, _ = await live.get(
        "/api/tracking/vehicle", headers={"Authorization": f"Bearer {bearer}"}
    )
    return found


async def refused(live: Live, bearer: str, limit: float = WITHIN) -> float:
    """Wait until a token is refused; returns how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(limit):
        while await status(live, bearer) != 401:
            await asyncio.sleep(0.02)
    return time.monotonic() - began


@pytest.mark.parametrize(("kind", "value"), [("token", "t1"), ("user", "u1"), ("session", "s1")])
async def test_sockets_are_cut_and_calls_refused_on_every_server(
    two: tuple[Live, Live], node_port: int, kind: Kind, value: str
) -> None:
    async with node_clients(node_port) as process, contextlib.AsyncExitStack() as stack:
        connect = js_connect(process, transports=["websocket"])
        theirs = [
            await stack.enter_async_context(connect(live, auth={"token": THEIRS})) for live in two
        ]
        others = [
            await stack.enter_async_context(connect(live, auth={"token": OTHER})) for live in two
        ]
        for live in two:
            assert await status(live, THEIRS) == 200  # and cached
        began = time.monotonic()
        await revoke(two[0].server.signals, kind, value)
        for client in theirs:
            assert await client.until_disconnected() == "io server disconnect"
        for live in two:
            await refused(live, THEIRS)
            assert await status(live, OTHER) == 200
        assert time.monotonic() - began < WITHIN
        assert all(client.connected for client in others)


async def test_a_revoked_user_may_return_with_a_newer_token(two: tuple[Live, Live]) -> None:
    before = int(time.time())
    await revoke(two[0].server.signals, "user", "u1")
    await refused(two[1], THEIRS)
    assert await status(two[1], token("u1")) == 401  # it has no time of issue
    assert await status(two[1], token("u1", iat=before)) == 401  # the same second, or just before
    held = Identity(user_id="u1", claims={"iat": int(time.time()) + 1})
    assert two[1].server.permissions._access.is_accepted(held)


async def test_a_socket_is_revoked_by_its_id(two: tuple[Live, Live]) -> None:
    async with watching(two[1]) as watcher, watching(two[1]) as other:
        sid = watcher.client.get_sid()
        await revoke(two[0].server.signals, "session", sid)
        await until(lambda: not watcher.client.connected)
        assert other.client.connected


@BOTH_ON_UVICORN
async def test_a_handshake_is_refused(portable: bool) -> None:
    async with serving(portable=portable) as live, watching(live, user=None) as watcher:
        await revoke(live.server.signals, "token", "t1")
        assert (await watcher.call("authenticate", THEIRS))["code"] == "invalid_token"


@BOTH_ON_UVICORN
async def test_a_token_that_is_remembered_is_refused_once_it_is_revoked(portable: bool) -> None:
    async with (
        serving(portable=portable) as live,
        watching(live, user=None) as first,
        watching(live, user=None) as second,
    ):
        assert await first.call("authenticate", THEIRS) == {"success": True}
        await revoke(live.server.signals, "token", "t1")
        assert (await second.call("authenticate", THEIRS))["code"] == "invalid_token"


GATED = """
import asyncio

gate = asyncio.Event()
waiting = []

@hookimpl
def register_filters():
    async def apply(event):
        waiting.append(event)
        await gate.wait()
        return event

    return Filter("gated", apply)
"""


@pytest.mark.parametrize("over_socket", [False, True], ids=["http", "socket"])
async def test_a_batch_that_is_under_way_publishes_no_more(
    tmp_path: Path, over_socket: bool
) -> None:
    batch = [{"vehicleId": "v1", "latitude": 1, "longitude": number} for number in range(3)]
    with plugins_in(tmp_path) as plugins:
        name = plugins.module("gated", GATED)
        async with serving(extra_plugins=[name]) as live, watching(live, user=None) as device:
            gated = plugins.loaded(name)
            posting: asyncio.Task[Any] | None = None
            if over_socket:
                await device.call("authenticate", THEIRS)
                await device.client.emit("location:publish", batch)
            else:
                theirs = {"Authorization": f"Bearer {THEIRS}"}
                post = live.post("/api/tracking/batch", {"updates": batch}, headers=theirs)
                posting = asyncio.create_task(post)
            await until(lambda: gated.waiting)
            await revoke(live.server.signals, "token", "t1")
            gated.gate.set()
            if posting is not None:
                _, answer = await posting
                assert [each["code"] for each in answer["rejected"]] == ["invalid_token"] * 3
            incidents = live.server.incidents
            await until(lambda: incidents.counts["refused invalid_token"] == 3)
            others = {"Authorization": f"Bearer {OTHER}"}
            assert (await live.get("/api/tracking/vehicle/v1", headers=others))[0] == 404


UNDECIDED = """
import asyncio

gate = asyncio.Event()
waiting = []

@hookimpl
def register_authorizers():
    async def may_track(identity, entity):
        waiting.append(entity)
        await gate.wait()
        return True

    return Authorizer("undecided", may_track=may_track)
"""


@pytest.mark.parametrize("path", ["/api/tracking/vehicle/v1", "/api/tracking/vehicle"])
async def test_a_read_that_is_under_way_shows_nothing(tmp_path: Path, path: str) -> None:
    with plugins_in(tmp_path) as plugins:
        name = plugins.module("undecided", UNDECIDED)
        async with serving(extra_plugins=[name]) as live:
            undecided = plugins.loaded(name)
            await live.publish("v1")
            theirs = {"Authorization": f"Bearer {THEIRS}"}
            reading = asyncio.create_task(live.get(path, headers=theirs))
            await until(lambda: undecided.waiting)
            await revoke(live.server.signals, "token", "t1")
            undecided.gate.set()
            status, answer = await reading
            assert (status, answer["code"]) == (401, "invalid_token")


async def test_a_new_server_knows_a_revocation_and_a_redis_that_lost_it_is_told_again(
    redis_url: str, redis_client: Any
) -> None:
    async with serving(redis_url=redis_url) as one:
        await revoke(one.server.signals, "token", "t1", expires=time.time() + 60)
        async with serving(redis_url=redis_url) as later:
            await refused(later, THEIRS)
        await redis_client.flushall()
        async with serving(redis_url=redis_url) as later:
            await refused(later, THEIRS)
        assert 0 < await redis_client.ttl("{realtime:revocations}") <= 60 + 600


async def test_a_revocation_survives_an_outage_of_redis(maker: Maker) -> None:
    async with (
        maker.single() as redis,
        serving(redis_url=redis.url) as one,
        serving(redis_url=redis.url) as other,
    ):
        redis.kill()
        with pytest.raises(Unavailable):
            await revoke(one.server.signals, "token", "t1")
        with pytest.raises(AuthenticationRejected):
            await one.server.permissions._access.authenticate(Credentials(token=THEIRS))
        await redis.start()
        await refused(other, THEIRS, 10)


async def test_a_revocation_expires() -> None:
    async with serving(plugins={"revocations": {"max_life": 60}}) as live:
        await revoke(live.server.signals, "token", "t1", expires=time.time() - 599.0)
        assert await status(live, THEIRS) == 401
        async with asyncio.timeout(5):
            while await status(live, THEIRS) != 200:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(("kind", "claim"), [("token", "jti"), ("user", "sub"), ("session", "sid")])
async def test_an_integer_in_a_token_is_revoked_as_an_integer(kind: Kind, claim: str) -> None:
    claims: dict[str, Any] = {"sub": "u1", claim: 42}
    bearer = jwt.encode(claims, SECRET, "HS256")
    async with serving() as live:
        assert await status(live, bearer) == 200
        await revoke(live.server.signals, kind, 42)
        assert await status(live, bearer) == 401
        with pytest.raises(TypeError, match="must be a string or an integer, not float"):
            await revoke(live.server.signals, kind, cast("Any", 4.2))


@pytest.mark.parametrize("value", ["", "x" * 257])
async def test_an_invalid_name_cannot_be_revoked(value: str) -> None:
    async with serving() as live:
        with pytest.raises(InvalidRequest):
            await revoke(live.server.signals, "token", value)


@pytest.mark.parametrize(
    "off",
    [{"disabled_plugins": ["revocations"]}, {"disabled_hooks": ["revocations:server_started"]}],
)
async def test_without_the_plugin_a_revocation_fails(off: dict[str, Any]) -> None:
    async with serving(**off) as live:
        with pytest.raises(ConfigurationError, match="the plugin revocations is disabled"):
            await revoke(live.server.signals, "token", "t1")
        assert await status(live, THEIRS) == 200


async def test_a_server_that_is_not_running_says_so() -> None:
    async with serving() as live:
        pass
    with pytest.raises(ConfigurationError, match="is not running"):
        await revoke(live.server.signals, "token", "t1")
    with pytest.raises(Unavailable, match="is not running"):
        await live.server.permissions.revoke("u1", EntityRef("vehicle", "v1"))


async def test_the_command_line_revokes(two: tuple[Live, Live], redis_url: str) -> None:
    assert [await status(live, THEIRS) for live in two] == [200, 200]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "atriz_realtime.cli",
        "revoke",
        "user",
        "u1",
        env={"REDIS_URL": redis_url, "JWT_SECRET": SECRET},
        stdout=subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert printed == b"revoked user u1\n"
    for live in two:
        assert await refused(live, THEIRS) < WITHIN
