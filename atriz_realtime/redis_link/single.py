"""The connection to one Redis server, or to the primary that Sentinels name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from atriz_realtime.api.contracts import BackendStatus
from atriz_realtime.api.errors import ConfigurationError
from atriz_realtime.redis_link.pipe import (
    ANSWER_TIMEOUT,
    CONNECT_TIMEOUT,
    RedisPipe,
    Report,
    describe,
)
from atriz_realtime.redis_link.stream import Stream
from atriz_realtime.redis_link.url import RedisUrl

CONNECTION_OPTIONS: Mapping[str, Any] = {
    "protocol": 2,
    "socket_connect_timeout": ANSWER_TIMEOUT,
    "client_name": "atriz-realtime",  # in CLIENT LIST
}

SENTINEL_OPTIONS: Mapping[str, Any] = {
    "socket_connect_timeout": ANSWER_TIMEOUT / 2,
    "socket_timeout": ANSWER_TIMEOUT / 2,
    "retry": Retry(NoBackoff(), 0),  # ask the next Sentinel rather than the same one again
}

NOT_TLS = "wrong version number"
"""What OpenSSL says of an answer in plain text.  Redis often waits for more of a TLS handshake
instead, so that connecting to it takes too long."""


class SingleLink:
    """A :class:`~atriz_realtime.api.RedisLink` to one server at a time.

    :param report: called with an incident's kind, message and cause when Redis cannot be reached.
    :raises ConfigurationError: when the URL cannot be used.
    """

    sharded = False

    def __init__(self, url: RedisUrl, report: Report) -> None:
        self._url = url
        self._report = report
        self._sentinels: list[redis.asyncio.Redis] = []
        self.client: redis.asyncio.Redis
        """redis-py's own client."""
        options = {**CONNECTION_OPTIONS, **url.options}
        try:
            if url.service is None:
                self.client = redis.asyncio.from_url(url.text, **options)
            else:
                make: Any = Sentinel  # redis-py leaves it untyped
                sentinel = make(
                    list(url.nodes),
                    sentinel_kwargs={**SENTINEL_OPTIONS, **url.sentinel_options},
                    **options,
                )
                self.client = sentinel.master_for(url.service)
                self._sentinels = sentinel.sentinels
                for each in self._sentinels:
                    of_sentinel: Any = each.connection_pool
                    of_sentinel.make_connection()  # validates the options
            pool: Any = self.client.connection_pool  # redis-py leaves it untyped
            self._pool, self._make_connection = pool, pool.make_connection
            self._make_connection()  # validates the options without connecting
        except TypeError as error:
            option = str(error).rpartition(" ")[2]
            raise ConfigurationError(f"redis_url: no option {option}", field="redis_url") from error
        except (ValueError, RedisError) as error:
            raise ConfigurationError(f"redis_url: {error}", field="redis_url") from error

    async def start(self, on_connect: Callable[[], None]) -> None:
        """Make the first attempt to connect, and return when it has succeeded or failed.

        :param on_connect: called whenever Redis is connected, for the first time or again.
        """
        self._pipe = RedisPipe(self._server, self._open, on_connect=on_connect, report=self._report)
        await self._pipe.attempted()

    @property
    def primary(self) -> str:
        """The ``host:port`` of the primary that Sentinels name; empty while they name none."""
        address = getattr(self._pool, "master_address", None)
        return f"{address[0]}:{address[1]}" if address else ""

    def _server(self) -> str:
        return f"{self._url}, primary {self.primary}" if self.primary else str(self._url)

    def execute(self, *command: str | bytes | float) -> Awaitable[Any]:
        """Queue a command."""
        return self._pipe.execute(*command)

    def evaluate(
        self, script: str, keys: tuple[str, ...], arguments: tuple[str | bytes | float, ...]
    ) -> Awaitable[Any]:
        """Queue a Lua script."""
        return self._pipe.evaluate(script, keys, arguments)

    def route(self, _: str) -> str:
        """Name the server, which has all channels; another one after a failover."""
        return self._pipe.address

    async def refresh(self) -> None:
        """Do nothing: the pipe resolves the primary whenever it connects."""

    async def connect(self, received: Callable[[Any], None], _: str = "") -> Stream:
        """Open another connection to the same server."""
        return Stream(await self._open(), received)

    def status(self) -> BackendStatus:
        """Report whether Redis is connected, and if not, why."""
        return self._pipe.status()

    def statistics(self) -> dict[str, float]:
        """See :meth:`RedisPipe.statistics`."""
        return self._pipe.statistics()

    async def aclose(self) -> None:
        """Close every connection; pending commands fail."""
        await self._pipe.aclose()
        await self.disconnect()

    async def disconnect(self) -> None:
        """Close the connections of the client, and those to Sentinels."""
        clients = (self.client, *self._sentinels)
        await asyncio.gather(*(each.aclose() for each in clients))

    async def _open(self) -> AbstractConnection:
        try:
            return await connected(self._make_connection())
        except MasterNotFoundError as error:
            self._pool.master_address = None
            raise MasterNotFoundError(await self._unnamed()) from error

    async def _unnamed(self) -> str:
        """Say why the Sentinels name no primary; redis-py's text is full of addresses."""
        reasons = set()
        for answer in await asyncio.gather(
            *(sentinel.ping() for sentinel in self._sentinels), return_exceptions=True
        ):
            if isinstance(answer, Exception):
                reason = describe(answer)
                may_lack_tls = isinstance(answer, RedisTimeoutError) or reason == NOT_TLS
                if self._url.sentinel_options.get("ssl") and may_lack_tls:
                    reason += "; if Sentinels have no TLS, add sentinel_ssl=no to the URL"
                reasons.add(f"a Sentinel cannot be asked: {reason}")
            else:
                reasons.add("a Sentinel knows no primary of this name that is up")
        return "; ".join(sorted(reasons))


async def connected(connection: Any) -> AbstractConnection:
    """Connect a connection of redis-py's within :data:`CONNECT_TIMEOUT`, and return it.

    :raises redis.exceptions.RedisError: when it cannot be opened.
    :raises TimeoutError: when Redis does not answer in time.
    """
    connection.socket_timeout = None  # its user has timeouts of its own
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await connection.connect()
    except BaseException as error:
        await connection.disconnect(nowait=True)
        if isinstance(error, RedisConnectionError):  # its text has the address
            raise type(error)(describe(error)) from error
        raise
    ready: AbstractConnection = connection
    return ready
