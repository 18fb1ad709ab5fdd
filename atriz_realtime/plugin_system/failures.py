"""The errors that name the plugin whose code failed, or that refuses to work as configured."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from atriz_realtime.api.errors import ConfigurationError, PluginError, RealtimeError


def named(name: str, message: str) -> str:
    """A message of a plugin, with the plugin's name in front unless the message has it."""
    if re.search(rf"\bplugins?[ .]'?{re.escape(name)}\b", message):
        return message
    return f"plugin {name!r}: {message}"


def refused_by(name: str, error: ConfigurationError) -> ConfigurationError:
    """A plugin's refusal to work as configured, whose message names the plugin and the field."""
    message = error.message
    if error.field is not None and error.field.lower() not in message.lower():
        message = f"{error.field}: {message}"
    message = named(name, message)
    if message == error.message:
        return error
    kind = PluginError if isinstance(error, PluginError) else ConfigurationError
    return kind(message, field=error.field)


@contextmanager
def failing(name: str, hook: str) -> Iterator[None]:
    """Turn whatever is raised within into a failure that names plugin and hook."""
    try:
        yield
    except Exception as error:
        raise failure_of(name, hook, error) from error


def failure_of(name: str, hook: str, error: BaseException, reason: str = "") -> ConfigurationError:
    """A failure that names plugin and hook; of a ``ConfigurationError``, the plugin.

    :param reason: what is said instead of the exception.
    """
    if isinstance(error, ConfigurationError):
        return refused_by(name, error)
    if not reason:
        reason = f"{type(error).__name__}: {error}" if str(error) else repr(error)
    failure = PluginError(f"plugin {name!r} failed in {hook}: {reason}")
    failure.__cause__ = error
    return failure


def unexpected(error: RealtimeError) -> BaseException | None:
    """The exception behind a plugin's failure, whose traceback tells more than the message.

    There is none if the plugin refused on purpose, or if the message says all.
    """
    cause = error.__cause__ if isinstance(error, PluginError) else None
    return None if isinstance(cause, RealtimeError) else cause
