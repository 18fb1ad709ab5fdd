"""``serve`` in real processes, from the banner to the signal."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import os
import re
import resource
import secrets
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis.asyncio
import socketio

from atriz_realtime.api import VERSION
from atriz_realtime.cli.serving.uvicorn_server import shown
from atriz_realtime.plugin_system.plugins import PluginInfo
from atriz_realtime.plugin_system.published_secrets import PUBLISHED_SECRETS
from tests.cli.processes import Served, environment, finished, only_line, own_uvicorn, serve
from tests.support.servers.serving import TIMEOUT, token, until

pytestmark = pytest.mark.usefixtures("plain")

ROOT = Path(__file__).parents[2]
PRINTED = re.compile(r"""JWT_SECRET=([\w-]+)$|(?:jwt_)?secret=["']([^"']+)["']""", re.MULTILINE)
"""Secrets in examples of the documentation."""

STOP_LIMIT = 5.0
"""Seconds within which a server exits after a signal, whoever is connected."""

on_its_own = functools.partial(own_uvicorn, "--timeout-graceful-shutdown", "1")
"""Plain uvicorn, with a time limit for open polls."""


async def health(url: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/health/realtime") as response,
    ):
        return response.status, (await response.json())["redis"]


async def test_one_line_says_what_is_serving() -> None:
    async with serve() as served:
        assert await health(served.url) == (200, "embedded")
        banner = json.loads(only_line("\n".join(served.command.err)))
        assert banner["url"] == f"http://127.0.0.1:{served.port}"
        assert (banner["host"], banner["version"]) == ("127.0.0.1", VERSION)
        assert banner["settings"].startswith("no atriz.toml in /")
        assert banner["redis"] == "embedded"
        assert {"jwt_auth", "vehicle", "http_api"} <= set(banner["plugins"].split(","))
        assert await served.command.ended(signal.SIGTERM) == 0
        assert served.command.out == []
    assert [json.loads(line)["event"] for line in served.command.err] == ["serving", "stopping"]


@pytest.mark.parametrize(
    ("version", "origin", "named"),
    [("1.0.0", "default", "boats"), ("-", "configuration", "boats"), ("1.2", "x", "boats/1.2")],
)
def test_a_plugin_is_named_with_a_version_of_its_own(version: str, origin: str, named: str) -> None:
    assert shown(PluginInfo("boats", version, origin, "active", ())) == named


async def test_settings_come_from_the_file_the_environment_and_the_command_line(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    file = tmp_path / "server.toml"
    file.write_text('[realtime]\nport = 1\nhost = "192.0.2.1"\ndisabled_plugins = ["delivery"]\n')
    env = environment(PORT="2", HOST="127.0.0.1")
    async with serve("--config", str(file), port=unused_tcp_port, env=env) as served:
        assert served.port == unused_tcp_port
        assert "delivery" not in (await served.command.until_said("serving")).split(",")


async def test_redis_is_used_when_it_is_configured(redis_url: str) -> None:
    async with serve(env=environment(REDIS_URL=redis_url)) as served:
        assert '"redis": "connected"' in await served.command.until_said("serving")
        assert await health(served.url) == (200, "connected")


async def test_without_redis_it_starts_degraded_with_one_warning(unused_tcp_port: int) -> None:
    url = f"redis://user:hunter2@127.0.0.1:{unused_tcp_port}"
    async with serve(env=environment(REDIS_URL=url)) as served:
        assert await health(served.url) == (503, "disconnected")
        assert await served.command.ended(signal.SIGTERM) == 0
    lines = [json.loads(line) for line in served.command.err]
    (warning,) = [line for line in lines if line["level"] != "info"]
    assert f"127.0.0.1:{unused_tcp_port}" in warning["event"]
    assert "hunter2" not in "".join(served.command.err)


async def test_the_limit_on_open_files_is_an_incident() -> None:
    async with serve() as served, aiohttp.ClientSession() as session:
        address = served.url.removeprefix("http://").split(":")
        pid = served.command.process.pid
        most = len(os.listdir(f"/proc/{pid}/fd")) + 10  # noqa: PTH208
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
        with ExitStack() as opened:
            for _ in range(40):
                opened.enter_context(socket.create_connection((address[0], int(address[1]))))
            said = await served.command.until_said("open files exhausted")
            assert f"({most} for this process): new connections fail" in said
        async with session.get(f"{served.url}/health/realtime") as answer:
            assert (await answer.json())["incidents"]["open files exhausted"] >= 1


async def test_fixes_answered_200_are_the_current_location_after_a_signal(redis_url: str) -> None:
    acknowledged: dict[str, int] = {}
    refused: set[int] = set()

    async def publish(served: Served, vehicle: str, session: aiohttp.ClientSession) -> None:
        headers = {"Authorization": f"Bearer {token()}"}
        for number in itertools.count():
            fix = {"vehicleId": vehicle, "latitude": 1, "longitude": 2, "metadata": {"n": number}}
            try:
                async with session.post(
                    f"{served.url}/api/tracking/location", json=fix, headers=headers
                ) as response:
                    if response.status == 200:
                        acknowledged[vehicle] = number
                    else:
                        refused.add(response.status)
            except aiohttp.ClientError:
                if served.command.process.returncode is not None:
                    return
                await asyncio.sleep(0.01)

    for _ in range(3):
        async with (
            serve(env=environment(REDIS_URL=redis_url)) as served,
            aiohttp.ClientSession() as session,
            redis.asyncio.Redis.from_url(redis_url) as client,
        ):
            acknowledged.clear()
            await client.flushall()
            async with asyncio.TaskGroup() as publishers:
                for number in range(20):
                    publishers.create_task(publish(served, f"v{number}", session))
                await until(lambda: len(acknowledged) == 20)
                assert await served.command.ended(signal.SIGTERM) == 0
            current = {}
            for vehicle in acknowledged:
                cached = await client.get(f"location:current:vehicle:{vehicle}")
                current[vehicle] = -1 if cached is None else json.loads(cached)["metadata"]["n"]
            lost = {each for each, number in acknowledged.items() if current[each] < number}
            assert not lost
    assert refused <= {503}


async def test_with_a_drain_delay_it_serves_on_and_is_not_ready() -> None:
    env = environment(ATRIZ_REALTIME_DRAIN_DELAY="600")
    async with serve(env=env) as served, aiohttp.ClientSession() as session:
        client = socketio.AsyncClient(reconnection=False, http_session=session)
        await client.connect(served.url, auth={"token": token()}, transports=["websocket"])
        served.command.process.send_signal(signal.SIGTERM)
        await served.command.until_said("leaving")
        async with session.get(f"{served.url}/readyz") as answer:
            assert (answer.status, await answer.json()) == (503, {"status": "closing"})
        assert await client.call("track:vehicle", "v1", timeout=TIMEOUT) == {"success": True}
        other = socketio.AsyncClient(reconnection=False)
        await other.connect(served.url, auth={"token": token()})
        async with session.get(f"{served.url}/api/tracking/vehicle") as answer:
            assert answer.status == 401
        assert await served.command.ended(signal.SIGTERM) == 0  # which cuts the delay short
        await until(lambda: not client.connected and not other.connected)


@pytest.mark.parametrize(
    ("delay", "number"), [("0.2", signal.SIGTERM), ("600", signal.SIGINT), ("0", signal.SIGTERM)]
)
async def test_the_drain_delay_ends_and_is_for_sigterm_only(
    delay: str, number: signal.Signals
) -> None:
    async with serve(env=environment(ATRIZ_REALTIME_DRAIN_DELAY=delay)) as served:
        assert await served.command.ended(number) == 0
    events = [json.loads(line)["event"] for line in served.command.err]
    assert events == ["serving", *["leaving"] * (delay == "0.2"), "stopping"]


@pytest.mark.parametrize(
    ("run", "number"),
    [(serve, signal.SIGTERM), (serve, signal.SIGINT), (on_its_own, signal.SIGTERM)],
    ids=["SIGTERM", "SIGINT", "a host's own uvicorn"],
)
async def test_a_signal_sends_every_client_away_and_ends_it_in_time(
    run: Any, number: signal.Signals
) -> None:
    async with run() as served, aiohttp.ClientSession() as session:
        clients = []
        gone = 0

        def disconnected(*_: object) -> None:
            nonlocal gone
            gone += 1

        for transport in ["websocket", "polling"] * 10:
            # a shared session, since a client does not close its own when a poll fails
            client = socketio.AsyncClient(reconnection=False, http_session=session)
            client.on("disconnect", disconnected)
            await client.connect(
                served.url, auth={"token": token()}, transports=[transport], wait_timeout=TIMEOUT
            )
            assert await client.call("track:vehicle", "v1", timeout=TIMEOUT) == {"success": True}
            clients.append(client)
        silent = await session.ws_connect(
            served.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        )
        idle = socket.create_connection(("127.0.0.1", served.port))

        status, seconds = await served.command.ended_after(number)
        assert status == (0 if run is serve else -number)  # uvicorn raises the signal again
        assert seconds < STOP_LIMIT
        await until(lambda: gone == len(clients))
        with pytest.raises(aiohttp.ClientError):
            await session.get(served.url)

        idle.close()
        await silent.close()
        await asyncio.gather(*(client.disconnect() for client in clients))
    if run is serve:  # uvicorn logs one for each cancelled request
        assert "Traceback" not in "".join(served.command.err)


HANGING = """
import asyncio
from atriz_realtime.api import CacheBackend, Page, hookimpl

