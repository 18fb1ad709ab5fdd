"""The plugins of a server: loading them, switching them off, calling their hooks."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import attrs
import pluggy

from atriz_realtime.api import hookspecs
from atriz_realtime.api.errors import ConfigurationError, PluginError
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.plugin_system.discovery import PluginSource, find_plugins
from atriz_realtime.plugin_system.failures import failure_of, unexpected
from atriz_realtime.plugin_system.settings_view import SettingsView
from atriz_realtime.plugin_system.signatures import signature_of
from atriz_realtime.plugin_system.structure import check_settings_class, nearest, structure

T = TypeVar("T")

GUARDING_HOOKS = frozenset(
    {"register_authenticators", "register_authorizers", "register_filters", "register_views"}
)
"""Hooks that no plugin is optional in: without what they register, a server would let in a
caller, or show a location, that it should not."""

STARTING_HOOK_TIMEOUT = 10.0
"""Seconds that one ``server_started`` hook may take."""

STOPPING_HOOK_TIMEOUT = 1.0
"""Seconds that one ``server_stopping`` hook may take."""

_LIMITS = {"server_started": STARTING_HOOK_TIMEOUT, "server_stopping": STOPPING_HOOK_TIMEOUT}

HOOKS = tuple(
    name
    for name, member in inspect.getmembers(hookspecs, inspect.isfunction)
    if hasattr(member, f"{hookspecs.PROJECT_NAME}_spec")
)
"""The names of all hooks."""

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
    """The hooks it implements, those in ``blocked_hooks`` apart."""
    blocked_hooks: tuple[str, ...] = ()
    """The hooks it implements and that configuration turns off."""
    failure: str = ""
    """Why it failed, when it did."""
    file: str = ""
    """The file that it was loaded from, when configuration names it."""


@attrs.frozen
class PluginView:
    """The configuration of one plugin: see :class:`~atriz_realtime.api.PluginConfig`."""

    name: str
    settings: Mapping[str, Any]
    table: Mapping[str, Any] = attrs.field(repr=False)

    def load(self, settings_class: type[T]) -> T:
        """The plugin's own table as an instance of an attrs class."""
        return structure(self.table, settings_class, f"[realtime.plugins.{self.name}]")


