"""The argument ``resources`` of hooks and of what they create."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from atriz_realtime.api import PASS, Resources, Throttle, Verdict, hookimpl, limit_reached
from tests.support.servers.serving import serving


def plugin(monkeypatch: pytest.MonkeyPatch, name: str, **functions: Any) -> str:
    """Write a module that implements hooks, and return its name."""
    module = ModuleType(name)
    for hook, function in functions.items():
        setattr(module, hook, hookimpl(function))
    monkeypatch.setitem(sys.modules, name, module)
    return name


async def test_what_a_plugin_reports_is_counted_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Worried:
        def __init__(self, _: Any, resources: Resources) -> None:
            self._resources = resources

        async def admit(self, *_: Any) -> Verdict:
            self._resources.report("clouds", "rain is near")
            return PASS

    name = plugin(monkeypatch, "worried", register_throttles=lambda: Throttle("worried", Worried))
    async with serving(extra_plugins=[name], throttle="worried") as live:
        for _ in range(3):
            await live.publish()
        assert live.server.incidents.counts["clouds"] == 3
    assert caplog.messages.count("clouds: rain is near") == 1


async def test_a_plugin_counts_how_often_its_limit_is_reached(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def server_started(resources: Resources) -> None:
        for _ in range(3):
            limit_reached(resources.report, "clouds.MAX_RAIN", "more than 5 drops: one dried up")

    name = plugin(monkeypatch, "clouds", server_started=server_started)
    async with serving(extra_plugins=[name]) as live:
        counted = "limit clouds.MAX_RAIN reached"
        assert (await live.get("/health/realtime"))[1]["incidents"] == {counted: 3}
        (labelled,) = live.server.incidents.labelled_counts()
        assert labelled == ("limit {limit} reached", {"limit": "clouds.MAX_RAIN"}, 3)
    assert caplog.messages.count(f"{counted}: more than 5 drops: one dried up") == 1


async def test_both_life_cycle_hooks_get_the_resources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handed: list[Resources] = []

    def server_started(resources: Resources) -> None:
        handed.append(resources)

    def server_stopping(resources: Resources) -> None:
        handed.append(resources)

    name = plugin(
        monkeypatch, "curious", server_started=server_started, server_stopping=server_stopping
    )
    async with serving(extra_plugins=[name]):
        assert len(handed) == 1
    assert handed[0] is handed[1]
    assert handed[0].settings["extra_plugins"] == (name,)
