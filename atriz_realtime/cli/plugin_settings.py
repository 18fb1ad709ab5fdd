"""The settings of plugins for printing, with what is or may be secret masked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from atriz_realtime.cli.logs import HIDDEN, redact
from atriz_realtime.plugin_system.config import RealtimeConfig

_SECRET_NAME = re.compile(r"key|secret|passw(or)?d|pwd|passphrase|token|credential", re.IGNORECASE)

_FILE = "file:"
"""Begins the path of a key's file, which is no secret."""


def shown(config: RealtimeConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in the plugins' tables, as ``plugins.<plugin>.<key>``.

    A value is masked when the field of the plugin's settings class is not in its ``repr``, or when
    the plugin has no such field; a text also when its key sounds like a secret.

    :param settings: the instances of the plugins' settings classes, by the plugins' names.
    """
    return {
        f"plugins.{name}.{key}": _masked(key, value, is_open=key in _open(settings.get(name)))
        for name, table in config.plugins.items()
        for key, value in table.items()
    }


def _open(settings: Any) -> set[str]:
    """The keys of the fields that a plugin itself prints."""
    if settings is None:
        return set()
    fields = attrs.fields(type(settings))
    return {field.name.lstrip("_") for field in fields if field.repr is True}


def _masked(key: object, value: Any, *, is_open: bool, is_secret: bool = False) -> Any:
    is_secret = is_secret or not is_open or _SECRET_NAME.search(str(key)) is not None
    if isinstance(value, Mapping):
        return {
            str(name): _masked(name, each, is_open=is_open, is_secret=is_secret)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_masked("", each, is_open=is_open, is_secret=is_secret) for each in value]
    if isinstance(value, bool | int | float):
        return value if is_open else HIDDEN
    text = str(value)
    return HIDDEN if is_secret and text and not text.startswith(_FILE) else redact(text)
