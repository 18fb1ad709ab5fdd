"""Socket.IO's admin UI: its protocol with the real client, its sign-in, and its isolation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from engineio.async_socket import AsyncSocket

from atriz_realtime import RealtimeConfig
from atriz_realtime.api import ConfigurationError
from atriz_realtime.plugin_system.plugins import PluginHost
from tests.support.clients.node import Node
from tests.support.clients.python_socketio import python_connect
from tests.support.servers.serving import serving, token, until, watching

PASSWORD = "a-password-for-the-ui"
SIGN_IN = {"username": "admin", "password": PASSWORD}


def admin_ui(**settings: Any) -> Mapping[str, Any]:
    return {"admin_ui": {"enabled": True, "password": PASSWORD, **settings}}


@pytest.fixture(autouse=True)
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atriz_realtime.defaults.admin_ui.STATS_INTERVAL", 0.05)


async def test_it_shows_counts(js: Node) -> None:
    async with serving(plugins=admin_ui()) as live, watching(live, "v1"):
        admin = await js.connect(live.url + "/admin", SIGN_IN)
        assert await admin.next("config") == {"supportedFeatures": ["AGGREGATED_EVENTS"]}
        stats = await admin.next("server_stats")
        assert stats["clientsCount"] == 2
        names = {each["name"]: each["socketsCount"] for each in stats["namespaces"]}
        assert names == {"/": 1, "/admin": 1}
        assert admin.of("all_sockets") == []


async def test_in_development_it_shows_sockets_rooms_and_events(js: Node) -> None:
    plugins = admin_ui(mode="development")
    async with serving(plugins=plugins) as live, watching(live, "v1", polling=True) as watcher:
        admin = await js.connect(live.url + "/admin", SIGN_IN)
        assert "EMIT" not in (await admin.next("config"))["supportedFeatures"]
        sockets = {each["nsp"]: each for each in await admin.next("all_sockets")}
        assert sockets.keys() == {"/", "/admin"}
        shown = sockets["/"]
        assert (shown["id"], shown["transport"]) == (watcher.client.get_sid(), "polling")
        assert {watcher.client.get_sid(), "user:u1", "vehicle:v1"} <= set(shown["rooms"])
        await watcher.call("track:vehicle", "v2")
        await until(lambda: any(each[1] == "vehicle:v2" for each in admin.of("room_joined")))
        await live.server.send_to_user("u1", "hello", {"n": 1})
        sent = await admin.next("event_sent")
        assert sent[:3] == ("/", watcher.client.get_sid(), ["hello", {"n": 1}])
        async with python_connect(live) as other:
            await until(lambda: len(admin.of("socket_connected")) >= 2)
            sid = admin.of("socket_connected")[-1][0]["id"]
            await other.disconnect()
        await until(lambda: admin.of("socket_disconnected"))
        assert admin.of("socket_disconnected")[0][:2] == ("/", sid)
        await live.publish("v1")
        await until(lambda: watcher.updates)
        assert live.server.connection_count == 1


async def test_secrets_of_handshakes_are_not_shown(js: Node) -> None:
    secret = token()
    async with serving(plugins=admin_ui(mode="development")) as live:
        watcher = await js.connect(
            f"{live.url}?key=hidden",
            {},
            extraHeaders={"authorization": f"Bearer {secret}", "cookie": "session=hidden"},
        )
        await watcher.call("authenticate", secret)
        admin = await js.connect(live.url + "/admin", SIGN_IN)
        sockets = await admin.next("all_sockets")
        assert {each["nsp"] for each in sockets} == {"/", "/admin"}
        for each in sockets:
            assert each["handshake"]["headers"]["host"] == live.url.removeprefix("http://")
        shown = json.dumps(admin.received)
        assert secret not in shown
        assert PASSWORD not in shown
        assert "hidden" not in shown


async def test_it_can_act_when_it_is_not_read_only(js: Node) -> None:
    plugins = admin_ui(mode="development", read_only=False)
    async with serving(plugins=plugins) as live, watching(live) as watcher:
        admin = await js.connect(live.url + "/admin", SIGN_IN)
        assert "DISCONNECT" in (await admin.next("config"))["supportedFeatures"]
        await admin.emit("emit", "/", watcher.client.get_sid(), "hello", 1)
        await until(lambda: watcher.of("hello") == [1])
        await admin.emit("_disconnect", "/", False, watcher.client.get_sid())
        await until(lambda: not watcher.client.connected)
        await until(lambda: live.server.connection_count == 0)


async def test_it_cannot_act_by_default(js: Node) -> None:
    async with serving(plugins=admin_ui(mode="development")) as live, watching(live) as watcher:
        admin = await js.connect(live.url + "/admin", SIGN_IN)
        await admin.emit("emit", "/", watcher.client.get_sid(), "hello", 1)
        await admin.emit("_disconnect", "/", False, watcher.client.get_sid())
        await admin.next("event_received", 2)
        assert await watcher.call("track:vehicle", "v1") == {"success": True}
        assert watcher.of("hello") == []


WRONG: list[Mapping[str, Any]] = [
    {},
    {"username": "admin"},
    {"username": "admin", "password": ""},
    {"username": "admin", "password": PASSWORD + "x"},
    {"username": "somebody", "password": PASSWORD},
    {"username": "admin", "password": {"$ne": ""}},
    {"token": token()},
]


async def test_a_sign_in_without_the_password_is_refused() -> None:
    async with serving(plugins=admin_ui(mode="development")) as live:
        for auth in WRONG:
            async with python_connect(live, namespace="/admin", auth=auth, refused=True) as client:
                assert client.refused is not None
                assert client.refused.message == "authentication failed"
        assert live.server.socket_io.manager._timestamps == {}
        assert live.server.incidents.counts["connection refused"] == len(WRONG)


async def test_the_namespace_does_not_exist_unless_it_is_enabled() -> None:
    async with serving() as live:
        async with python_connect(live, namespace="/admin", auth=SIGN_IN, refused=True) as client:
            assert client.refused is not None
            assert client.refused.message == "Invalid namespace"
        for patched in ("_trigger_event", "emit"):
            assert patched not in vars(live.server.socket_io)
            assert patched not in vars(live.server.socket_io.manager)


@pytest.mark.parametrize("password", ["", "short"])
def test_it_does_not_start_without_a_password(password: str) -> None:
    with pytest.raises(ConfigurationError, match="the admin UI needs one of 16 characters"):
        PluginHost(RealtimeConfig(plugins=dict(admin_ui(password=password))))


async def test_other_servers_in_the_process_are_unchanged() -> None:
    before = {name: getattr(AsyncSocket, name) for name in ("_send_ping", "handle_post_request")}
    async with serving(plugins=admin_ui(mode="development", username="root")) as live:
        assert {name: getattr(AsyncSocket, name) for name in before} == before
        signed_in = {"username": "root", "password": PASSWORD}
        async with python_connect(live, namespace="/admin", auth=signed_in):
            pass


async def test_an_admin_sees_the_counts_of_every_server(redis_url: str) -> None:
    settings: Mapping[str, Any] = {"redis_url": redis_url, "plugins": admin_ui()}
    async with (
        serving(**settings) as one,
        serving(**settings),
        python_connect(one, namespace="/admin", auth=SIGN_IN) as admin,
    ):
        await until(lambda: {each["clientsCount"] for each in admin.of("server_stats")} == {0, 1})
