"""Caches, fan-outs and layers that open to nothing, and a cache that does not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from atriz_realtime import RealtimeServer, create_app
from atriz_realtime.api import PluginError
from atriz_realtime.core.clients import current_locations
from atriz_realtime.core.publish import reading
from atriz_realtime.testing import config, serving, until, watching
from tests.support.plugins.files import Plugins

CACHE = "def register_caches(): return CacheBackend('slip', slip)"
FANOUT = "def register_fanouts(): return FanoutBackend('slip', slip)"
LAYER = "def register_fanout_layers(): return FanoutLayer('slip', slip)"
THROTTLE = "def register_throttles(): return Throttle('slip', slip)"


@pytest.mark.parametrize(
    ("hook", "setting", "problem"),
    [
        (CACHE, "cache", "register_caches: cache backend 'slip': {} is no Cache: it lacks put, "),
        (FANOUT, "fanout", "register_fanouts: fanout backend 'slip': {} is no Fanout: it lacks "),
        (LAYER, "", "register_fanout_layers: fanout layer 'slip': {} is no Fanout: it lacks "),
        (THROTTLE, "throttle", "throttle 'slip' of 'vehicle': {} is no ThrottlePolicy: it lacks "),
    ],
)
@pytest.mark.parametrize("opened", ["None", "object()"])
async def test_what_opens_to_something_else_stops_the_start(
    plugins: Plugins, hook: str, setting: str, problem: str, opened: str
) -> None:
    plain = "" if setting == "throttle" else "async "
    source = f"{plain}def slip(*_):\n    return {opened}\n\n@hookimpl\n{hook}\n"
    name = plugins.module("slip", source)
    settings: dict[str, Any] = {setting: "slip"} if setting else {}
    server: RealtimeServer = create_app(config(extra_plugins=[name], **settings)).state.realtime
    with pytest.raises(PluginError) as error:
        await server.start()
    await server.close()
    kind = "NoneType" if opened == "None" else "object"
    assert error.value.message.startswith(f"plugin 'slip': {problem.format(kind)}")


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("async def slip(_):\n    raise KeyError('url')", "KeyError: 'url'"),
        ("def slip(_):\n    raise Unavailable('no broker')", "no broker"),
        ("def slip(_):\n    return 5", "TypeError: it must be an `async def`, or return an"),
        ("async def slip(_):\n    raise SystemExit(3)", "SystemExit: 3"),
    ],
)
@pytest.mark.parametrize(("hook", "setting"), [(CACHE, "cache"), (FANOUT, "fanout"), (LAYER, "")])
async def test_what_does_not_open_stops_the_start(
    plugins: Plugins, function: str, reason: str, hook: str, setting: str
) -> None:
    name = plugins.module("slip", f"{function}\n\n@hookimpl\n{hook}\n")
    settings: dict[str, Any] = {setting: "slip"} if setting else {}
    server: RealtimeServer = create_app(config(extra_plugins=[name], **settings)).state.realtime
    with pytest.raises(PluginError) as error:
        await server.start()
    await server.close()
    assert error.value.message.startswith("plugin 'slip': register_")
    assert f" 'slip' cannot be opened: {reason}" in error.value.message


FAILING = """
import asyncio
from atriz_realtime.defaults.memory import MemoryCache, MemorySettings

class Failing(MemoryCache):
    fails = True

    {get}

async def open_cache(resources):
    return Failing(resources.clock, MemorySettings())

@hookimpl
def register_caches():
    return CacheBackend("failing", open_cache)
"""

RAISING = FAILING.format(
    get="""def get(self, entity):
        if self.fails:
            raise RuntimeError("no connection is free")
        return super().get(entity)"""
)

SILENT = FAILING.format(
    get="""async def get(self, entity):
        if self.fails:
            await asyncio.Event().wait()
        return await super().get(entity)"""
)


async def test_reads_that_fail_at_once_keep_no_later_ones_waiting(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current_locations, "SNAPSHOT_RETRY", 0.05)
    name = plugins.module("failing", RAISING)
    async with (
        serving(extra_plugins=[name], cache="failing") as live,
        watching(live) as watcher,
    ):
        await live.publish("v1")
        for _ in range(2):
            answers = await asyncio.gather(
                *(
                    watcher.call("track:vehicle", f"v{number}")
                    for number in range(current_locations.MAX_READING)
                )
            )
            assert answers == [{"success": True}] * current_locations.MAX_READING
        assert watcher.updates == []
        plugins.loaded("failing").Failing.fails = False
        await until(lambda: watcher.updates)
        assert watcher.updates[0]["entityId"] == "v1"


@pytest.mark.parametrize("tracked", ["v1", ["v1", "v2"]])
async def test_a_read_that_never_ends_counts_as_one_that_failed(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch, tracked: str | list[str]
) -> None:
    for module in (reading, current_locations):
        monkeypatch.setattr(module, "READ_LIMIT", 0.05)
    monkeypatch.setattr(current_locations, "SNAPSHOT_RETRY", 0.05)
    name = plugins.module("failing", SILENT)
    async with (
        serving(extra_plugins=[name], cache="failing") as live,
        watching(live) as watcher,
    ):
        await live.publish("v1")
        status, answer = await live.get("/api/tracking/vehicle/v1")
        assert (status, answer["code"]) == (503, "unavailable")
        assert await watcher.call("track:vehicle", tracked) == {"success": True}
        assert live.server.incidents.counts["cache unavailable"] >= 1
        assert watcher.updates == []
        plugins.loaded("failing").Failing.fails = False
        await until(lambda: watcher.updates)
        assert watcher.updates[0]["entityId"] == "v1"
