"""Parsing a ``redis_url``.

==============================================  ==========================================
``redis://[user:password@]host:port[/db]``      one server ``rediss://…``
one server, TLS ``unix:///path/to/socket[?db=0]``               one server on this machine
``redis+sentinel://[user:password@]host:port,   the primary that these Sentinels name;
host:port/service[/db]``                        ``rediss+sentinel``: both with TLS
``redis+cluster://[user:password@]host:port,…`` a cluster; ``rediss+cluster`` with TLS
==============================================  ==========================================

Options of redis-py's connections may follow a question mark.  Those that begin with ``sentinel_``
are for the Sentinels, and so are those of TLS unless others are given for the Sentinels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
from redis.asyncio.connection import parse_url, to_bool

from atriz_realtime.api.errors import ConfigurationError
from atriz_realtime.plugin_system.checks import mask_url

SENTINEL_PREFIX = "sentinel_"

DEFAULT_PORTS = {"sentinel": 26379, "cluster": 6379}


@attrs.frozen
class RedisUrl:
    """A parsed ``redis_url``; its string form has no password."""

    text: str
    kind: str
    """``single``, ``sentinel`` or ``cluster``."""
    nodes: tuple[tuple[str, int], ...] = ()
    """The Sentinels, or nodes to discover the cluster from, as (host, port)."""
    service: str | None = None
    """The name by which Sentinels know the primary."""
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """User, password, database, TLS and further options, as redis-py's connections take them."""
    sentinel_options: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """The same for the connections to Sentinels."""

    def __str__(self) -> str:
        return mask_url(self.text)


def parse_redis_url(text: str) -> RedisUrl:
    """Parse a ``redis_url``.

    :raises ConfigurationError: when it is incomplete, or its database is not a number.
    """
    parts = urlsplit(text)
    scheme, separator, kind = parts.scheme.partition("+")
    path = parts.path
    if not separator:
        if scheme != "unix" and not re.fullmatch(r"/?|/\d+/?", path):  # redis-py would use 0
            raise ConfigurationError(
                f"redis_url must look like {scheme}://host:6379[/db], with a number for db",
                field="redis_url",
            )
        return RedisUrl(text, "single")
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    options, sentinel_options = _queries(parts.query)
    if kind != "sentinel" and sentinel_options:
        raise ConfigurationError(
            f"redis_url: no option {SENTINEL_PREFIX + min(sentinel_options)!r} for a {kind}",
            field="redis_url",
        )
    if scheme == "rediss":
        options["ssl"] = True
    of_tls = {name: value for name, value in options.items() if name.startswith("ssl")}
    sentinel_options = of_tls | sentinel_options
    if user:
        options["username"] = unquote(user)
    if password:
        options["password"] = unquote(password)
    nodes = tuple(_node(host, DEFAULT_PORTS[kind]) for host in hosts.split(",") if host)
    if not nodes:
        raise ConfigurationError(f"redis_url: {kind} needs at least one host", field="redis_url")
    if kind == "cluster":
        if path.strip("/"):
            raise ConfigurationError(
                "redis_url: a cluster has one database, so no /db may follow its hosts",
                field="redis_url",
            )
        return RedisUrl(text, kind, nodes, None, options)
    service, _, database = path.strip("/").partition("/")
    if not service or (database and not database.isdecimal()):
        raise ConfigurationError(
            "redis_url must look like redis+sentinel://host:26379,host:26379/service[/db]",
            field="redis_url",
        )
    if database:
        options["db"] = int(database)
    return RedisUrl(text, kind, nodes, service, options, sentinel_options)


def _queries(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a query: those of Redis, and those of Sentinels without their prefix."""
    pairs = [pair for pair in text.split("&") if pair]
    of_sentinels = [pair for pair in pairs if pair.startswith(SENTINEL_PREFIX)]
    of_redis = [pair for pair in pairs if not pair.startswith(SENTINEL_PREFIX)]
    return _query("&".join(of_redis)), _query(
        "&".join(pair.removeprefix(SENTINEL_PREFIX) for pair in of_sentinels)
    )


def _query(text: str) -> dict[str, Any]:
    read: Any = parse_url  # its result is typed as a TypedDict of known options
    try:
        options: dict[str, Any] = read(f"unix://?{text}")
    except ValueError as error:  # its text has the option, not the value
        raise ConfigurationError(f"redis_url: {error}", field="redis_url") from error
    options.pop("connection_class")
    if "ssl" in options:
        options["ssl"] = to_bool(options["ssl"])
    return options


def _node(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        return parts.hostname or "localhost", parts.port or default_port
    except ValueError:  # its text repeats a part of the URL, perhaps of the password
        raise ConfigurationError(
            "redis_url: a host or its port is wrong; does the password need %-escapes?",
            field="redis_url",
        ) from None
