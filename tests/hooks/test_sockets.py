"""Emits of plugins through ``server.sockets``."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from atriz_realtime.api import ServerHandle, SocketClient, SocketEvent, hookimpl
from tests.support.servers.serving import serving, until, watching


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> str:
    """A plugin with an event ``shout`` that emits ``shouted`` to the given rooms."""

    @hookimpl
    def register_socket_events(server: ServerHandle) -> SocketEvent:
        async def shout(_: SocketClient, rooms: list[str]) -> None:
            await server.sockets.emit("shouted", len(rooms), rooms)

        return SocketEvent("shout", shout)

    module = ModuleType("shouting")
    vars(module)["register_socket_events"] = register_socket_events
    monkeypatch.setitem(sys.modules, "shouting", module)
    return "shouting"


async def test_an_emit_to_several_rooms_reaches_each_socket_once_on_every_server(
    plugin: str, redis_url: str
) -> None:
    settings: dict[str, Any] = {"extra_plugins": [plugin], "redis_url": redis_url}
    async with (
        serving(**settings) as here,
        serving(**settings) as there,
        watching(here, "v1", user="u1") as both,
        watching(there, "v1", user="u1") as both_there,
        watching(there, "v1", user="u2") as by_entity,
        watching(here, user="u1") as by_user,
        watching(here, "v2", user="u2") as neither,
    ):
        reached = [both, both_there, by_entity, by_user]
        await both.call("shout", ["vehicle:v1", "user:u1"])
        await until(lambda: all(watcher.of("shouted") for watcher in reached))
        await both.call("shout", ["vehicle:v1", "user:u1", "vehicle:v2"])
        await until(lambda: all(3 in watcher.of("shouted") for watcher in [*reached, neither]))
        assert [watcher.of("shouted") for watcher in reached] == [[2, 3]] * 4
        assert neither.of("shouted") == [3]
