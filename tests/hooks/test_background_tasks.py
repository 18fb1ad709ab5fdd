"""Background tasks of plugins: ``ServerHandle.create_task``."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from atriz_realtime.core.runtime import plugin_runner
from atriz_realtime.testing import serving, until
from tests.support.plugins.files import Plugins

POLLER = """
import asyncio

made = []

class Poller:
    def __init__(self):
        self.log, self.gate, self.swallows = [], asyncio.Event(), False
        made.append(self)

    @hookimpl
    def register_observers(self):
        async def observe(event):
            pass

        return Observer("poller", observe, aclose=self.flush)

    @hookimpl
    async def server_started(self, server):
        self.server = server
        self.task = server.create_task(self.poll(), name="poll")
        return self

    async def poll(self):
        self.log.append("polling")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.log.append("cancelled")
            while self.swallows:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    pass
            raise
        raise self.error

    async def flush(self):
        self.log.append("flushed")

    async def aclose(self):
        self.log.append("closed")

    def made(self):
        return len(made)
"""


@pytest.fixture
def poller(plugins: Plugins) -> dict[str, Any]:
    """Settings that load the plugin ``poller``."""
    plugins.module("polling", POLLER)
    return {"extra_plugins": ["poller = polling:Poller"]}


@pytest.mark.parametrize(
    "error", [LookupError("no answer"), SystemExit(3), asyncio.CancelledError()]
)
async def test_what_a_task_raises_is_counted_and_logged_at_once(
    plugins: Plugins,
    poller: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
) -> None:
    async with serving(**poller) as live:
        (plugin,) = plugins.loaded("polling").made
        assert plugin.task.get_name() == "poll"
        plugin.error = error
        plugin.gate.set()
        await plugin.task
        assert live.server.incidents.counts["plugin poller failed"] == 1
        (line,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
        assert line.getMessage() == (
            f"plugin poller failed: task 'poll' has ended: {type(error).__name__}: {error}"
        )
        assert line.exc_info
        status, report = await live.get("/health/realtime")
        assert (status, report["status"]) == (200, "healthy")
        assert report["incidents"]["plugin poller failed"] == 1
        failed = [{"plugin": "poller", "task": "poll", "error": type(error).__name__}]
        assert report["failedTasks"] == failed
        assert plugin.server.failed_tasks() == failed
        assert live.server.reports.own().failed_tasks == failed


async def test_a_task_that_is_started_again_is_no_longer_listed_as_failed(
    plugins: Plugins, poller: dict[str, Any]
) -> None:
    async with serving(**poller) as live:
        (plugin,) = plugins.loaded("polling").made
        plugin.error = LookupError("no answer")
        plugin.gate.set()
        await plugin.task
        plugin.gate.clear()
        plugin.server.create_task(plugin.poll(), name="another")
        assert len(plugin.server.failed_tasks()) == 1
        plugin.server.create_task(plugin.poll(), name="poll")
        _, report = await live.get("/health/realtime")
        assert "failedTasks" not in report


async def test_a_task_ends_before_what_it_uses_is_closed(
    plugins: Plugins, poller: dict[str, Any]
) -> None:
    async with serving(**poller) as live:
        (plugin,) = plugins.loaded("polling").made
        await until(lambda: plugin.log)
    assert plugin.log == ["polling", "flushed", "cancelled", "closed"]
    assert plugin.task.cancelled()
    assert not [kind for kind in live.server.incidents.counts if "poller" in kind]


async def test_a_task_that_does_not_end_is_named_and_the_stop_goes_on(
    plugins: Plugins, poller: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin_runner, "CLOSE_LIMIT", 0.05)
    async with serving(**poller) as live:
        (plugin,) = plugins.loaded("polling").made
        plugin.swallows = True
        await until(lambda: plugin.log)
    plugin.swallows = False
    plugin.task.cancel()
    await asyncio.wait([plugin.task])
    assert plugin.log[-1] == "closed"
    assert live.server.incidents.counts["plugin poller timed out"] == 1


async def test_no_task_starts_after_the_stop(plugins: Plugins, poller: dict[str, Any]) -> None:
    async with serving(**poller):
        (plugin,) = plugins.loaded("polling").made
    with pytest.raises(RuntimeError, match="starts no task 'late'"):
        plugin.server.create_task(plugin.poll(), name="late")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("poll", "polling.Poller.poll; call it"),
        ("gate", "Event"),
        ("made", "polling.Poller.made"),
    ],
)
async def test_what_is_no_coroutine_is_refused_with_the_names_of_plugin_and_task(
    plugins: Plugins, poller: dict[str, Any], given: str, named: str
) -> None:
    async with serving(**poller):
        (plugin,) = plugins.loaded("polling").made
        with pytest.raises(TypeError) as refusal:
            plugin.server.create_task(getattr(plugin, given), name="late")
    assert str(refusal.value) == (
        f"plugin 'poller': the task 'late' must be a coroutine, not {named}"
    )


async def test_a_task_that_has_not_begun_is_cancelled_without_a_warning(
    plugins: Plugins, poller: dict[str, Any]
) -> None:
    async with serving(**poller):
        (plugin,) = plugins.loaded("polling").made
        plugin.server.create_task(plugin.poll(), name="unbegun").cancel()
    assert plugin.log.count("polling") == 1


async def test_each_plugin_has_one_handle_of_its_own(plugins: Plugins) -> None:
    source = """
    handles = []

    @hookimpl
    def register_observers(server):
        handles.append(server)

    @hookimpl
    async def server_started(server):
        handles.append(server)
    """
    names = [plugins.module("one", source), plugins.module("two", source)]
    async with serving(extra_plugins=names):
        first, second = (plugins.loaded(name).handles for name in names)
        assert first[0] is first[1]
        assert second[0] is second[1]
        assert first[0] != second[0]
        assert first[0].signals is second[0].signals
