"""Converts plain values, from TOML and the environment, to attrs classes, strictly.

cattrs does the work, without its lenient conversions (``int("1")``, ``bool("no")``).  An error
becomes a :class:`ConfigurationError` that names the key.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
import cattrs

from atriz_realtime.api.errors import ConfigurationError, PluginError, RealtimeError
from atriz_realtime.plugin_system.checks import as_names

T = TypeVar("T")


_MAX_LISTED = 40
"""Known names that an error lists; beyond, it refers to the documentation of the settings."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, or all of them."""
    names = sorted(known)
    match = get_close_matches(name, names, n=1, cutoff=0.6)
    if match:
        return f"; did you mean {match[0]!r}?"
    if not names:
        return "; there are none"
    if len(names) > _MAX_LISTED:
        return f"; the page configuration.md lists all {len(names)}"
    return "; known: " + ", ".join(names)


_SEQUENCES = (list, tuple, set, frozenset)

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
    def structure_value(value: Any, target: Any) -> Any:
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise _wrong(_KINDS[kind], value)
        if issubclass(target, Enum):  # an enumeration of strings, for one
            return _member(value, target)
        return value if target is kind else target(value)

    return structure_value


def _member(value: Any, kind: type[Enum]) -> Enum:
    """A member of an enumeration, from its value."""
    try:
        return kind(value)
    except ValueError as error:
        raise _not_one_of([each.value for each in kind]) from error


def _not_one_of(known: Iterable[Any]) -> TypeError:
    return TypeError(f"must be one of {', '.join(map(repr, known))}")


def _sequence(value: Any, kind: Any) -> Any:
    """A list, tuple or set; one of texts may also be a single string with commas."""
    origin, kinds = _origin(kind), get_args(kind)
    of_strings = kinds in ((str,), (str, ...))
    if isinstance(value, str) and kinds[1:] in ((), (...,)) and _is_text(*kinds[:1]):
        value = as_names(value)
    if not isinstance(value, _SEQUENCES):
        raise _wrong("a list of strings" if of_strings else "a list", value)
    if origin is not tuple or kinds[1:] == (...,):
        kinds = kinds[:1] * len(value)
    elif kinds and len(kinds) != len(value):
        raise TypeError(f"must be a list of {len(kinds)}, not of {len(value)}")
    items = []
    for number, (item, each) in enumerate(zip(value, kinds or (Any,) * len(value), strict=True), 1):
        if of_strings and type(item) is not str:
            given = _KINDS.get(type(item), type(item).__name__)
            raise TypeError(f"must be a list of strings; it holds {given}")
        try:
            items.append(_CONVERTER.structure(item, each))
        except Exception as error:
            raise _adding_to(error)(f"item {number}: {error}") from error
    return origin(items)


def _is_text(kind: Any = None) -> bool:
    """Whether a value of a type is a string in TOML."""
    is_enumeration = inspect.isclass(kind) and issubclass(kind, Enum)
    return kind in (str, Path) or is_enumeration or _origin(kind) is Literal


def _table(value: Any, settings_class: type[Any]) -> Any:
    """An attrs class from a nested table."""
    if isinstance(value, settings_class):
        return value
    if not isinstance(value, Mapping):
        raise _wrong("a table", value)
    return _instance(value, settings_class)


def _dictionary(value: Any, kind: Any) -> Any:
    """A dictionary from a table."""
    if not isinstance(value, Mapping):
        raise _wrong("a table", value)
    values = {}
    _, held = get_args(kind) or (str, Any)
    for name, item in value.items():
        try:
            values[name] = _CONVERTER.structure(item, held)
        except Exception as error:
            raise _adding_to(error)(f"{name}: {error}") from error
    return values


def _literal(value: Any, kind: Any) -> Any:
    """One of a few values."""
    known = get_args(kind)
    if (type(value), value) not in [(type(each), each) for each in known]:
        raise _not_one_of(known)
    return value


def _adding_to(error: Exception) -> type[ConfigurationError]:
    """The class of an error that adds to another where that happened."""
    return PluginError if isinstance(error, PluginError) else ConfigurationError


def _origin(kind: Any) -> Any:
    """A type without its parameters."""
    origin: Any = get_origin(kind)
    return kind if origin is None else origin


_CONVERTER = cattrs.Converter(detailed_validation=False)
for _kind in (bool, int, float, str):
    _CONVERTER.register_structure_hook(_kind, _strict(_kind))
_CONVERTER.register_structure_hook_func(lambda kind: _origin(kind) in _SEQUENCES, _sequence)
_CONVERTER.register_structure_hook(Path, _strict(str))
_CONVERTER.register_structure_hook(Enum, _member)
_CONVERTER.register_structure_hook_func(lambda kind: _origin(kind) is Literal, _literal)
_CONVERTER.register_structure_hook_func(attrs.has, _table)
_CONVERTER.register_structure_hook_func(lambda kind: _origin(kind) is dict, _dictionary)


