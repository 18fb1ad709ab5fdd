"""Fan-out layers get every message, in order, and are closed before the fan-out."""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from types import ModuleType

import attrs
import pytest

from atriz_realtime.api import (
    Deliver,
    Emit,
    Fanout,
    FanoutLayer,
    RedisChannels,
    ServerHandle,
    hookimpl,
)
from tests.support.servers.serving import serving, until, watching


@attrs.define(eq=False)
class Layer:
    """Signs each fix that is published, and removes the signature of each that is delivered."""

    name: str
    below: Fanout
    log: list[str]

    def publish(self, channel: str, data: bytes) -> Awaitable[None]:
        if channel == RedisChannels.EMITS:
            emit = Emit.decode(data)
            self.log.append(f"{self.name} emits {emit.packet} to {emit.rooms}")
            return self.below.publish(channel, data)
        self.log.append(f"{self.name} publishes")
        return self.below.publish(channel, data + self.name.encode())

    def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
        def take(channel: str, data: bytes) -> None:
            if channel not in (RedisChannels.EMITS, RedisChannels.SIGNALS):
                assert data.endswith(self.name.encode())
                data = data.removesuffix(self.name.encode())
            deliver(channel, data)

        return self.below.subscribe(channel, take)

    def unsubscribe(self, channel: str) -> None:
        self.below.unsubscribe(channel)

    async def aclose(self) -> None:
        self.log.append(f"{self.name} is closed")


@pytest.fixture
def log() -> list[str]:
    """Records the calls of the layers."""
    return []


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> str:
    """A plugin that registers two layers."""

    def layer(name: str, order: int) -> FanoutLayer:
        async def open_layer(below: Fanout) -> Fanout:
            return Layer(name, below, log)

        return FanoutLayer(name, open_layer, order=order)

    @hookimpl
    def register_fanout_layers() -> list[FanoutLayer]:
        return [layer("upper", 2), layer("lower", 1)]

    module = ModuleType("layers")
    vars(module)["register_fanout_layers"] = register_fanout_layers
    monkeypatch.setitem(sys.modules, "layers", module)
    return "layers"


@pytest.mark.parametrize("distributed", [False, True])
async def test_every_message_passes_through_each_layer(
    layers: str, log: list[str], distributed: bool, redis_url: str
) -> None:
    url = redis_url if distributed else None
    async with (
        serving(extra_plugins=[layers], redis_url=url) as live,
        watching(live, "v1") as watcher,
    ):
        await live.publish()
        await until(lambda: watcher.updates)
        await live.server.send_to_user("u1", "notice", 1)
        await until(lambda: watcher.of("notice"))
        assert len(watcher.updates) == 1
    assert log == [
        "upper publishes",
        "lower publishes",
        "upper emits 2[\"notice\",1] to ['user:u1']",
        "lower emits 2[\"notice\",1] to ['user:u1']",
        "upper is closed",
        "lower is closed",
    ]


async def test_plugins_can_read_and_change_the_members_of_rooms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handles: list[ServerHandle] = []

    @hookimpl
    def server_started(server: ServerHandle) -> None:
        handles.append(server)

    module = ModuleType("curious")
    vars(module)["server_started"] = server_started
    monkeypatch.setitem(sys.modules, "curious", module)
    async with (
        serving(extra_plugins=["curious"]) as live,
        watching(live, "v1", user="u1") as one,
        watching(live, "v1", user="u2") as two,
    ):
        membership = handles[0].membership
        first, second = str(one.client.get_sid()), str(two.client.get_sid())
        assert set(membership.select([], [])) == {first, second}
        assert set(membership.select(["vehicle:v1", "user:u1"], [])) == {first, second}
        assert set(membership.select(["vehicle:v1"], ["user:u1"])) == {second}
        assert set(membership.select([], [first])) == {second}
        assert membership.select(["vehicle:v2"], []) == {}

        told: list[str] = []
        membership.follow(
            lambda room: told.append(f"+{room}"), lambda room: told.append(f"-{room}")
        )
        assert set(told) == {"+vehicle:v1", "+user:u1", "+user:u2", "+realtime:authenticated"}
        told.clear()
        membership.join(first, "fleet")
        membership.join(second, "fleet")
        membership.join(second, first)
        membership.join("nobody", "fleet")
        assert set(membership.select(["fleet"], [])) == {first, second}
        assert "fleet" in membership.select([first], [])[first]
        assert set(membership.select([first], [])) == {first}
        membership.leave(first, "fleet")
        membership.leave(first, "fleet")
        membership.leave("nobody", "fleet")
        assert told == ["+fleet"]
        membership.disconnect("nobody")
        membership.disconnect(second)
        await until(lambda: not two.client.connected)
        await until(lambda: len(told) == 3)
        assert set(told) == {"+fleet", "-fleet", "-user:u2"}
        assert set(membership.select([], [])) == {first}
        assert one.client.connected
