"""State between hooks: plugins that are classes, what ``server_started`` returns, ``aclose``."""

from __future__ import annotations

from typing import Any

import pytest

from atriz_realtime import create_app
from atriz_realtime.api import PluginError
from atriz_realtime.testing import config, serving, until
from tests.support.plugins.files import Plugins

HISTORY = """
import asyncio

made = []

class History:
    def __init__(self):
        self.log, self.gate, self.failures = [], asyncio.Event(), set()
        self.gate.set()
        made.append(self)

    @hookimpl
    def register_observers(self):
        return Observer("history", self.observe, aclose=self.flush)

    @hookimpl
    async def server_started(self):
        self.log.append("opened")
        return self

    @hookimpl
    def server_stopping(self):
        self.log.append("stopping")

    async def observe(self, event):
        await self.gate.wait()
        self.log.append(event.entity_id)

    async def flush(self):
        self.log.append("flushed")
        if "flush" in self.failures:
            raise Unavailable("no disk")

    async def aclose(self):
        self.log.append("closed")
        if "close" in self.failures:
            raise LookupError("no disk")
"""


@pytest.fixture
def history(plugins: Plugins) -> dict[str, Any]:
    """Settings that load the plugin ``history``."""
    plugins.module("recorded", HISTORY)
    return {"extra_plugins": ["history = recorded:History"]}


async def test_what_is_queued_at_the_stop_is_observed(
    plugins: Plugins, history: dict[str, Any]
) -> None:
    """A plugin that is told of the stop later lets the observer go on."""
    plugins.module(
        "opener",
        """
        import recorded

        @hookimpl
        def server_stopping():
            recorded.made[0].gate.set()
        """,
    )
    history["extra_plugins"].append("opener")
    async with serving(**history) as live:
        (plugin,) = plugins.loaded("recorded").made
        plugin.gate.clear()
        for name in ("v1", "v2", "v3"):
            await live.publish(name)
    assert plugin.log == ["opened", "stopping", "v1", "v2", "v3", "flushed", "closed"]


async def test_two_servers_have_an_object_each(plugins: Plugins, history: dict[str, Any]) -> None:
    async with serving(**history) as one, serving(**history):
        await one.publish("v1")
        first, second = plugins.loaded("recorded").made
        await until(lambda: first.log == ["opened", "v1"])
    assert second.log == ["opened", "stopping", "flushed", "closed"]


async def test_failures_to_close_are_the_plugin_s_and_the_stop_continues(
    plugins: Plugins, history: dict[str, Any]
) -> None:
    async with serving(**history) as live:
        (plugin,) = plugins.loaded("recorded").made
        plugin.failures |= {"flush", "close"}
    assert plugin.log == ["opened", "stopping", "flushed", "closed"]
    assert live.server.incidents.counts == {"plugin history failed": 2}


async def test_no_observer_is_called_before_every_plugin_has_started(
    plugins: Plugins, history: dict[str, Any]
) -> None:
    """Another plugin publishes first; the event waits until the observer's own has opened."""
    plugins.module(
        "eager",
        """
        import asyncio
        from datetime import UTC, datetime

        @hookimpl(tryfirst=True)
        async def server_started(server):
            here = Location(device_id="d", user_id="u", latitude=1, longitude=2,
                            timestamp=datetime.now(UTC))
            await server.tracking.publish(server.tracking.entity("vehicle", "v1"), here)
            for _ in range(10):
                await asyncio.sleep(0)
        """,
    )
    history["extra_plugins"].append("eager")
    async with serving(**history):
        (plugin,) = plugins.loaded("recorded").made
        await until(lambda: len(plugin.log) == 2)
        assert plugin.log == ["opened", "v1"]


async def test_a_start_that_fails_closes_what_is_open(
    plugins: Plugins, history: dict[str, Any]
) -> None:
    plugins.module("broken", "@hookimpl\ndef server_started():\n    raise LookupError('no fuel')")
    history["extra_plugins"].append("broken")
    server = create_app(config(**history)).state.realtime
    with pytest.raises(PluginError, match="no fuel"):
        await server.start()
    (plugin,) = plugins.loaded("recorded").made
    assert plugin.log == ["opened", "flushed", "closed"]
    await server.close()


async def test_what_cannot_be_closed_stops_the_start(plugins: Plugins) -> None:
    plugins.module("shop", "@hookimpl\nasync def server_started():\n    yield")
    server = create_app(config(extra_plugins=["shop"])).state.realtime
    expected = "plugin 'shop': server_started must return None or an object with aclose, not async"
    with pytest.raises(PluginError, match=expected):
        await server.start()
    await server.close()