def _is_readable(kind: Any) -> bool:
    """Whether a value of TOML can become one of a type."""
    origin: Any = get_origin(kind)
    arguments = get_args(kind)
    if origin in (Union, UnionType):
        others = [each for each in arguments if each is not NoneType]
        return len(others) == 1 and _is_readable(others[0])
    if origin is dict:
        return arguments[0] is str and _is_readable(arguments[1])
    if origin in _SEQUENCES:
        return all(each is ... or _is_readable(each) for each in arguments)
    if inspect.isclass(kind) and (issubclass(kind, Enum) or attrs.has(kind)):
        return True
    return origin is Literal or kind in (Any, bool, int, float, str, Path, dict, *_SEQUENCES)


def check_settings_class(where: str, what: str, settings_class: object) -> None:
    """Check that a table can become an instance of a class.

    :param where: names the plugin in an error.
    :param what: what the class is to the plugin.
    :raises PluginError: when it is no attrs class, or no value of TOML can become a field of it.
    """
    if not inspect.isclass(settings_class) or not attrs.has(settings_class):
        is_class = inspect.isclass(settings_class)
        given: Any = settings_class if is_class else type(settings_class)
        kind = "the class" if is_class else "an object of"
        raise PluginError(f"{where}: {what} must be an attrs class, not {kind} {given.__name__}")
    where = f"{where}: {settings_class.__name__}"
    try:
        hints = get_type_hints(settings_class)
    except Exception as error:  # an annotation may be any expression
        raise PluginError(f"{where}: {type(error).__name__}: {error}") from error
    for alias, field in _fields(settings_class).items():
        hint = hints.get(field.name, Any)
        if field.converter is None and not _is_readable(hint):
            shown = inspect.formatannotation(hint)
            raise PluginError(
                f"{where}.{alias}: no value of TOML becomes {shown}: "
                "use another type, or give the field a converter"
            )
        tables = [each for each in (hint, *get_args(hint)) if inspect.isclass(each)]
        for nested in filter(attrs.has, tables):
            if nested is not settings_class:
                check_settings_class(f"{where}.{alias}", what, nested)


def _fields(settings_class: type[Any]) -> dict[str, attrs.Attribute[Any]]:
    """The fields that a table may set, by their keys."""
    return {
        name.lstrip("_"): field
        for name, field in attrs.fields_dict(settings_class).items()
        if field.init
    }


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
        raise _adding_to(error)(f"{source}: {error.message}", field=error.field) from error


def _instance(data: Mapping[str, Any], settings_class: type[T]) -> T:
    make: Callable[..., T] = settings_class
    if not attrs.has(settings_class):
        raise TypeError(f"{settings_class!r} is not an attrs class")
    hints = get_type_hints(settings_class)
    fields = _fields(settings_class)
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in fields:
            raise ConfigurationError(f"unknown key {key!r}{nearest(key, fields)}", field=key)
        field, hint = fields[key], hints.get(fields[key].name, Any)
        if field.converter is not None and not _is_readable(hint):
            values[key] = value
            continue
        try:
            values[key] = _CONVERTER.structure(value, hint)
        except Exception as error:  # cattrs passes on whatever a hook raises
            reason = str(error) or "unusable"
            raise _adding_to(error)(f"{key}: {reason}", field=key) from error
    for alias, field in fields.items():
        if field.default is attrs.NOTHING and alias not in values:
            raise ConfigurationError(f"{alias} is required", field=alias)
    try:
        return make(**values)
    except ConfigurationError:
        raise
    except Exception as error:
        raise _refusal(make, fields, values, error) from error


def _refusal(
    make: Callable[..., Any],
    fields: Mapping[str, attrs.Attribute[Any]],
    values: Mapping[str, Any],
    error: Exception,
) -> ConfigurationError:
    """What a converter or a validator of a class raised, with the key that it was about."""
    key = _blamed(make, fields, values)
    is_refusal = isinstance(error, ValueError | TypeError | RealtimeError)
    reason = str(error.args[0] if error.args else error)
    if not is_refusal:
        reason = f"{type(error).__name__}: {error}"
    if key and repr(key) not in reason and not reason.startswith(key):
        reason = f"{key}: {reason}"
    return (ConfigurationError if is_refusal else PluginError)(reason, field=key)


def _blamed(
    make: Callable[..., Any],
    fields: Mapping[str, attrs.Attribute[Any]],
    values: Mapping[str, Any],
) -> str | None:
    """The key whose converter or validator raises; ``None`` when it is none of them."""
    for key, field in fields.items():
        convert: Any = field.converter
        if key in values and callable(convert) and _raises(convert, values[key]):
            return key
    try:
        with attrs.validators.disabled():
            instance = make(**values)
    except Exception:
        return None
    for key, field in fields.items():
        validate: Any = field.validator
        if validate and _raises(validate, instance, field, getattr(instance, field.name)):
            return key
    return None


def _raises(function: Callable[..., Any], *arguments: Any) -> bool:
    try:
        function(*arguments)
    except Exception:  # it is the one that was raised before
        return True
    return False
