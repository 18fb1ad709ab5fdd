"""A server from outside: where it is, what to show it, and its HTTP interface."""

from __future__ import annotations

import functools
import os
import ssl
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import aiohttp
import attrs
import click
import orjson

from atriz_realtime.api.errors import NotAuthenticated, Unavailable
from atriz_realtime.api.wire import encode_json
from atriz_realtime.cli.options import config_option
from atriz_realtime.cli.serving.addresses import location, reachable
from atriz_realtime.cli.token import DEFAULT_TTL, minter
from atriz_realtime.plugin_system.config import RealtimeConfig

USER = "atriz-realtime"
"""The user that commands are when they make their own token."""

ANSWER_TIMEOUT = 10.0
"""Seconds that a server may take to answer."""

RENEWAL = DEFAULT_TTL / 2
"""Seconds after which a token of our own is made anew."""


class Unreachable(click.ClickException):
    """Nobody answers."""

    def format_message(self) -> str:
        """The message, and what may help."""
        return f"{self.message}; is the server running?"


class Refused(click.ClickException):
    """The server answered, and said no.

    :param status: of HTTP; 0 when the refusal came over a socket.
    """

    def __init__(self, code: str, message: str, *, field: str = "", status: int = 0) -> None:
        self.code = code
        self.field = field
        self.status = status
        self.reason = message
        hint = ""
        if status == NotAuthenticated.status or code in ("not_authenticated", "invalid_token"):
            hint = "; is the token good for this server (--token), or JWT_SECRET the server's?"
        super().__init__(f"the server refused: {message}{hint}")

    @property
    def temporary(self) -> bool:
        """Whether it is worth trying again: overload, or a backend that is away."""
        return self.status in (429, 502, Unavailable.status, 504)


@attrs.frozen
class Connection:
    """Where a server is, and the token to show it."""

    url: str
    """Without a slash at the end."""
    token: Callable[[], str]
    """Gives a token that is good now."""


def connection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--url``, ``--token`` and ``--config``; the command gets a :class:`Connection`."""

    @functools.wraps(command)
    def connected(url: str | None, token: str | None, file: str | None, **options: Any) -> None:
        command(connect_to(url, token, file), **options)

    for add in (
        config_option,
        click.option(
            "--token",
            metavar="JWT",
            help="The token to show.  [default: one made with JWT_SECRET]",
        ),
        click.option(
            "--url",
            metavar="URL",
            help="The server.  [default: http://127.0.0.1:3001, or as HOST and PORT say]",
        ),
    ):
        connected = add(connected)
    return connected


def connect_to(url: str | None, token: str | None, file: str | None) -> Connection:
    """Fill in from the configuration what the command line leaves open.

    :raises RealtimeError: when the configuration is broken, or has no secret to make a token with.
    """
    if url is not None:
        if not _is_base_url(url):
            raise click.BadParameter("must look like http://127.0.0.1:3001", param_hint="--url")
        url = url.rstrip("/")
    if token is not None and not token.isprintable():
        raise click.BadParameter("holds a line break or the like", param_hint="--token")
    if token is not None and url is not None:
        return Connection(url, lambda: token)
    config = RealtimeConfig.load(file)
    if url is None:
        url = f"http://{location(reachable(config.host), config.port)}"
    if token is not None:
        return Connection(url, lambda: token)
    return Connection(url, _Renewed(minter(config, USER)))


def _is_base_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # half an IPv6 address, or a port that is no number or too high
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and port != 0
        and not (parts.query or parts.fragment)
    )


class _Renewed:
    """A token of our own, made anew before it ends."""

    def __init__(self, mint: Callable[[], str]) -> None:
        self._mint = mint
        self._token = mint()
        self._made_at = time.monotonic()

    def __call__(self) -> str:
        if time.monotonic() - self._made_at > RENEWAL:
            self._token, self._made_at = self._mint(), time.monotonic()
        return self._token


class Api:
    """The HTTP interface, over one connection that is kept alive.

    Every method raises :class:`Unreachable` or :class:`Refused`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1),
            timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def publish(self, update: Mapping[str, Any]) -> Mapping[str, Any]:
        """Publish one update; returns the answer."""
        return await self._request("POST", "/api/tracking/location", update)

    async def entity_ids(self, kind: str) -> list[str]:
        """The ids of every entity of a type whose location is known."""
        ids: list[str] = []
        path = f"/api/tracking/{quote(kind, safe='')}"
        cursor: str | None = None
        while True:
            query = f"?cursor={quote(cursor, safe='')}" if cursor is not None else ""
            page = await self._request("GET", path + query)
            ids += [entry["entityId"] for entry in page["locations"]]
            cursor = page["nextCursor"]
            if cursor is None:
                return ids

    async def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        try:
            async with self._session.request(
                method,
                self._connection.url + path,
                data=None if body is None else encode_json(body),
                headers={
                    "Authorization": f"Bearer {self._connection.token()}",
                    "Content-Type": "application/json",
                },
                allow_redirects=False,
            ) as response:
                return self._read(response.status, await response.read())
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one of the latter
            raise unreachable(self._connection, error) from error

    def _read(self, status: int, body: bytes) -> Mapping[str, Any]:
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict) or (status != 200 and "code" not in answer):
            raise Refused(
                f"http_{status}",
                f"HTTP {status}; is {self._connection.url} an atriz-realtime server?",
                status=status,
            )
        if status != 200:
            raise Refused(
                str(answer["code"]),
                str(answer.get("message", "")),
                field=str(answer.get("field", "")),
                status=status,
            )
        return answer


def unreachable(connection: Connection, error: BaseException) -> Unreachable:
    """Say why: what the operating system says about a connection, else what the library does."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    number = cause.errno if isinstance(cause, OSError) else None
    if isinstance(cause, ssl.SSLError):
        why = f"TLS failed ({cause.reason or cause}); is it an http:// server?"
    elif isinstance(cause, TimeoutError):
        why = f"no answer within {ANSWER_TIMEOUT:g} s"
    elif number is not None and number > 0:
        why = os.strerror(number).lower()
    else:
        why = str(cause) or type(cause).__name__
    return Unreachable(f"{connection.url} cannot be reached: {why}")
