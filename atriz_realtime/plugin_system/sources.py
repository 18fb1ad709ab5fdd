"""Reads settings from a TOML file and from the environment."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Container, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Union, get_args, get_origin

from atriz_realtime.api.errors import ConfigurationError
from atriz_realtime.plugin_system.checks import as_names
from atriz_realtime.plugin_system.structure import nearest

ENVIRONMENT_PREFIX = "ATRIZ_REALTIME_"
"""The variable of a setting is this prefix and the setting's name in capitals."""

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


def read_file(
    file: str | os.PathLike[str] | None, hints: Mapping[str, Any]
) -> tuple[Mapping[str, Any], str]:
    """The package's settings in the configuration file, and its name; empty without a file.

    :param hints: the types of the settings by name.
    :raises ConfigurationError: when the file cannot be read.
    """
    if file is not None:
        path = Path(file)
        return _table(_parse(path), path, hints), str(path)
    for path in (Path("atriz.toml"), Path("pyproject.toml")):
        if path.is_file():
            table = _table(_parse(path), path, hints)
            if table or path.name == "atriz.toml":
                return table, str(path)
    return {}, ""


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from error


def _table(document: dict[str, Any], path: Path, names: Container[str]) -> Mapping[str, Any]:
    """The package's table: ``[realtime]``, or ``[tool.atriz.realtime]`` in pyproject.toml.

    ``atriz.toml`` belongs to the framework, so settings may also stand at its top level.  Other
    keys there belong to other packages, unless one is ``realtime`` misspelt.
    """
    if path.name == "pyproject.toml":
        outer = document.get("tool", {}).get("atriz", {})
        top: dict[str, Any] = {}
    else:
        outer = document
        top = {key: value for key, value in document.items() if key in names}
    misspelt = get_close_matches("realtime", outer.keys() - {"realtime"}, n=1, cutoff=0.8)
    if misspelt:
        raise ConfigurationError(f"{path}: unknown key {misspelt[0]!r}; did you mean 'realtime'?")
    table = outer.get("realtime", {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: realtime must be a table")
    twice = top.keys() & table.keys()
    if twice:
        raise ConfigurationError(f"{path}: {min(twice)} is set twice, at the top and in [realtime]")
    return top | table


def read_environment(
    environ: Mapping[str, str], hints: Mapping[str, Any]
) -> dict[str, tuple[Any, str]]:
    """The settings in the environment, each with the name of its variable.

    ``ATRIZ_REALTIME_<SETTING>`` overrides the documented names.  Two underscores separate the
    keys of nested tables: ``ATRIZ_REALTIME_PLUGINS__JWT_AUTH__AUDIENCE``.

    :param hints: the types of the settings by name.
    :raises ConfigurationError: naming the variable that is unknown or invalid.
    """
    found: dict[str, tuple[Any, str]] = {}
    for variable, key in DOCUMENTED_ENVIRONMENT.items():
        if environ.get(variable):
            found[key] = (_from_text(environ[variable], hints[key], variable), variable)
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX):
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
        if not path:
            found[key] = (_from_text(text, hints[key], variable), variable)
            continue
        value: Any = _toml_value(text)
        for step in reversed(path):
            value = {step: value}
        found[key] = (merged(found[key][0] if key in found else {}, value), variable)
    return found


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
