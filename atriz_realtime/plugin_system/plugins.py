"""Loading plugins: the defaults, installed distributions, names from configuration."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points, version
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import attrs
import pluggy

from atriz_realtime.api import hookspecs
from atriz_realtime.api.errors import ConfigurationError, PluginError
from atriz_realtime.plugin_system.config import RealtimeConfig, view
from atriz_realtime.plugin_system.names import nearest
from atriz_realtime.plugin_system.structure import structure

T = TypeVar("T")

DEFAULT_PLUGINS: Mapping[str, str] = MappingProxyType(
    {
        "jwt_auth": "atriz_realtime.defaults.jwt_auth",
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
        "admin_ui": "atriz_realtime.defaults.admin_ui",
        "console": "atriz_realtime.defaults.console",
    }
)
"""The plugins that come with the package, by name: ordinary ones, loaded first."""

DISTRIBUTION = "atriz-realtime"

GUARDING_HOOKS = frozenset(
    {"register_authenticators", "register_authorizers", "register_filters", "register_views"}
)
"""Hooks whose failure stops the start even of an optional plugin: without what they
register, somebody might get in, or see what they should not."""

logger = logging.getLogger("atriz_realtime")


@attrs.frozen
class PluginInfo:
    """One plugin, as ``atriz-realtime plugins`` lists it."""

    name: str
    version: str
    origin: str
    """``default``, the distribution it came with, or ``configuration``."""
    state: Literal["active", "disabled", "failed"]
    hooks: tuple[str, ...]
    """The hooks it implements and that are called."""
    blocked_hooks: tuple[str, ...] = ()
    """The hooks it implements and that configuration has turned off."""
    failure: str = ""
    """Why it failed."""


@attrs.frozen
class _Source:
    """Where a plugin comes from."""

    origin: str
    version: str
    load: Callable[[], Any]
    target: str = ""
    """What configuration names."""

    def __str__(self) -> str:
        return f"{self.origin} ({self.target})" if self.target else self.origin


@attrs.frozen
class PluginView:
    """What a plugin sees of the configuration: see :class:`~atriz_realtime.api.PluginConfig`."""

    name: str
    settings: Mapping[str, Any]
    table: Mapping[str, Any]

    def load(self, settings_class: type[T]) -> T:
        """The plugin's own table as an instance of an attrs class."""
        return structure(self.table, settings_class, f"[realtime.plugins.{self.name}]")


