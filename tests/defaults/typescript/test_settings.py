"""Turning the bridge on and off, its settings, and invalid combinations."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest
from starlette.applications import Starlette

from atriz_realtime import RealtimeServer
from atriz_realtime.api import ConfigurationError, Location
from tests.defaults.typescript.conftest import bridged
from tests.defaults.typescript.servers import client_of
from tests.defaults.typescript.test_fixes import event, location
from tests.support.servers.serving import TIMEOUT, Live, config, serving

PLUGIN = "atriz_realtime.defaults.typescript"


@asynccontextmanager
async def monitored(client: Any) -> AsyncIterator[list[str]]:
    """Every command that reaches Redis in this block."""
    commands: list[str] = []

    async with client.monitor() as monitor:

        async def read() -> None:
            while not commands or "end of the watch" not in commands[-1]:
                commands.append((await monitor.next_command())["command"])

        reading = asyncio.create_task(read())
        try:
            yield commands
            await client.echo("end of the watch")
            async with asyncio.timeout(TIMEOUT):
                await reading
        finally:
            reading.cancel()


async def use(live: Live) -> None:
    """Send one message of each kind that the bridge carries."""
    async with client_of(live.url, "u1", "v1") as client:
        await live.server.tracking.publish_location_update("vehicle", "v1", location(1))
        await live.server.send_to_user("u1", "notice", 1)
        await live.server.broadcast_to_authenticated("notice", 2)
        await client.next("location:update")
        await client.next("notice", 2)


@pytest.mark.parametrize(
    "settings", [{}, {"disabled_plugins": ("typescript",)}, {"plugins": {"typescript": {}}}]
)
async def test_when_off_it_uses_no_channel_of_the_adapter(
    settings: dict[str, Any], redis_url: str, redis_client: Any
) -> None:
    async with (
        monitored(redis_client) as commands,
        serving(redis_url=redis_url, **settings) as live,
    ):
        await use(live)
    assert any("tracking:vehicle:v1" in command for command in commands)
    assert [command for command in commands if "socket.io" in command] == []


@pytest.mark.parametrize("kind", ["classic", "sharded"])
async def test_when_on_each_message_is_published_once(
    kind: str, redis_url: str, redis_client: Any
) -> None:
    async with monitored(redis_client) as commands, serving(**bridged(kind, redis_url)) as live:
        await use(live)
    command = "PUBLISH" if kind == "classic" else "SPUBLISH"
    sent = [each.split(" ", 2)[1] for each in commands if each.startswith(f"{command} socket.io#")]
    assert sorted(sent) == [
        "socket.io#/#authenticated#",
        "socket.io#/#user:u1#",
        "socket.io#/#vehicle:v1#",
    ]


async def test_key_and_room_are_settings(redis_url: str, redis_client: Any) -> None:
    table = {"adapter": "classic", "key": "fleet", "authenticated_room": "known"}
    settings: dict[str, Any] = {"redis_url": redis_url, "plugins": {"typescript": table}}
    async with serving(**settings) as live, client_of(live.url, "u1", "v1") as client:
        message = ["them", {"type": 2, "data": ["hello", 1]}, {"rooms": ["known"], "except": []}]
        await redis_client.publish("fleet#/#known#", msgpack.packb(message))
        assert await client.next("hello") == 1
        message[2] = {}
        await redis_client.publish("fleet#/#", msgpack.packb(message))
        assert await client.next("hello", 2) == 1


def nested(depth: int) -> list[Any]:
    """Nested lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("kind", ["classic", "sharded"])
async def test_an_unreadable_message_is_reported_and_dropped(
    kind: str, redis_url: str, redis_client: Any
) -> None:
    packet = {"type": 2, "data": ["bad", 1], "nsp": "/"}
    bad: list[Any] = [
        b"\xc1",
        b"{",
        b"",
        7,
        [],
        ["them", packet],
        ["them", None, {}],
        ["them", packet, {"rooms": 5}],
        ["them", {**packet, "data": "bad"}, {}],
        ["them", {**packet, "data": []}, {}],
        ["them", {**packet, "data": ["bad", {1: 2}]}, {}],
        ["them", {**packet, "data": ["bad", nested(500)]}, {}],
        ["them", {**packet, "data": ["bad", msgpack.ExtType(5, b"?")]}, {}],
        {"type": 3, "nsp": "/", "data": 1},
        {"type": 3, "nsp": "/", "uid": "x", "data": {"packet": 1}},
        {"type": 4, "nsp": "/", "uid": "x", "data": {"opts": 1, "rooms": 2}},
    ]
    command = "PUBLISH" if kind == "classic" else "SPUBLISH"
    async with (
        serving(**bridged(kind, redis_url)) as live,
        client_of(live.url, "u1", "v1") as client,
    ):
        for message in bad:
            data = message if isinstance(message, bytes) else msgpack.packb(message)
            await redis_client.execute_command(command, "socket.io#/#", data)
        if kind == "classic":
            for data in (b"{", b"[]", b'{"type":5,"opts":3}', b'{"type":2,"opts":{"rooms":{}}}'):
                await redis_client.publish("socket.io-request#/#", data)
        good: Any = ["them", {**packet, "data": ["good", 1]}, {"rooms": []}]
        if kind == "sharded":
            emit = {"packet": good[1], "opts": good[2]}
            good = {"uid": "x", "nsp": "/", "type": 3, "data": emit}
        await redis_client.execute_command(command, "socket.io#/#", msgpack.packb(good))
        assert await client.next("good") == 1
        assert client.of("bad") == []
        expected = len(bad) + 4 if kind == "classic" else len(bad)
        assert live.server.incidents.counts["bridge message unreadable"] == expected


async def test_a_malformed_event_on_an_entity_s_channel_is_passed_on(
    redis_url: str, redis_client: Any
) -> None:
    async with (
        serving(**bridged("classic", redis_url)) as live,
        client_of(live.url, "u1", "v1") as client,
    ):
        await redis_client.publish("tracking:vehicle:v1", '{"any":1}')
        assert await client.next("location:update") == {"any": 1}
        await live.server.tracking.publish_location_update(
            "vehicle", "v1", Location.from_wire(location(2))
        )
        assert await client.next("location:update", 2) == event(2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"plugins": {"typescript": {"adapter": "classic"}}}, "needs a redis_url"),
        ({"plugins": {"typescript": {"adapter": "clasic"}}}, "adapter"),
        ({"plugins": {"typescript": {"adapter": "classic", "key": "a*"}}}, "key"),
        ({"plugins": {"typescript": {"adaptor": "classic"}}}, "adaptor"),
        (bridged("classic", "redis://localhost", redis_prefix="x:"), "redis_prefix"),
        (bridged("classic", "redis+cluster://localhost:7000"), "must be"),
    ],
)
def test_invalid_settings_stop_the_start(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        RealtimeServer(Starlette(), config(**settings))


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(f"{PLUGIN}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'atriz-realtime\[typescript\]'"):
        RealtimeServer(Starlette(), config(**bridged("classic", "redis://localhost")))
    RealtimeServer(Starlette(), config(redis_url="redis://localhost"))  # off, it is not missed
