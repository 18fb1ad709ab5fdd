"""Reads settings from a TOML file and from the environment."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Union, get_args, get_origin

import attrs

from atriz_realtime.api.errors import ConfigurationError
from atriz_realtime.plugin_system.checks import as_names
from atriz_realtime.plugin_system.discovery import PluginSource, find_plugins
from atriz_realtime.plugin_system.structure import nearest

ENVIRONMENT_PREFIX = "ATRIZ_REALTIME_"
"""The variable of a setting is this prefix and the setting's name in capitals."""

FILE_VARIABLE = "ATRIZ_REALTIME_CONFIG"
"""The variable that names the configuration file, or says ``none``."""

DOCUMENTED_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "REDIS_URL": "redis_url",
        "CORS_ORIGIN": "cors_origin",
        "WS_CORS_ORIGIN": "cors_origin",
        "WS_PING_INTERVAL": "ping_interval",
        "WS_PING_TIMEOUT": "ping_timeout",
        "JWT_SECRET": "jwt_secret",
        "HOST": "host",
        "PORT": "port",
    }
)
"""The variables of the TypeScript package; a later row overrides an earlier one."""

_OF_A_SERVICE = re.compile(
    r"ATRIZ_REALTIME_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
"""The variables that Kubernetes adds to every container for a Service ``atriz-realtime`` or
``atriz-realtime-…``, except for ``…_PORT``, which its value tells."""


@attrs.frozen
class SettingsFile:
    """What came of looking for the configuration file."""

    table: Mapping[str, Any]
    """The package's settings in it."""
    path: Path | None = None
    """The file that was read."""
    searched: Path | None = None
    """The folder in which nobody named a file and there was none."""


def read_file(
    file: str | os.PathLike[str] | None, environ: Mapping[str, str], hints: Mapping[str, Any]
) -> SettingsFile:
    """Read a configuration file: the one given, else that of the environment, else the usual one.

    :param hints: the types of the settings by name.
    :raises ConfigurationError: when the file cannot be read.
    """
    if file is None:
        file = environ.get(FILE_VARIABLE) or None
        if file == "none":
            return SettingsFile({})
    if file is not None:
        path = Path(file)
        return SettingsFile(_table(_parse(path), path, hints), path)
    for path in (Path("atriz.toml"), Path("pyproject.toml")):
        if path.is_file():
            table = _table(_parse(path), path, hints)
            if table or path.name == "atriz.toml":
                return SettingsFile(table, path)
    return SettingsFile({}, searched=Path.cwd())


def beside(file: str, path: Any) -> Any:
    """A path in a configuration file, where a relative one counts from the file's folder."""
    return str(Path(file).absolute().parent / path) if isinstance(path, str) and path else path


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))  # editors on Windows add a BOM
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from error