class PluginHost:
    """The plugins of one server.

    :param read_tables: whether to check the plugins' own tables; without, there are no settings.
    :raises PluginError: when a plugin cannot be loaded, or implements a hook that does not exist.
    :raises ConfigurationError: when configuration names a plugin or a hook that does not exist,
        with the nearest one that does.
    """

    def __init__(self, config: RealtimeConfig, *, read_tables: bool = True) -> None:
        if not isinstance(config, RealtimeConfig):
            raise ConfigurationError(
                f"the configuration must be a RealtimeConfig, not {type(config).__name__}; "
                "RealtimeConfig(jwt_secret=…) makes one"
            )
        self._config = config
        self._settings = SettingsView(config)
        self._sources = find_plugins(config.extra_plugins)
        self._manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        self._manager.add_hookspecs(hookspecs)
        self._failures: dict[str, str] = {}
        self._blocked: set[tuple[str, str]] = set()
        for setting in ("disabled_plugins", "optional_plugins"):
            for name in getattr(config, setting):
                self._check_known(name, f"{setting}: no plugin {name!r}", setting)
        for name in config.plugins:
            self._check_known(name, f"[realtime.plugins.{name}]: no such plugin", "plugins")
        for name, source in self._sources.items():
            if name not in config.disabled_plugins:
                try:
                    self._load(name, source)
                except PluginError as error:
                    self._tolerate(name, error)
        self._blocked = self._read_disabled_hooks()
        self.settings = self._read_tables() if read_tables else {}

    def call(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook's implementations in order, each with its plugin's configuration.

        Returns pairs of a plugin's name and what its implementation returned.  An
        implementation that returns ``None`` is left out.

        :raises PluginError: naming the plugin, when an implementation raises.
        """
        results: list[tuple[str, Any]] = []
        for implementation in self._implementations(hook):
            name = implementation.plugin_name
            try:
                result = self._call(hook, implementation, arguments)
            except ConfigurationError as error:
                self._tolerate(name, error, hook)
            else:
                if result is not None:
                    results.append((name, result))
        return results

    async def notify(
        self,
        hook: str,
        limit: float | None = None,
        *,
        tolerant: bool = False,
        returned: Callable[[str, Any], None] | None = None,
        **arguments: Any,
    ) -> list[ConfigurationError]:
        """Call a life-cycle hook's implementations in order, awaiting those that are coroutines.

        :param limit: seconds that one implementation may take; ``None``: the hook's own limit.
        :param tolerant: return the failure of any plugin, rather than an optional one's alone.
        :param returned: called with a plugin's name and what its implementation returned, unless
            that is ``None``; an exception of it counts as the plugin's.
        :returns: the failures that did not stop the call.
        :raises PluginError: for the first failure that does.
        """
        failures: list[ConfigurationError] = []
        for implementation in self._implementations(hook):
            name = implementation.plugin_name
            timeout = asyncio.timeout(_LIMITS[hook] if limit is None else limit)
            try:
                async with timeout:
                    result = self._call(hook, implementation, arguments)
                    if inspect.isawaitable(result):
                        result = await result
                if returned is not None and result is not None:
                    returned(name, result)
            except (Exception, SystemExit) as error:
                late = timeout.expired()  # a plugin may raise a TimeoutError of its own
                failure = failure_of(name, hook, error, "took too long" if late else "")
                if not tolerant:
                    self._tolerate(name, failure, hook)
                failures.append(failure)
        return failures

    def view(self, name: str) -> PluginView:
        """The configuration as the plugin of this name sees it."""
        return PluginView(
            name, self._settings, MappingProxyType(dict(self._config.plugins.get(name, {})))
        )

    def describe(self) -> list[PluginInfo]:
        """Every plugin that was found, in load order, disabled and failed ones included."""
        infos = []
        for name, source in self._sources.items():
            hooks = self._hooks_of(name)
            infos.append(
                PluginInfo(
                    name=name,
                    version=source.version,
                    origin=source.origin,
                    state=self._state(name),
                    hooks=tuple(hook for hook in hooks if (name, hook) not in self._blocked),
                    blocked_hooks=tuple(hook for hook in hooks if (name, hook) in self._blocked),
                    failure=self._failures.get(name, ""),
                    file=source.file,
                )
            )
        return infos

    def _state(self, name: str) -> Literal["active", "disabled", "failed"]:
        if name in self._failures:
            return "failed"
        return "active" if self._manager.has_plugin(name) else "disabled"

    def _hooks_of(self, name: str) -> list[str]:
        plugin = self._manager.get_plugin(name)
        callers = self._manager.get_hookcallers(plugin) if plugin is not None else None
        return sorted(caller.name for caller in callers or ())

    def _tolerate(self, name: str, error: ConfigurationError, hook: str = "") -> None:
        """Log the failure of an optional plugin; raise that of any other.

        :param hook: where it failed; empty: while it was loaded.
        """
        if name not in self._config.optional_plugins or hook in GUARDING_HOOKS:
            raise error
        self._failures[name] = error.message
        cause = unexpected(error)
        if hook:
            logger.warning(
                "optional plugin runs without %s: %s", hook, error.message, exc_info=cause
            )
        else:
            logger.warning("optional plugin skipped: %s", error.message, exc_info=cause)
        plugin = self._manager.get_plugin(name)
        if plugin is not None and not hook:
            self._manager.unregister(plugin)

    def _read_tables(self) -> dict[str, Any]:
        """Check each plugin's own table against its settings class."""
        settings: dict[str, Any] = {}
        for name, settings_class in self.call("register_settings"):
            what = "what register_settings returns"
            try:
                check_settings_class(f"plugin {name!r}", what, settings_class)
                settings[name] = self.view(name).load(settings_class)
            except PluginError as error:
                self._tolerate(name, error, "register_settings")
        for name in self._config.plugins:
            active = self._manager.has_plugin(name)
            if active and name not in settings and name not in self._failures:
                where = f"[realtime.plugins.{name}]"
                if (name, "register_settings") in self._blocked:
                    reason = "disabled_hooks turns off the plugin's register_settings"
                else:
                    reason = "the plugin has no settings"
                raise ConfigurationError(f"{where}: {reason}", field="plugins")
        return settings

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """The implementations of a hook that are called, in calling order.

        pluggy calls the plugin that was registered last first.  Records read better in load
        order, so of pluggy's order only ``tryfirst`` and ``trylast`` count.
        """
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        names = list(self._sources)
        return sorted(
            (
                each
                for each in caller.get_hookimpls()
                if (each.plugin_name, hook) not in self._blocked
            ),
            key=lambda each: (each.trylast - each.tryfirst, names.index(each.plugin_name)),
        )

    def _call(
        self, hook: str, implementation: pluggy.HookImpl, arguments: Mapping[str, Any]
    ) -> Any:
        """Call one implementation with the arguments that it names; a generator runs here.

        Each plugin gets a ``server`` of its own, which the argument of that name makes.

        :raises ConfigurationError: when it raised one: see :func:`failure_of`.
        :raises PluginError: when it raised anything else.
        """
        name = implementation.plugin_name
        values = {**arguments, "config": self.view(name)}
        if "server" in arguments:
            values["server"] = arguments["server"](name)
        try:
            result = implementation.function(*[values[each] for each in implementation.argnames])
            if hook in _LIMITS:
                return result
            if inspect.isawaitable(result):
                if inspect.iscoroutine(result):
                    result.close()  # nobody will await it
                raise PluginError(
                    f"plugin {name!r}: {hook} must be a plain function: remove `async`"
                )
            return list(result) if isinstance(result, Iterator) else result
        except (Exception, SystemExit) as error:
            raise failure_of(name, hook, error) from error

    def _load(self, name: str, source: PluginSource) -> None:
        where = f"plugin {name!r} ({source.origin})"
        try:
            plugin = source.load()
            if inspect.isclass(plugin):
                plugin = plugin()
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{where} cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        other = self._manager.get_name(plugin)
        if other is not None:
            raise PluginError(f"{where} is the same object as plugin {other!r}: name it once")
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            unknown = str(error).partition("unknown hook '")[2].partition("'")[0]
            hint = nearest(unknown, HOOKS) if unknown else ""
            said = str(error).replace(f" in plugin {plugin!r}", "")
            problem = _wrong_argument(plugin, error) or f"{said}{hint}"
            raise PluginError(f"{where}: {problem}") from None
        callers = self._manager.get_hookcallers(plugin)
        if not callers:
            file = getattr(inspect.getmodule(plugin), "__file__", None)
            place = f" in {file}" if file else ""
            raise PluginError(f"{where} implements no hook{place}; {_without_hooks(plugin)}")
        for caller in callers:
            for each in caller.get_hookimpls():
                if each.plugin_name == name and each.kwargnames:
                    raise PluginError(
                        f"{where}: {caller.name}: {each.kwargnames[0]!r} must have no default, "
                        "because it would never get another value"
                    )

    def _check_known(self, name: str, problem: str, field: str) -> None:
        if name not in self._sources:
            raise ConfigurationError(f"{problem}{nearest(name, self._sources)}", field=field)

    def _read_disabled_hooks(self) -> set[tuple[str, str]]:
        blocked: set[tuple[str, str]] = set()
        for entry in self._config.disabled_hooks:
            name, separator, hook = entry.partition(":")
            where, field = f"disabled_hooks: {entry!r}", "disabled_hooks"
            if not separator:
                raise ConfigurationError(f"{where} must be plugin:hook", field=field)
            self._check_known(name, f"{where}: no plugin {name!r}", field)
            problem = ""
            if hook not in HOOKS:
                problem = f"no hook {hook!r}{nearest(hook, HOOKS)}"
            elif name not in self._config.disabled_plugins and hook not in self._hooks_of(name):
                problem = f"plugin {name!r} does not implement {hook}"
            if problem:
                raise ConfigurationError(f"{where}: {problem}", field=field)
            blocked.add((name, hook))
        return blocked


def _without_hooks(plugin: object) -> str:
    """What to do about a plugin that implements no hook."""
    marker = f"{hookspecs.PROJECT_NAME}_impl"
    for name, member in inspect.getmembers(plugin, inspect.isclass):
        if any(hasattr(each, marker) for each in vars(member).values()):
            return (
                f"its class {name!r} does: name that in the entry point, as 'module:{name}', and "
                "install the distribution again, or name it in extra_plugins"
            )
    return "mark its functions with atriz_realtime.api.hookimpl"


def _wrong_argument(plugin: object, error: Exception) -> str:
    """What pluggy says of an argument that a hook does not have; empty if it says another thing."""
    hook = str(error).partition(" for hook '")[2].partition("'")[0]
    if hook not in HOOKS:
        return ""
    allowed = list(inspect.signature(getattr(hookspecs, hook)).parameters)
    signature = signature_of(getattr(plugin, hook))
    named = () if signature is None else signature.parameters
    wrong = [each for each in named if each not in allowed]
    if not wrong:
        return ""
    taken = " and ".join(filter(None, (", ".join(allowed[:-1]), *allowed[-1:])))
    return f"{hook} has no argument {wrong[0]!r}; it {f'may take {taken}' if taken else 'has none'}"
