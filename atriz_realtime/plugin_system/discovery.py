"""The plugins that a server can load: the defaults, installed ones, those that settings name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from atriz_realtime.api import hookspecs
from atriz_realtime.api.errors import PluginError

DISTRIBUTION = "atriz-realtime"

DEFAULT_PLUGINS: Mapping[str, str] = MappingProxyType(
    {
        "jwt_auth": "atriz_realtime.defaults.jwt_auth:JwtAuth",
        "revocations": "atriz_realtime.defaults.revocations",
        "claims": "atriz_realtime.defaults.claims",
        "vehicle": "atriz_realtime.defaults.entities:vehicle",
        "delivery": "atriz_realtime.defaults.entities:delivery",
        "throttling": "atriz_realtime.defaults.throttling",
        "memory": "atriz_realtime.defaults.memory",
        "redis": "atriz_realtime.defaults.redis",
        "typescript": "atriz_realtime.defaults.typescript",
        "http_api": "atriz_realtime.defaults.http_api",
        "socket_publish": "atriz_realtime.defaults.socket_publish",
        "privacy": "atriz_realtime.defaults.privacy",
        "sharing": "atriz_realtime.defaults.sharing",
        "health": "atriz_realtime.defaults.health",
        "metrics": "atriz_realtime.defaults.metrics",
        "basemap": "atriz_realtime.defaults.basemap",
        "admin_ui": "atriz_realtime.defaults.admin_ui",
        "console": "atriz_realtime.defaults.console",
    }
)
"""The plugins of the package by name, each a module, ``module:object`` or ``module:class``;
loaded first."""


@attrs.frozen
class PluginSource:
    """Where a plugin comes from, and how to load it."""

    origin: str
    """``default``, a distribution's name, or ``configuration``."""
    version: str
    load: Callable[[], Any]
    target: str = ""
    """What configuration names."""

    @property
    def file(self) -> str:
        """The file that was loaded, when configuration names the plugin; else empty."""
        module = sys.modules.get(self.target.partition(":")[0])
        return getattr(module, "__file__", None) or ""

    def __str__(self) -> str:
        return f"{self.origin} ({self.target})" if self.target else self.origin


def find_plugins(extra: Iterable[str]) -> dict[str, PluginSource]:
    """Every plugin there is, by name, in load order; none is imported.

    :param extra: the setting ``extra_plugins``.
    :raises PluginError: when two have the same name, naming both origins; for a path.
    """
    sources: dict[str, PluginSource] = {}

    def add(name: str, source: PluginSource) -> None:
        if name in sources:
            raise PluginError(
                f"two plugins are named {name!r}: one from {sources[name]}, one from {source}"
            )
        sources[name] = source

    own_version = version(DISTRIBUTION)
    for name, target in DEFAULT_PLUGINS.items():
        add(name, PluginSource("default", own_version, _loader(target)))
    for found in sorted(entry_points(group=hookspecs.PROJECT_NAME), key=lambda each: each.name):
        origin, number = "entry point", "-"
        if found.dist is not None:
            origin, number = found.dist.name, found.dist.version
        add(found.name, PluginSource(origin, number, found.load))
    for entry in extra:
        given, _, target = (part.strip() for part in entry.rpartition("="))
        module, _, attribute = target.partition(":")
        if "/" in module or module.endswith(".py"):
            meant = module.removesuffix(".py").strip("./").replace("/", ".")
            raise PluginError(
                f"extra_plugins: {entry!r} is a path; write the module as Python imports it, such "
                f"as {meant!r}"
            )
        name = given or attribute or module.rpartition(".")[2]
        add(name, PluginSource("configuration", "-", _loader(target), target))
    return sources


def search_working_directory() -> None:
    """Let Python find plugins in the working directory: first, as uvicorn and ``python -m`` do.

    Where Python was told not to (``python -P``, ``PYTHONSAFEPATH``), what is installed comes first.
    """
    here = str(Path.cwd())
    if sys.flags.safe_path:
        sys.path.append(here)
    elif sys.path[:1] not in ([""], [here]):
        sys.path.insert(0, here)


def _loader(target: str) -> Callable[[], Any]:
    def load() -> Any:
        module_name, _, attribute = target.partition(":")
        module = importlib.import_module(module_name)
        return getattr(module, attribute) if attribute else module

    return load
