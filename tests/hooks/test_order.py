"""The order of hook calls and their arguments, as in docs/plugins/promises.md."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import attrs
import pytest

from atriz_realtime.api import Resources, ServerHandle, hookimpl, hookspecs
from atriz_realtime.asgi import create_app
from atriz_realtime.plugin_system.plugins import PluginView
from atriz_realtime.testing import config, serving
from tests.support.docs import reference

MADE = [
    "register_settings",
    "register_authenticators",
    "register_authorizers",
    "register_filters",
    "register_views",
    "register_throttles",
    "register_caches",
    "register_fanouts",
    "register_journals",
    "register_entity_types",
    "register_fanout_layers",
    "register_observers",
    "register_recorders",
    "register_socket_events",
    "register_endpoints",
    "register_routes",
]
STARTED = ["server_started"]
STOPPED = ["server_stopping"]

HANDED = {"config": PluginView, "resources": Resources, "server": ServerHandle}


@attrs.frozen
class Settings:
    """No settings."""


def implementation(hook: str, called: list[str]) -> Callable[..., Any]:
    """An implementation of a hook that takes every argument and records the call."""

    def implement(**arguments: Any) -> Any:
        called.append(hook)
        assert arguments.keys() == signature.parameters.keys()
        for name, value in arguments.items():
            assert isinstance(value, HANDED[name])
        return Settings if hook == "register_settings" else None

    signature = inspect.signature(getattr(hookspecs, hook))
    names = ", ".join(signature.parameters)
    handed = ", ".join(f"{name}={name}" for name in signature.parameters)
    function: Callable[..., Any] = eval(f"lambda {names}: implement({handed})", locals())
    return hookimpl(function)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hooks of the plugin ``all_hooks`` that have been called."""
    called: list[str] = []
    module = ModuleType("all_hooks")
    for hook in reference.hook_names():
        setattr(module, hook, implementation(hook, called))
    monkeypatch.setitem(sys.modules, "all_hooks", module)
    return called


async def test_each_hook_is_called_once_in_the_documented_order(called: list[str]) -> None:
    app = create_app(config(extra_plugins=["all_hooks"]))
    assert called == MADE
    async with serving(app):
        assert called == MADE + STARTED
    assert called == MADE + STARTED + STOPPED


def test_every_hook_has_its_place_in_that_order() -> None:
    of_the_command_line = {"register_commands", "register_checks"}
    placed = {*MADE, *STARTED, *STOPPED, *of_the_command_line}
    assert placed == set(reference.hook_names())
