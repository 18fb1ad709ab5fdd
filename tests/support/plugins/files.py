"""Plugins as files: modules, and installed distributions with entry points."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from atriz_realtime import RealtimeConfig
from atriz_realtime.api import ConfigurationError, Resources, hookspecs
from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.plugin_system.plugins import PluginHost, PluginInfo
from atriz_realtime.plugin_system.registry import Registry
from atriz_realtime.plugin_system.settings_view import SettingsView

HEADER = "from atriz_realtime.api import *\n"
"""The first line of every plugin module; a real one would name what it imports."""


DEFAULT_HOOKS = (
    "revocations:register_commands",
    *(f"revocations:{hook}" for hook in ("server_started", "server_stopping")),
    "basemap:register_commands",
    "admin_ui:server_started",
    *(f"sharing:{hook}" for hook in ("register_commands", "server_started")),
)
"""The default plugins' implementations of hooks that tests call on all plugins."""


class Plugins:
    """A directory on Python's path for plugins.

    :param folder: an empty directory.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        monkeypatch.syspath_prepend(str(folder))

    def module(self, name: str, source: str) -> str:
        """Write a module; returns its name."""
        path = self._folder.joinpath(*name.split("."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(HEADER + textwrap.dedent(source))
        return name

    def forget(self) -> None:
        """Remove the plugins from ``sys.modules``, so that the next test can use their names."""
        for name, module in list(sys.modules.items()):
            places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
            if any(place and Path(place).is_relative_to(self._folder) for place in places):
                del sys.modules[name]

    def loaded(self, name: str) -> Any:
        """The module that the server has imported."""
        return sys.modules[name]

    def returning(self, name: str, hook: str, expression: str) -> str:
        """Write a module whose hook returns an expression."""
        return self.module(name, f"@hookimpl\ndef {hook}():\n    return {expression}")

    def commands(self, name: str, marker: str = "@hookimpl") -> str:
        """Write a module that answers ``register_commands`` with its own name."""
        return self.module(
            name,
            f"""
            {marker}
            def register_commands():
                return {name.rpartition(".")[2]!r}
            """,
        )

    def distribution(
        self,
        name: str,
        entry_points: Mapping[str, str],
        *,
        version: str = "1.2.3",
        group: str = "atriz_realtime",
    ) -> None:
        """Install a distribution, as pip would."""
        info = self._folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        lines = [f"{point} = {target}" for point, target in entry_points.items()]
        info.joinpath("entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))


def arguments(hook: str, **given: Any) -> dict[str, Any]:
    """The arguments of a hook besides ``config``; ``None`` for those that are not given."""
    names = inspect.signature(getattr(hookspecs, hook)).parameters
    found = {name: given.get(name) for name in names if name != "config"}
    if "server" in found:
        found["server"] = lambda _: given.get("server")
    return found


def call(host: PluginHost, hook: str, **given: Any) -> list[tuple[str, Any]]:
    """Call a hook of every plugin."""
    return host.call(hook, **arguments(hook, **given))


def answers(host: PluginHost) -> list[str]:
    """Which plugins answer ``register_commands``, in order."""
    return [plugin for plugin, _ in call(host, "register_commands")]


def host_of(*extra_plugins: str, **settings: Any) -> PluginHost:
    """The plugin host of a configuration, without :data:`DEFAULT_HOOKS`."""
    settings["disabled_hooks"] = (*settings.get("disabled_hooks", ()), *DEFAULT_HOOKS)
    return PluginHost(RealtimeConfig(extra_plugins=extra_plugins, **settings))


def registry_of(*extra_plugins: str, **settings: Any) -> Registry:
    """The registry of a configuration."""
    config = RealtimeConfig(extra_plugins=extra_plugins, **settings)
    resources = Resources(clock=SystemClock(), redis=None, settings=SettingsView(config))
    return Registry(PluginHost(config), config, resources)


def info(host: PluginHost, name: str) -> PluginInfo:
    """The entry of one plugin in the list of plugins."""
    (found,) = (plugin for plugin in host.describe() if plugin.name == name)
    return found


def refusal(*extra_plugins: str, **settings: Any) -> str:
    """The message of the error that stops the start."""
    with pytest.raises(ConfigurationError) as error:
        host_of(*extra_plugins, **settings)
    return error.value.message


@contextmanager
def plugins_in(folder: Path) -> Iterator[Plugins]:
    """A directory for plugins, on Python's path for as long as the context lasts."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        plugins = Plugins(folder, monkeypatch)
        try:
            yield plugins
        finally:
            plugins.forget()