class PluginHost:
    """The plugins of one server.

    :raises PluginError: when a plugin cannot be loaded, or implements a hook
        that does not exist.
    :raises ConfigurationError: when configuration names a plugin or a hook that
        does not exist, with the nearest one that does.
    """

    def __init__(self, config: RealtimeConfig) -> None:
        self._config = config
        self._settings = view(config)
        self._sources = _find(config)
        self._manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        self._manager.add_hookspecs(hookspecs)
        self._failures: dict[str, str] = {}
        for setting in ("disabled_plugins", "optional_plugins"):
            for name in getattr(config, setting):
                if name not in self._sources:
                    raise ConfigurationError(
                        f"{setting}: no plugin {name!r}{nearest(name, self._sources)}",
                        field=setting,
                    )
        for name in config.plugins:
            if name not in self._sources:
                raise ConfigurationError(
                    f"[realtime.plugins.{name}]: no such plugin{nearest(name, self._sources)}",
                    field="plugins",
                )
        for name, source in self._sources.items():
            if name not in config.disabled_plugins:
                try:
                    self._load(name, source)
                except PluginError as error:
                    self._tolerate(name, error)
        self._blocked = self._read_disabled_hooks()
        self.settings = self._read_tables()

    def call(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call one hook of every plugin in order, each with its own configuration.

        Returns each plugin's name with what it returned.

        :raises PluginError: naming the plugin, when its implementation raises.
        """
        results: list[tuple[str, Any]] = []
        for name in self._callees(hook):
            try:
                results += [(name, result) for result in self._call(name, hook, arguments)]
            except ConfigurationError as error:
                self._tolerate(name, error, hook)
        return results

    async def notify(
        self, hook: str, limit: float, *, tolerant: bool = False, **arguments: Any
    ) -> list[ConfigurationError]:
        """Call a life-cycle hook of every plugin in order, awaiting coroutine functions.

        :param limit: seconds that one plugin may take.
        :param tolerant: whether every plugin's failure is only returned.
        :returns: the failures that were tolerated.
        :raises PluginError: for the first one that is not.
        """
        failures: list[ConfigurationError] = []
        for name in self._callees(hook):
            try:
                async with asyncio.timeout(limit):
                    for result in self._call(name, hook, arguments):
                        if inspect.isawaitable(result):
                            await result
            except (Exception, SystemExit) as error:
                failure = _failure(name, hook, error)
                if not tolerant:
                    self._tolerate(name, failure, hook)
                failures.append(failure)
        return failures

    def view(self, name: str) -> PluginView:
        """The configuration as this plugin sees it."""
        return PluginView(
            name, self._settings, MappingProxyType(dict(self._config.plugins.get(name, {})))
        )

    def describe(self) -> list[PluginInfo]:
        """Every plugin that was found, in load order."""
        infos = []
        for name, source in self._sources.items():
            plugin = self._manager.get_plugin(name)
            callers = self._manager.get_hookcallers(plugin) if plugin is not None else None
            hooks = sorted(caller.name for caller in callers or ())
            infos.append(
                PluginInfo(
                    name=name,
                    version=source.version,
                    origin=source.origin,
                    state=self._state(name, plugin),
                    hooks=tuple(hook for hook in hooks if (name, hook) not in self._blocked),
                    blocked_hooks=tuple(hook for hook in hooks if (name, hook) in self._blocked),
                    failure=self._failures.get(name, ""),
                )
            )
        return infos

    def _state(self, name: str, plugin: Any) -> Literal["active", "disabled", "failed"]:
        if name in self._failures:
            return "failed"
        return "disabled" if plugin is None else "active"

    def _tolerate(self, name: str, error: ConfigurationError, hook: str = "") -> None:
        """Report the failure of an optional plugin; any other stops the start."""
        if name not in self._config.optional_plugins or hook in GUARDING_HOOKS:
            raise error
        self._failures[name] = error.message
        logger.warning("optional plugin skipped: %s", error.message)
        plugin = self._manager.get_plugin(name)
        if plugin is not None and not hook:
            self._manager.unregister(plugin)

    def _read_tables(self) -> dict[str, Any]:
        """Check each plugin's own table against its settings class."""
        settings: dict[str, Any] = {}
        for name, settings_class in self.call("register_settings"):
            settings[name] = self.view(name).load(settings_class)
        for name in self._config.plugins:
            active = self._manager.has_plugin(name)
            if active and name not in settings and name not in self._failures:
                raise ConfigurationError(
                    f"[realtime.plugins.{name}]: the plugin has no settings", field="plugins"
                )
        return settings

    def _callees(self, hook: str) -> list[str]:
        return [name for name in self._implementers(hook) if (name, hook) not in self._blocked]

    def _call(self, name: str, hook: str, arguments: Mapping[str, Any]) -> list[Any]:
        """Call one plugin's implementation of a hook.

        :raises ConfigurationError: as the plugin raised it.
        :raises PluginError: when it raised anything else.
        """
        if "config" in inspect.signature(getattr(hookspecs, hook)).parameters:
            arguments = {**arguments, "config": self.view(name)}
        caller = self._manager.subset_hook_caller(
            hook, [plugin for other, plugin in self._active() if other != name]
        )
        try:
            returned = [
                list(result) if isinstance(result, Iterator) else result  # a generator runs here
                for result in caller(**arguments)
            ]
        except (Exception, SystemExit) as error:
            raise _failure(name, hook, error) from error
        return returned

    def _load(self, name: str, source: _Source) -> None:
        try:
            plugin = source.load()
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"plugin {name!r} ({source.origin}) cannot be loaded: "
                f"{type(error).__name__}: {error}"
            ) from error
        if inspect.isclass(plugin):
            raise PluginError(
                f"plugin {name!r} ({source.origin}) is a class; name a module or an instance"
            )
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            hint = ""
            if isinstance(error, pluggy.PluginValidationError):
                unknown = str(error).partition("unknown hook '")[2].partition("'")[0]
                if unknown:
                    hint = nearest(unknown, self._hooks())
            raise PluginError(f"plugin {name!r} ({source.origin}): {error}{hint}") from error
        if not self._manager.get_hookcallers(plugin):
            raise PluginError(
                f"plugin {name!r} ({source.origin}) implements no hook; "
                "mark its functions with atriz_realtime.api.hookimpl"
            )

    def _read_disabled_hooks(self) -> set[tuple[str, str]]:
        blocked: set[tuple[str, str]] = set()
        for entry in self._config.disabled_hooks:
            name, separator, hook = entry.partition(":")
            where = f"disabled_hooks: {entry!r}"
            if not separator:
                raise ConfigurationError(f"{where} must be plugin:hook", field="disabled_hooks")
            if name not in self._sources:
                raise ConfigurationError(
                    f"{where}: no plugin {name!r}{nearest(name, self._sources)}",
                    field="disabled_hooks",
                )
            if hook not in self._hooks():
                raise ConfigurationError(
                    f"{where}: no hook {hook!r}{nearest(hook, self._hooks())}",
                    field="disabled_hooks",
                )
            if name not in self._config.disabled_plugins and name not in self._implementers(hook):
                raise ConfigurationError(
                    f"{where}: plugin {name!r} does not implement {hook}", field="disabled_hooks"
                )
            blocked.add((name, hook))
        return blocked

    def _hooks(self) -> list[str]:
        return [
            name
            for name, member in inspect.getmembers(hookspecs, inspect.isfunction)
            if hasattr(member, f"{hookspecs.PROJECT_NAME}_spec")
        ]

    def _implementers(self, hook: str) -> list[str]:
        """Names of the plugins that implement a hook, in calling order.

        pluggy calls the plugin registered last first; records read better in load
        order, so of its ordering only ``tryfirst`` and ``trylast`` are kept.
        """
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        names = list(self._sources)
        implementations = sorted(
            caller.get_hookimpls(),
            key=lambda found: (found.trylast - found.tryfirst, names.index(found.plugin_name)),
        )
        return [implementation.plugin_name for implementation in implementations]

    def _active(self) -> list[tuple[str, Any]]:
        return self._manager.list_name_plugin()