class Hanging:
    async def put(self, payload, ttl): await asyncio.sleep(3600)
    async def get(self, entity): await asyncio.sleep(3600)
    async def delete(self, entity): pass
    async def page(self, kind, cursor, limit): return Page([], None)
    async def count(self, kind): return 0
    async def aclose(self): await asyncio.sleep(3600)

async def open_cache(resources):
    return Hanging()

@hookimpl
def register_caches():
    return CacheBackend("hanging", open_cache)

@hookimpl
async def server_stopping():
    await asyncio.sleep(3600)
"""


async def test_it_exits_in_time_whatever_hangs(tmp_path: Path) -> None:
    """Here a plugin does not stop, a backend does not close, and a request does not end."""
    (tmp_path / "hanging_plugin.py").write_text(HANGING)
    env = environment(
        ATRIZ_REALTIME_EXTRA_PLUGINS="hanging_plugin",
        ATRIZ_REALTIME_CACHE="hanging",
        PYTHONPATH=str(tmp_path),
    )
    async with serve(env=env) as served, aiohttp.ClientSession() as session:
        request = session.post(
            f"{served.url}/api/tracking/location",
            headers={"Authorization": f"Bearer {token()}"},
            json={"vehicleId": "v1", "latitude": 1, "longitude": 2},
        )
        asking = asyncio.ensure_future(request)
        client = socketio.AsyncClient(reconnection=False)
        await client.connect(served.url, auth={"token": token()}, wait_timeout=TIMEOUT)
        status, seconds = await served.command.ended_after(signal.SIGTERM)
        await asyncio.wait([asking])
        asking.exception()
        assert status == 0
        assert seconds < STOP_LIMIT
        await client.disconnect()
    assert "Traceback" not in "\n".join(served.command.err)


async def test_a_port_in_use_is_one_line() -> None:
    async with serve() as served:
        second = await finished("serve", "--port", str(served.port))
    assert (second.status, second.out) == (1, "")
    assert only_line(second.err) == (
        f"error: cannot listen on 127.0.0.1:{served.port}: "
        "the port is in use; choose another with --port"
    )


async def test_a_weak_secret_is_refused_beyond_loopback_alone() -> None:
    weak = environment(JWT_SECRET="short")
    refused = await finished("serve", "--host", "0.0.0.0", "--port", "0", env=weak)
    assert (refused.status, refused.out) == (1, "")
    error = refused.err.splitlines()[-1]
    assert error.startswith("error: the JWT secret has 5 bytes")
    assert "allow_weak_secret" in error

    async with serve(env=weak) as served:
        await served.command.until_said("the JWT secret has 5 bytes")
    allowed = {**weak, "ATRIZ_REALTIME_ALLOW_WEAK_SECRET": "1"}
    async with serve("--host", "0.0.0.0", env=allowed) as served:
        assert served.url.startswith("http://127.0.0.1:")
    strong = environment(JWT_SECRET=secrets.token_hex(32))
    async with serve("--host", "0.0.0.0", env=strong):
        pass


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"ATRIZ_REALTIME_CACHE": "rediss"}, "no cache 'rediss'; did you mean 'redis'?"),
        ({"ATRIZ_REALTIME_EXTRA_PLUGINS": "no_such_module"}, "'no_such_module'"),
        ({"ATRIZ_REALTIME_CASHE": "redis"}, "ATRIZ_REALTIME_CASHE"),
        ({"REDIS_URL": "http://here"}, "redis_url"),
        ({"PORT": "high"}, "PORT"),
    ],
)
async def test_a_server_that_cannot_start_gives_the_reason_in_one_line(
    variables: dict[str, str], reason: str
) -> None:
    done = await finished("serve", env=environment(**variables))
    assert (done.status, done.out) == (1, "")
    line = only_line(done.err)
    assert line.startswith("error: ")
    assert reason in line


@pytest.mark.parametrize(
    ("raises", "reason"),
    [
        ("RuntimeError('no')", "RuntimeError: no"),
        ("__import__('asyncio').CancelledError('no')", "CancelledError: no"),
        ("OSError(5, 'no')", "OSError: [Errno 5] no"),
    ],
)
async def test_a_backend_that_does_not_open_stops_the_start_in_one_line(
    tmp_path: Path, raises: str, reason: str
) -> None:
    (tmp_path / "broken_cache.py").write_text(
        "from atriz_realtime.api import CacheBackend, hookimpl\n"
        f"async def open_cache(resources):\n    raise {raises}\n"
        "@hookimpl\ndef register_caches():\n    return CacheBackend('broken', open_cache)\n"
    )
    env = environment(
        ATRIZ_REALTIME_EXTRA_PLUGINS="broken_cache",
        ATRIZ_REALTIME_CACHE="broken",
        PYTHONPATH=str(tmp_path),
    )
    done = await finished("serve", "--port", "0", env=env)
    assert (done.status, done.out) == (1, "")
    assert only_line(done.err) == (
        "error: plugin 'broken_cache': register_caches: cache backend 'broken' cannot be opened: "
        f"{reason} (atriz-realtime --traceback COMMAND shows where)"
    )


async def test_no_token_reaches_the_log_wherever_it_was_sent() -> None:
    good, bad = token(), token(secret="another-secret-of-enough-bytes!!")
    async with serve() as served, aiohttp.ClientSession() as session:
        for secret in (good, bad):
            headers = {"Authorization": f"Bearer {secret}"}
            query = f"{served.url}/api/tracking/vehicle?token={secret}"
            await session.get(query, headers=headers)
            await session.post(query, headers=headers, data=f'{{"token": "{secret}"')
            await session.get(f"{served.url}/socket.io/?EIO=4&transport=x&token={secret}")
            client = socketio.AsyncClient(reconnection=False)
            await client.connect(f"{served.url}?token={secret}", auth={"token": secret})
            await client.emit("authenticate", secret)
            await client.emit("track:vehicle", {"token": secret})
            await client.emit(secret, secret)
            await client.disconnect()
        assert await served.command.ended(signal.SIGTERM) == 0
    log = "\n".join(served.command.err)
    assert "refused" in log
    for secret in (good, bad):
        assert not [part for part in secret.split(".")[1:] if part in log]


async def test_no_server_header_is_sent() -> None:
    async with (
        serve() as served,
        aiohttp.ClientSession() as session,
        session.get(f"{served.url}/health/realtime") as response,
    ):
        assert "server" not in response.headers


def test_every_secret_in_the_documentation_is_listed() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    printed = {
        "".join(found) for page in pages for found in PRINTED.findall(page.read_text("utf-8"))
    }
    assert printed
    assert printed <= PUBLISHED_SECRETS


@pytest.mark.parametrize("allowed", ["0", "1"])
async def test_a_printed_secret_is_refused_beyond_loopback(allowed: str) -> None:
    known = environment(
        JWT_SECRET="a-secret-of-more-than-thirty-two-bytes",
        ATRIZ_REALTIME_ALLOW_WEAK_SECRET=allowed,
    )
    refused = await finished("serve", "--host", "0.0.0.0", "--port", "0", env=known)
    assert (refused.status, refused.out) == (1, "")
    error = refused.err.splitlines()[-1]
    assert error.startswith("error: the JWT secret is printed in the documentation")
    assert "a-secret-of" not in refused.err


async def test_a_plain_uvicorn_shows_the_first_refusal_of_each_reason() -> None:
    async with on_its_own(env=environment(JWT_SECRET=None)) as served:
        missing = "no JWT secret is configured (JWT_SECRET)"
        assert await served.command.until_said(missing) == f"{missing}: every token is refused"
        bearer = {"Authorization": f"Bearer {token()}"}
        url = f"{served.url}/api/tracking/location"
        async with aiohttp.ClientSession() as session:
            for headers in (bearer, bearer, {}):
                async with session.post(url, json={}, headers=headers) as response:
                    assert response.status == 401
        await served.command.ended(signal.SIGTERM)
    where = "; later ones are INFO lines of the logger 'atriz_realtime'"
    publish = "POST /api/tracking/location"
    assert [line for line in served.command.err if line.startswith("refused")] == [
        f"refused credentials: authenticator 'jwt': {missing}; client 127.0.0.1{where}",
        f"refused invalid_token: {publish}: Authentication failed; client 127.0.0.1{where}",
        f"refused not_authenticated: {publish}: Not authenticated; client 127.0.0.1{where}",
    ]
    assert token() not in "".join(served.command.err)
