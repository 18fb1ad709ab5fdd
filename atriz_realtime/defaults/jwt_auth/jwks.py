"""A JWK set from a file or a URL, read periodically; the last valid one stays in use."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from atriz_realtime.api import ConfigurationError, Report
from atriz_realtime.defaults.jwt_auth.keys import Keys, published

TIMEOUT = 1.5
"""Seconds that a read may take; less than an authenticator has (``plugin_timeout``)."""

MAX_BYTES = 262_144
"""Bytes of a JWK set; a larger one is refused."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def check_source(source: str, allow_http: bool) -> None:
    """Refuse a URL whose answer could be forged on the way.

    :raises ConfigurationError: for ``http`` beyond loopback, unless it is allowed.
    """
    parts = urlsplit(source)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not allow_http:
        raise ConfigurationError(
            "jwks: http lets others put in keys of their own; use https, or jwks_allow_http",
            field="jwks",
        )


class KeySource:
    """The keys of a JWK set, read on demand.

    :param interval: seconds after which the set is read again.
    :param pause: least seconds between two reads.
    :param report: see :class:`~atriz_realtime.api.Resources`.
    """

    def __init__(self, source: str, interval: float, pause: float, report: Report) -> None:
        self.keys: Keys = {}
        self._source = source
        self._interval = interval
        self._pause = pause
        self._report = report
        self._last_read = -math.inf
        self._reading: asyncio.Task[None] | None = None

    async def current(self) -> None:
        """Read the set when the keys are older than the interval; wait for it after two of them."""
        age = time.monotonic() - self._last_read
        if age > self._interval:
            reading = self._start_read()
            if reading is not None and (not self.keys or age > 2 * self._interval):
                await asyncio.shield(reading)

    async def refresh(self) -> None:
        """Read the set now, for a key that it lacks, unless the last read is too recent."""
        reading = self._start_read()
        if reading is not None:
            await asyncio.shield(reading)

    def _start_read(self) -> asyncio.Task[None] | None:
        if self._reading is not None and not self._reading.done():
            return self._reading
        now = time.monotonic()
        if now - self._last_read < self._pause:
            return None
        self._last_read = now
        self._reading = asyncio.get_running_loop().create_task(self._read(), name="jwks")
        return self._reading

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                document = await self._document()
            if len(document) > MAX_BYTES:
                raise ValueError("too large")
            self.keys = published(document, self._report)
        except (OSError, ValueError, TimeoutError, aiohttp.ClientError) as error:
            self._report(
                "key set unavailable",
                f"{type(error).__name__}: the {len(self.keys)} keys read before are kept",
            )

    async def _document(self) -> bytes:
        if not self._source.startswith(("http://", "https://")):
            return await asyncio.to_thread(self._file)
        async with (
            aiohttp.ClientSession() as session,
            session.get(self._source, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ValueError("not a 200")
            content = bytearray()
            async for part in response.content.iter_any():
                content += part
                if len(content) > MAX_BYTES:
                    break
            return bytes(content)

    def _file(self) -> bytes:
        with Path(self._source).open("rb") as file:
            return file.read(MAX_BYTES + 1)
