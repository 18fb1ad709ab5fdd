"""A JWK set from a file or a URL, read periodically; during an outage the last one stays in use."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import orjson

from atriz_realtime.api import Check, ConfigurationError, Report
from atriz_realtime.defaults.jwt_auth.keys import TABLE, Keys, published

TIMEOUT = 1.5
"""Seconds that a read may take; less than an authenticator has (``plugin_timeout``)."""

MAX_BYTES = 262_144
"""Bytes of a JWK set; a larger one is refused."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def is_url(source: str) -> bool:
    """Whether the set is at a URL; else it is in a file."""
    return source.startswith(("http://", "https://"))


def check_source(source: str, allow_http: bool) -> None:
    """Refuse a URL whose answer could be forged on the way, and a file that does not exist.

    :raises ConfigurationError: for ``http`` beyond loopback, unless it is allowed; for a path
        without a file.
    """
    if not is_url(source):
        if not Path(source).is_file():
            raise ConfigurationError(
                f"{TABLE}: jwks: there is no file {shown(source)!r}; a URL begins with https://",
                field="jwks",
            )
        return
    try:
        parts = urlsplit(source)
    except ValueError:  # whose text may repeat a password
        raise ConfigurationError(
            f"{TABLE}: jwks: {shown(source)!r} is no valid URL", field="jwks"
        ) from None
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not allow_http:
        raise ConfigurationError(
            f"{TABLE}: jwks: http lets others put in keys of their own; use https, or"
            " jwks_allow_http",
            field="jwks",
        )


def shown(source: str) -> str:
    """A path, or a URL without its credentials and its query, for a line of the log."""
    scheme, separator, rest = source.partition("://")
    if not separator:
        return source
    address = rest.rpartition("@")[2]
    return f"{scheme}://{address.partition('?')[0].partition('#')[0]}"


def _reason(error: Exception) -> str:
    """Why a set could not be read, without what the URL holds in secret."""
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    if isinstance(error, orjson.JSONDecodeError):
        return "what is there is not JSON"
    if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return type(error).__name__


class KeySource:
    """The keys of a JWK set, read regularly once they are needed.

    :param interval: seconds after which the set is read again.
    :param pause: least seconds between the last read and one for a key that the set lacks.
    :param report: see :class:`~atriz_realtime.api.Resources`.
    """

    def __init__(self, source: str, interval: float, pause: float, report: Report) -> None:
        self.keys: Keys = {}
        """Another object whenever another set was read."""
        self._content = b""  # of the set
        self._source = source
        self._interval = interval
        self._pause = pause
        self._report = report
        self._last_read = -math.inf
        self._reading: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def start(self) -> None:
        """Read the set now and at every interval from now on, unless that has begun already.

        The set is read whether or not anybody calls: after a quiet night, a key that was withdrawn
        is gone, and nobody has to wait until this is known.
        """
        if self._timer is None and not self._is_closed:
            self._read_regularly()

    async def refresh(self) -> None:
        """Read the set for a key that it lacks, unless the last read is too recent."""
        if self._reading is None and time.monotonic() - self._last_read < self._pause:
            return
        if not self._is_closed:
            await asyncio.wait((self._start_read(),))

    async def problems(self) -> list[str]:
        """Read the set, without taking its keys; returns why it cannot be used."""
        try:
            _, keys = await self._read_once()
        except Exception as error:  # whatever it is, a server would go on without the set
            return [f"{TABLE}: jwks: {_reason(error)}"]
        return [] if keys else [f"{TABLE}: jwks: the set has no key that can be used"]

    def check(self) -> Check:
        """The check of the set, which needs the network only for a URL."""
        return Check("jwks", self.problems, needs="network" if is_url(self._source) else None)

    def close(self) -> None:
        """Read no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._reading is not None:
            self._reading.cancel()

    def _read_regularly(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._read_regularly)
        self._start_read()

    def _start_read(self) -> asyncio.Task[None]:
        if self._reading is None:
            self._last_read = time.monotonic()
            self._reading = asyncio.get_running_loop().create_task(self._read(), name="jwks")
            self._reading.add_done_callback(self._has_read)
        return self._reading

    def _has_read(self, _: asyncio.Task[None]) -> None:
        self._reading = None

    async def _read(self) -> None:
        try:
            document, keys = await self._read_once()
            if document != self._content:
                self.keys, self._content = keys, document
            if not self.keys:
                self._report("key set empty", "the JWK set has no key that can be used")
        except Exception as error:  # whatever it is, the keys that were read stay in use
            self._report(
                "key set unavailable",
                f"{shown(self._source)}: {_reason(error)}; "
                f"the {len(self.keys)} keys read before are kept",
            )

    async def _read_once(self) -> tuple[bytes, Keys]:
        async with asyncio.timeout(TIMEOUT):
            document = await self._document()
        if len(document) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        return document, published(document, self._report)

    async def _document(self) -> bytes:
        if not is_url(self._source):
            return await asyncio.to_thread(self._file)
        async with (
            aiohttp.ClientSession() as session,
            session.get(self._source, allow_redirects=False) as response,
        ):
            if response.status != 200:
                hint = ", a redirect, which is not followed" if response.status // 100 == 3 else ""
                raise ValueError(f"it answered with status {response.status}{hint}")
            content = bytearray()
            async for part in response.content.iter_any():
                content += part
                if len(content) > MAX_BYTES:
                    break
            return bytes(content)

    def _file(self) -> bytes:
        with Path(self._source).open("rb") as file:
            return file.read(MAX_BYTES + 1)
