"""Converters and validators of settings.

Each raises :class:`ConfigurationError`, naming the setting, for an invalid value.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import attrs

from atriz_realtime.api.errors import ConfigurationError

REDIS_SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)


def as_origins(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Origins from a list, or from a comma-separated string."""
    if value is None:
        return ()
    if isinstance(value, str):
        value = as_names(value)
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(
            'cors_origin must be an origin, a list of origins or "*"', field="cors_origin"
        )
    return tuple(item.rstrip("/") for item in value)


def check_origins(_: object, __: object, value: tuple[str, ...]) -> None:
    """Accept origins: a scheme, a host and optionally a port."""
    for origin in value:
        if origin in ("*", "null"):
            continue
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path:
            raise ConfigurationError(
                f"cors_origin: {origin!r} is not an origin such as https://app.example.com",
                field="cors_origin",
            )


def check_redis_url(_: object, __: object, value: str | None) -> None:
    """Accept a URL of a known scheme, with a host or a path."""
    if value is None:
        return
    try:
        parts = urlsplit(value)
        if "," not in parts.netloc:
            parts.port  # noqa: B018  # raises for a port that is not a number
        if parts.scheme != "unix" and "@" in parts.path + parts.fragment:
            raise ValueError("the host ends within the password")  # at an unescaped / or #
    except ValueError:  # its message repeats a part of the URL, maybe of the password
        raise ConfigurationError(
            "redis_url: the host or its port is wrong; does the password need %-escapes?",
            field="redis_url",
        ) from None
    if parts.scheme not in REDIS_SCHEMES or not (parts.netloc or parts.path):
        raise ConfigurationError(
            "redis_url must look like redis://localhost:6379 (schemes: "
            f"{', '.join(REDIS_SCHEMES)}), not {mask_url(value)!r}",
            field="redis_url",
        )


def as_names(value: str | Iterable[str]) -> tuple[str, ...]:
    """Names from a list, or from a comma-separated string."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value)


def check_proxies(_: object, __: object, value: tuple[str, ...]) -> None:
    """Accept addresses, networks and ``unix``."""
    for proxy in value:
        try:
            if proxy != "unix":
                ipaddress.ip_network(proxy)
        except ValueError:
            raise ConfigurationError(
                f"trusted_proxies: {proxy!r} is no address, no network such as 10.0.0.0/8"
                " and not unix",
                field="trusted_proxies",
            ) from None


def blank_is_none(value: str | None) -> str | None:
    """Convert an empty string to ``None``."""
    return value or None


def at_least(minimum: float, unit: str | None = None, maximum: float = math.inf) -> Any:
    """Accept ``None``, and finite numbers of at least a minimum; a refusal names their unit."""
    must = "must" if unit is None else f"is in {unit} and must"
    bounds = f"{minimum:g} or more" if maximum == math.inf else f"from {minimum:g} to {maximum:g}"

    def check(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationError(f"{attribute.name} must be a number", field=attribute.name)
        if not minimum <= value <= maximum or value == math.inf:  # refuses NaN as well
            raise ConfigurationError(
                f"{attribute.name} {must} be {bounds}, not {value:.12g}", field=attribute.name
            )

    return check


def mask_url(url: str) -> str:
    """A URL without its password."""
    parts = urlsplit(url)
    if parts.password is not None:
        user, _, host = parts.netloc.rpartition("@")
        url = urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}"))
    # redis-py reads passwords there as well, such as those of Sentinels and of private keys
    return re.sub(r"([?&]\w*password=)[^&#]*", r"\1***", url)