def _table(document: dict[str, Any], path: Path, names: Collection[str]) -> Mapping[str, Any]:
    """The package's table: ``[realtime]``, or ``[tool.atriz.realtime]`` in pyproject.toml.

    ``atriz.toml`` belongs to the framework, so settings may also stand at its top level.  Other
    keys there belong to other packages, unless one is probably a setting in the wrong place.
    """
    places: list[tuple[Mapping[str, Any], str]]
    places = [(document, ""), (_table_within(document, "tool", "atriz"), "tool.atriz.")]
    if path.name == "pyproject.toml":
        places.reverse()
    (outer, here), (elsewhere, there) = places
    if "realtime" in elsewhere:
        raise ConfigurationError(
            f"{path}: [{there}realtime] is not read in this file; write [{here}realtime]"
        )
    top = {} if here else {key: value for key, value in outer.items() if key in names}
    table = outer.get("realtime", {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: realtime must be a table")
    twice = top.keys() & table.keys()
    if twice:
        raise ConfigurationError(f"{path}: {min(twice)} is set twice, at the top and in [realtime]")
    others = {key: value for key, value in outer.items() if key not in ("realtime", *top)}
    _check_others(others, top | table, path, here, names)
    _check_tables(table, path, f"{here}realtime", names)
    return top | table


def _table_within(table: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """A table within a table; empty when there is none."""
    for name in names:
        inner = table.get(name)
        table = inner if isinstance(inner, dict) else {}
    return table


def _check_others(
    others: Mapping[str, Any],
    settings: Mapping[str, Any],
    path: Path,
    here: str,
    names: Iterable[str],
) -> None:
    """Refuse a key beside the package's table that probably belongs in it.

    :param here: what precedes the keys; with it, no settings may stand beside the table.
    """
    plugins: Mapping[str, PluginSource] = {}
    extra = settings.get("extra_plugins", ())
    if any(isinstance(value, dict) for value in others.values()) and _are_names(extra):
        plugins = find_plugins(as_names(extra))
    of_table = {name: f"realtime.plugins.{name}" for name in plugins}
    of_table |= {name: f"realtime.{name}" for name in ("plugins", "entities")}
    of_value = {} if here else {name: name for name in names}
    for key, value in others.items():
        places = {"realtime": "realtime"} | (of_table if isinstance(value, dict) else of_value)
        for near in get_close_matches(key, places, n=1, cutoff=0.8):
            if near not in plugins or _takes(plugins[near], value):
                raise ConfigurationError(
                    f"{path}: unknown key '{here}{key}'; did you mean '{here}{places[near]}'?"
                )


def _check_tables(table: Mapping[str, Any], path: Path, here: str, names: Collection[str]) -> None:
    """Refuse the table of a plugin that stands among the settings, and name its place."""
    tables = {key: value for key, value in table.items() if isinstance(value, dict)}
    extra = table.get("extra_plugins", ())
    if tables.keys() <= set(names) or not _are_names(extra):
        return
    plugins = find_plugins(as_names(extra))
    for key in tables.keys() - set(names):
        for near in get_close_matches(key, plugins, n=1, cutoff=0.8):
            if _takes(plugins[near], tables[key]):
                raise ConfigurationError(
                    f"{path}: unknown key '{here}.{key}'; did you mean '{here}.plugins.{near}'?"
                )


def _are_names(value: object) -> bool:
    names = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(name, str) for name in names)


def _takes(plugin: PluginSource, table: Mapping[str, Any]) -> bool:
    """Whether a table has a setting of a plugin; other packages may use the plugin's name."""
    try:
        loaded: Any = plugin.load()
        loaded = loaded() if isinstance(loaded, type) else loaded
        if not hasattr(loaded, "register_settings"):
            return False
        names = {field.alias for field in attrs.fields(loaded.register_settings())}
    except (Exception, SystemExit):  # the start says why
        return True
    return not names.isdisjoint(table)


def read_environment(
    environ: Mapping[str, str], hints: Mapping[str, Any]
) -> Iterator[tuple[Sequence[str], Any, str]]:
    """The settings in the environment: the keys that lead to each, its value and its variable.

    ``ATRIZ_REALTIME_<SETTING>`` overrides the documented names.  Two underscores separate the
    keys of nested tables: ``ATRIZ_REALTIME_PLUGINS__JWT_AUTH__AUDIENCE``.

    :param hints: the types of the settings by name.
    :raises ConfigurationError: naming the variable that is unknown or invalid.
    """
    for variable, key in DOCUMENTED_ENVIRONMENT.items():
        if environ.get(variable):
            yield [key], _from_text(environ[variable], hints[key], variable), variable
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == FILE_VARIABLE:
            continue
        if _OF_A_SERVICE.fullmatch(variable) or (
            variable.endswith("_PORT") and text.startswith(("tcp://", "udp://", "sctp://"))
        ):
            raise ConfigurationError(
                f"{variable} is not a setting: Kubernetes added it for a Service of that name; "
                "set enableServiceLinks: false in the pod's spec"
            )
        key, *path = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        if key not in hints or bool(path) != (key in ("plugins", "entities")):
            known = (ENVIRONMENT_PREFIX + name.upper() for name in hints)
            raise ConfigurationError(
                f"unknown environment variable {variable}{nearest(variable, known)}"
            )
        yield (
            [key, *path],
            _toml_value(text) if path else _from_text(text, hints[key], variable),
            variable,
        )


def merged(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two tables, and the tables within; the second overrides the first."""
    result = dict(base)
    for key, value in extra.items():
        old = result.get(key)
        result[key] = (
            merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return result


def _toml_value(text: str) -> Any:
    """A value of a plugin's table: parsed as TOML when it is valid TOML, else a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


def _from_text(text: str, hint: Any, variable: str) -> Any:
    """Convert a variable's text to the type of its setting."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    text = text.strip()
    if hint is bool:
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise ConfigurationError(f"{variable} must be true or false, not {text!r}")
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            kind = "a whole number" if hint is int else "a number"
            raise ConfigurationError(f"{variable} must be {kind}, not {text!r}") from None
    if get_origin(hint) is tuple:
        return as_names(text)
    return text


def flat(tables: object) -> dict[str, Any]:
    """The settings in the tables of plugins, as ``plugins.<plugin>.<key>``."""
    return {
        f"plugins.{name}.{key}": value
        for name, table in (tables.items() if isinstance(tables, Mapping) else ())
        for key, value in (table.items() if isinstance(table, Mapping) else ())
    }