def _failure(name: str, hook: str, error: BaseException) -> ConfigurationError:
    """What a plugin raised, with its name; what it raised on purpose stays as it is."""
    if isinstance(error, ConfigurationError):
        return error
    reason = "took too long" if isinstance(error, TimeoutError) else repr(error)
    if str(error):
        reason = f"{type(error).__name__}: {error}"
    return PluginError(f"plugin {name!r} failed in {hook}: {reason}")


def _find(config: RealtimeConfig) -> dict[str, _Source]:
    """Every plugin there is, by name, in load order.

    :raises PluginError: when two have the same name, naming both origins.
    """
    sources: dict[str, _Source] = {}

    def add(name: str, source: _Source) -> None:
        if name in sources:
            raise PluginError(
                f"two plugins are named {name!r}: one from {sources[name]}, one from {source}"
            )
        sources[name] = source

    own_version = version(DISTRIBUTION)
    for name, target in DEFAULT_PLUGINS.items():
        add(name, _Source("default", own_version, _loader(target)))
    for entry_point in sorted(
        entry_points(group=hookspecs.PROJECT_NAME), key=lambda found: found.name
    ):
        add(entry_point.name, _installed(entry_point))
    for target in config.extra_plugins:
        name = target.partition(":")[2] or target.partition(":")[0].rpartition(".")[2]
        add(name, _Source("configuration", "-", _loader(target), target))
    return sources


def _installed(entry_point: EntryPoint) -> _Source:
    distribution = entry_point.dist
    if distribution is None:
        return _Source("entry point", "-", entry_point.load)
    return _Source(distribution.name, distribution.version, entry_point.load)


def _loader(target: str) -> Callable[[], Any]:
    def load() -> Any:
        module_name, _, attribute = target.partition(":")
        module = importlib.import_module(module_name)
        return getattr(module, attribute) if attribute else module

    return load
