"""Logging: text on a terminal, JSON elsewhere, and never a token."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

import structlog

HIDDEN = "***"

_SECRETS_NAME = (
    r"(?:(?:jwt[_-]|client[_-])?secret|(?:sentinel_|ssl_)?passw(?:or)?d|pwd|passphrase"
    r"|(?:access[_-])?token|authorization|(?:x-)?(?:api|private)[_-]key)"
)
"""Names of values that are never logged."""

_IS_SECRET = re.compile(_SECRETS_NAME, re.IGNORECASE)

_SECRETS = re.compile(
    # a JWT: its header is base64url of a text that starts with '{', so it starts with ew to ez
    r"""\be[w-z][\w-]{8,}\.[\w-]{2,}\.[\w.-]*"""
    # an API key of atriz-realtime-apikey
    r"""|\bak_[a-z0-9]+_[\w-]{43,}"""
    # an HTTP authorization header, with or without its name
    r"""|(?P<scheme>\b(?:bearer|basic)\s+)[^\s"',;]+"""
    # name=value of a query string, name: value of a header, "name": "value" of JSON or a repr
    rf"""|(?P<name>\b{_SECRETS_NAME}["']?\s*[=:]\s*["']?)"""
    # up to a delimiter, or a colon that the text goes on after
    r"""(?!(?:bearer|basic)\s)[^\s"'&,;)}\]]+?(?=:?(?:[\s"'&,;)}\]]|$))"""
    # the password of a URL
    r"""|(?P<user>://[^\s/:@]*:)[^\s"'<>]+(?=@)""",
    re.IGNORECASE,
)

_FIRST = ("time", "level", "logger", "event")

LogFormat = Literal["auto", "json", "text"]
"""``auto``: text on a terminal, JSON elsewhere."""

_LIBRARY_LEVELS = {
    "uvicorn.error": logging.WARNING,
    "socketio.server": logging.ERROR,
    "engineio.server": logging.ERROR,
}
"""Loggers of libraries, each with the level from which an operator needs its lines.

python-socketio and python-engineio write to standard error themselves unless a level is set.
"""


def redact(text: str) -> str:
    """Replace everything in a text that looks like a secret."""
    return _SECRETS.sub(lambda m: f"{m['scheme'] or m['name'] or m['user'] or ''}{HIDDEN}", text)


def redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """A structlog processor that redacts all values, and puts what every line has first."""
    names = dict.fromkeys([*(name for name in _FIRST if name in event), *event])
    return {name: _redacted(name, event[name]) for name in names}


def _redacted(name: object, value: Any) -> Any:
    if isinstance(name, str) and _IS_SECRET.fullmatch(name) and value is not None:
        return HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {key: _redacted(key, item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(None, item) for item in value]
    return redact(str(value))


def indent_traceback(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor after which no line of a traceback looks like one of the log.

    The message of an exception may repeat what a client sent.
    """
    if "exception" in event:
        lines = str(event["exception"]).split("\n")
        event["exception"] = "\n".join(
            "  " + "".join(each if each.isprintable() else repr(each)[1:-1] for each in line)
            for line in lines
        )
    return event


def configure(*, form: LogFormat = "auto", worker: int | None = None) -> None:
    """Send the lines of all loggers, and Python's warnings, to standard error.

    :param worker: the number of this process among several, for each line.
    """
    terminal = sys.stderr.isatty()
    as_text = terminal if form == "auto" else form == "text"
    brief = as_text and terminal

    def add_worker(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if worker is not None:
            event.setdefault("worker", worker)
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(
            fmt="%H:%M:%S" if brief else "iso", utc=not brief, key="time"
        ),
        add_worker,
    ]
    if not as_text:  # in text they are part of the event
        shared.append(structlog.stdlib.ExtraAdder(allow=["incident", "count"]))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                *([indent_traceback] if as_text else []),
                redact_event,
                structlog.dev.ConsoleRenderer(
                    colors=terminal,
                    timestamp_key="time",
                    sort_keys=False,
                    exception_formatter=structlog.dev.plain_traceback,
                )
                if as_text
                else structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name, level in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(level)
