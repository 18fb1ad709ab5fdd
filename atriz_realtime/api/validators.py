"""Validators of the records' fields: a wrong value is refused where the record is made."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Collection
from typing import Any

import attrs


def _where(record: Any, attribute: attrs.Attribute[Any]) -> str:
    return f"{type(record).__name__} {record.name!r}: {attribute.name}"


def plain(record: object, attribute: attrs.Attribute[Any], function: object) -> None:
    """Refuse a coroutine function where nobody would await it."""
    if inspect.iscoroutinefunction(function):
        where = _where(record, attribute)
        raise TypeError(f"{where} must be a plain function: remove `async`")


def seconds(record: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuse what is no time limit; ``None`` is one where it is the default."""
    if value is None and attribute.default is None:
        return
    if not _is_number(value) or not value > 0:
        where = _where(record, attribute)
        raise ValueError(f"{where} must be a number of seconds above 0, not {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124  # NaN


def instance(kind: type[Any], expected: str) -> Any:
    """Refuse what is not of a kind; ``None`` is where it is the default."""

    def check(record: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kind) and not (value is None and attribute.default is None):
            where = _where(record, attribute)
            raise TypeError(f"{where} must be {expected}, not {type(value).__name__}")

    return check


def number(record: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse an order that cannot be compared with others."""
    if not _is_number(value):
        raise ValueError(f"{_where(record, attribute)} must be a number, not {value!r}")


def names(record: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is no collection of names: a string is one of characters."""
    if (
        isinstance(value, str)
        or not isinstance(value, Collection)
        or not all(isinstance(each, str) for each in value)
    ):
        raise TypeError(f"{_where(record, attribute)} must be a collection of strings")


def name(record: object, _: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is no name."""
    if not isinstance(value, str) or not value:
        kind = type(record).__name__
        raise ValueError(
            f"the name of {kind} records must be a string and not empty, not {value!r}"
        )


def path(_: object, __: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is no whole path."""
    if not isinstance(value, str) or not re.fullmatch(r"/[^\s?#{}]*", value):
        raise ValueError(
            f"Endpoint {value!r}: path must be a whole path such as '/api/boats', without"
            " parameters"
        )


def method(endpoint: Any, _: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is no HTTP method."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z]+", value):
        raise ValueError(
            f"Endpoint {endpoint.path!r}: method must be in capitals such as 'GET', not {value!r}"
        )


def type_name(_: object, __: attrs.Attribute[str], value: object) -> None:
    """Refuse what cannot be a part of rooms, channels and paths."""
    if not isinstance(value, str) or not re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", value):
        raise ValueError(
            f"{value!r} cannot name an entity type: use at most 32 lower-case letters, digits, _"
            " and -, starting with a letter"
        )


LIFETIME = attrs.validators.optional(
    attrs.validators.and_(attrs.validators.gt(0), attrs.validators.lt(math.inf))
)

RETENTION = attrs.validators.optional(
    attrs.validators.and_(attrs.validators.ge(0), attrs.validators.lt(math.inf))
)
