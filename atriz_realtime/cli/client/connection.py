"""How commands reach a running server: its URL, a token for it, and its HTTP interface."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Self
from urllib.parse import quote, urlsplit

import aiohttp
import attrs
import click
import orjson

from atriz_realtime.api.errors import LocationNotFound, NotAuthenticated, NotAuthorized, Unavailable
from atriz_realtime.api.wire import encode_json
from atriz_realtime.cli.addresses import local_url
from atriz_realtime.cli.options import config_option
from atriz_realtime.cli.token import minter
from atriz_realtime.plugin_system.config import RealtimeConfig

USER = "atriz-realtime"
"""The user of tokens that commands make themselves."""

ANSWER_TIMEOUT = 10.0
"""Seconds within which a server must answer."""


class Unreachable(click.ClickException):
    """No server answers at the URL.

    :param hint: what to look for, after the message.
    """

    def __init__(self, message: str, hint: str = "; is the server running?") -> None:
        super().__init__(message)
        self._hint = hint

    def format_message(self) -> str:
        """The message, with a hint."""
        return self.message + self._hint


class Refused(click.ClickException):
    """The server refused a request.

    :param status: the HTTP status; 0 for a refusal over Socket.IO.
    """

    def __init__(self, code: str, message: str, *, field: str = "", status: int = 0) -> None:
        self.code = code
        self.field = field
        self.status = status
        self.reason = message
        hint = ""
        if status == NotAuthenticated.status or code in ("not_authenticated", "invalid_token"):
            hint = "; is --token valid for this server, or JWT_SECRET the secret of this server?"
        elif code == NotAuthorized.code:
            hint = "; if this needs other claims, pass a token that has them with --token"
        super().__init__(f"the server refused: {message}{hint}")

    @property
    def temporary(self) -> bool:
        """Whether a retry may succeed: the server is overloaded, or a backend is down."""
        return self.status in (429, 502, Unavailable.status, 504)


@attrs.frozen
class Target:
    """The server that a command talks to."""

    url: str
    """Without a trailing slash."""
    token: Callable[[], str]
    """Returns a token that is valid now."""


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--url``, ``--token`` and ``--config``; the command gets a :class:`Target`."""
    option = click.option(
        "--url",
        metavar="URL",
        callback=read_url,
        help="URL of the server.  [default: http://127.0.0.1:3001, or from HOST and PORT]",
    )
    return option(_with_target(command))


def target_argument(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument ``URL``, ``--token`` and ``--config``; the command gets a :class:`Target`.

    A command that puts a load on a server should be told on which.
    """
    return click.argument("url", metavar="URL", callback=read_url)(_with_target(command))


def _with_target(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def with_target(url: str | None, token: str | None, file: str | None, **options: Any) -> None:
        command(find_target(url, token, file), **options)

    return click.option(
        "--token",
        metavar="JWT",
        help="Token to authenticate with.  [default: one made with JWT_SECRET]",
    )(config_option(with_target))


def read_url(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Check that a URL is that of a server, and remove a slash at its end."""
    if value is not None and not _is_base_url(value):
        raise click.BadParameter("must look like http://127.0.0.1:3001")
    return None if value is None else value.rstrip("/")


def find_target(url: str | None, token: str | None, file: str | None) -> Target:
    """The server to talk to; what the command line does not say comes from the configuration.

    :raises RealtimeError: when the configuration is broken, or has no secret to make a token with.
    """
    if token is not None and not token.isprintable():
        raise click.BadParameter(
            "must not contain line breaks or other control characters", param_hint="--token"
        )
    if token is not None and url is not None:
        return Target(url, lambda: token)
    config = RealtimeConfig.load(file)
    url = local_url(config.host, config.port) if url is None else url
    if token is not None:
        return Target(url, lambda: token)
    return Target(url, minter(config, USER, otherwise=", or pass a token with --token"))


def _is_base_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # a broken IPv6 address, or a port that is no number or too high
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and port != 0
        and not (parts.query or parts.fragment)
    )


class Api:
    """The HTTP interface of a server, over one keep-alive connection.

    Every method raises :class:`Unreachable` or :class:`Refused`.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1),
            timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def publish(self, update: Mapping[str, Any]) -> Mapping[str, Any]:
        """Publish one position; returns the answer."""
        return await self._request("POST", "/api/tracking/location", update)

    async def entity_ids(self, kind: str) -> list[str]:
        """The ids of all entities of a type with a known location."""
        ids: list[str] = []
        path = f"/api/tracking/{quote(kind, safe='')}"
        query = ""
        while True:
            page = await self._request("GET", path + query)
            ids += [entry["entityId"] for entry in page["locations"]]
            if page["nextCursor"] is None:
                return ids
            query = f"?cursor={quote(page['nextCursor'], safe='')}"

    async def is_known(self, kind: str, entity_id: str) -> bool:
        """Whether an entity has a current location."""
        try:
            await self._request(
                "GET", f"/api/tracking/{quote(kind, safe='')}/{quote(entity_id, safe='')}"
            )
        except Refused as refusal:
            if refusal.code != LocationNotFound.code:
                raise
            return False
        return True

    async def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        try:
            async with self._session.request(
                method,
                self._target.url + path,
                data=None if body is None else encode_json(body),
                headers={
                    "Authorization": f"Bearer {self._target.token()}",
                    "Content-Type": "application/json",
                },
                allow_redirects=False,
            ) as response:
                return self._read(response.status, await response.read())
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise unreachable(self._target, error) from error

    def _read(self, status: int, body: bytes) -> Mapping[str, Any]:
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict) or (status != 200 and "code" not in answer):
            raise Refused(
                f"http_{status}",
                f"HTTP {status}; is {self._target.url} an atriz-realtime server?",
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


def unreachable(target: Target, error: BaseException) -> Unreachable:
    """The error to raise, with the reason that the operating system or the library gives."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Unreachable(
            f"{target.url} cannot be reached: its certificate is not trusted "
            f"({cause.verify_message}); SSL_CERT_FILE names the authority to trust",
            hint="",
        )
    if isinstance(cause, ssl.SSLError):
        why = f"TLS failed ({cause.reason or cause}); is it an http:// server?"
    elif isinstance(cause, TimeoutError):
        why = f"no answer within {ANSWER_TIMEOUT:g} s"
    elif isinstance(cause, socket.gaierror):
        why = str(cause.strerror).lower()
    elif isinstance(cause, OSError) and cause.errno:
        why = os.strerror(cause.errno).lower()
    else:
        why = str(cause) or type(cause).__name__
    return Unreachable(f"{target.url} cannot be reached: {why}")


def run_interruptibly(work: Coroutine[Any, Any, None]) -> bool:
    """Run a coroutine until it is done, or SIGINT or SIGTERM cancels it.

    Cancelled work still cleans up, so that a terminal gets its cursor back.

    :returns: whether the work was done.
    """

    async def run() -> None:
        task = asyncio.ensure_future(work)

        def interrupt() -> None:
            if not task.cancelling():  # a second signal must not interrupt the cleanup
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, interrupt)
        await task

    try:
        asyncio.run(run())
    except asyncio.CancelledError:
        return False
    return True
