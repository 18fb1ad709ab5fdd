"""Converts plain values, from TOML and the environment, to attrs classes, strictly.

cattrs does the work, without its lenient conversions (``int("1")``, ``bool("no")``).  An error
becomes a :class:`ConfigurationError` that names the key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import attrs
import cattrs

from atriz_realtime.api.errors import ConfigurationError

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, or all of them."""
    names = sorted(known)
    match = get_close_matches(name, names, n=1, cutoff=0.6)
    if match:
        return f"; did you mean {match[0]!r}?"
    if not names:
        return "; there are none"
    return "; known: " + ", ".join(names)


_LIST = tuple[str, ...]

_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a table",
}


def _wrong(expected: str, value: object) -> TypeError:
    """The error for a value of a wrong type; it leaves out the value, which may be secret."""
    given = _KINDS.get(type(value), type(value).__name__)
    if isinstance(value, float) and expected == _KINDS[int]:
        given = "one with a decimal point" if math.isfinite(value) else str(value)
    return TypeError(f"must be {expected}, not {given}")


def _strict(kind: type) -> Callable[[Any, Any], Any]:
    def structure_value(value: Any, _: Any) -> Any:
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise _wrong(_KINDS[kind], value)
        return value

    return structure_value


def _strings(value: Any, _: Any) -> tuple[str, ...]:
    """A list of strings; a single string would be split into its characters."""
    if not isinstance(value, list | tuple):
        raise _wrong("a list of strings", value)
    for item in value:
        if type(item) is not str:
            given = _KINDS.get(type(item), type(item).__name__)
            raise TypeError(f"must be a list of strings; it holds {given}")
    return tuple(value)


def _table(value: Any, settings_class: type[Any]) -> Any:
    """An attrs class from a nested table."""
    if isinstance(value, settings_class):
        return value
    if not isinstance(value, Mapping):
        raise _wrong("a table", value)
    return _instance(value, settings_class)


def _tables(value: Any, kind: Any) -> Any:
    """A dictionary of attrs classes from nested tables."""
    if not isinstance(value, Mapping):
        raise _wrong("a table", value)
    settings_class = get_args(kind)[1]
    tables = {}
    for name, table in value.items():
        try:
            tables[name] = _table(table, settings_class)
        except (ConfigurationError, TypeError) as error:
            raise ConfigurationError(f"{name}: {error}") from error
    return tables


def _holds_tables(kind: Any) -> bool:
    return get_origin(kind) is dict and attrs.has(get_args(kind)[1])


_CONVERTER = cattrs.Converter(detailed_validation=False)
for _kind in (bool, int, float, str):
    _CONVERTER.register_structure_hook(_kind, _strict(_kind))
_CONVERTER.register_structure_hook_func(lambda kind: kind == _LIST, _strings)
_CONVERTER.register_structure_hook_func(attrs.has, _table)
_CONVERTER.register_structure_hook_func(_holds_tables, _tables)


def structure(
    data: Mapping[str, Any], settings_class: type[T], where: str | Mapping[str, str]
) -> T:
    """Make an instance of an attrs class from a table.

    :param where: the table's name in errors, for example ``[realtime]``; or the source of each
        key, when they differ.
    :raises ConfigurationError: naming the key that is unknown, missing or invalid.
    """
    try:
        return _instance(data, settings_class)
    except ConfigurationError as error:
        source = where if isinstance(where, str) else where.get(error.field or "", "settings")
        raise ConfigurationError(f"{source}: {error.message}", field=error.field) from error


def _instance(data: Mapping[str, Any], settings_class: type[T]) -> T:
    make: Callable[..., T] = settings_class
    if not attrs.has(settings_class):
        raise TypeError(f"{settings_class!r} is not an attrs class")
    hints = get_type_hints(settings_class)
    fields: dict[str, attrs.Attribute[Any]] = {
        name.lstrip("_"): field
        for name, field in attrs.fields_dict(settings_class).items()
        if field.init
    }
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in fields:
            raise ConfigurationError(f"unknown key {key!r}{nearest(key, fields)}", field=key)
        field = fields[key]
        if isinstance(value, str) and hints[field.name] == _LIST and field.converter is not None:
            values[key] = value  # the field's own converter reads one string as a list
            continue
        try:
            values[key] = _CONVERTER.structure(value, hints[field.name])
        except Exception as error:  # cattrs passes on whatever a hook raises
            reason = str(error) or "unusable"
            raise ConfigurationError(f"{key}: {reason}", field=key) from error
    for alias, field in fields.items():
        if field.default is attrs.NOTHING and alias not in values:
            raise ConfigurationError(f"{alias} is required", field=alias)
    try:
        return make(**values)
    except (ValueError, TypeError) as error:  # from the class's validators
        raise ConfigurationError(str(error.args[0] if error.args else error)) from error
