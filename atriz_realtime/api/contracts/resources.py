"""What plugins receive: the clock, their settings, and the connection to Redis."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs

from atriz_realtime.api.contracts.backends import BackendStatus

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

T = TypeVar("T")

logger = logging.getLogger("atriz_realtime")


class Clock(Protocol):
    """Tells the time; tests replace it."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes backwards."""


class PluginConfig(Protocol):
    """The configuration as a plugin sees it; read-only."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The effective settings, by the field names of ``RealtimeConfig``."""

    @property
    def table(self) -> Mapping[str, Any]:
        """The plugin's own table, ``[realtime.plugins.<name>]``."""

    def load(self, settings_class: type[T]) -> T:
        """Return the plugin's own table as an instance of an attrs class.

        :raises ConfigurationError: naming the key that is unknown or of a wrong type.
        """


class RedisStream(Protocol):
    """A separate connection to Redis that passes each reply to a callback."""

    def send(self, *commands: tuple[str | bytes | float, ...]) -> None:
        """Send commands in one write; no effect after the connection has ended."""

    async def ended(self) -> None:
        """Wait until the connection ends.

        :raises redis.exceptions.ConnectionError: when Redis or the network has ended it.
        :raises Exception: the error given to :meth:`end`, or raised by the callback.
        """

    def end(self, error: Exception) -> None:
        """End the connection at once, discarding unsent data."""

    async def aclose(self) -> None:
        """Close the connection; safe to call twice."""


class RedisLink(Protocol):
    """The server's connection to Redis, shared by all plugins."""

    @property
    def client(self) -> Redis | RedisCluster:
        """The ordinary redis-py client, for everything but the hot path."""

    @property
    def sharded(self) -> bool:
        """Whether it is a cluster: scripts touch one key, and pub/sub uses ``SPUBLISH``."""

    def execute(self, *command: str | bytes | float) -> Awaitable[Any]:
        """Queue a command; all commands of one turn of the loop share a round trip.

        Answers are bytes, undecoded.

        :raises Unavailable: when Redis does not answer within the time limit.
        :raises redis.exceptions.ResponseError: when it answers with an error.
        """

    def evaluate(
        self, script: str, keys: tuple[str, ...], arguments: tuple[str | bytes | float, ...]
    ) -> Awaitable[Any]:
        """Queue a Lua script by its hash, sending its text only when Redis lacks it.

        :raises Unavailable: when Redis does not answer within the time limit.
        """

    def route(self, channel: str) -> str:
        """Return the Redis server of a channel, which a failover may change; empty if unknown."""

    async def refresh(self) -> None:
        """Update the map of channels to Redis servers; if that fails, the map stays as it was."""

    async def connect(self, received: Callable[[Any], None], route: str = "") -> RedisStream:
        """Open a separate connection, for a caller that cannot share one (a subscriber).

        The caller is responsible for timeouts and for closing it.

        :param received: called with each reply, in order and undecoded; an error reply is
            passed as an exception.  If it raises, the connection ends with that exception.
        :param route: the server to connect to, on a cluster.
        :raises redis.exceptions.RedisError: when it cannot be opened.
        :raises TimeoutError: when Redis does not answer within the time limit.
        """

    def status(self) -> BackendStatus:
        """Whether Redis answers."""


class Report(Protocol):
    """Counts and logs incidents: see :attr:`Resources.report`."""

    def __call__(self, kind: str, message: str, *, labels: Mapping[str, str] | None = None) -> None:
        """Report an incident."""


def _log(kind: str, message: str, *, labels: Mapping[str, str] | None = None) -> None:
    """Log an incident where no server counts it."""
    logger.warning("%s: %s", kind.format(**labels) if labels else kind, message)


def limit_reached(report: Report, limit: str, message: str) -> None:
    """Report that something bounded was full, and that what it gave up was still needed.

    What has expired is not needed, nor is a cached value that can be found again.

    :param limit: the full name of the constant, which the log and the counts show.
    :param message: how many there may be of what, and what follows.
    """
    labels = {"limit": limit.removeprefix("atriz_realtime.")}
    report("limit {limit} reached", message, labels=labels)


@attrs.frozen(kw_only=True, eq=False)
class Resources:
    """What a backend or a policy receives when it is opened."""

    clock: Clock
    """The clock.  Take the time only from here, so that tests can control it."""
    redis: RedisLink | None
    """``None`` when no Redis is configured."""
    settings: Mapping[str, Any]
    """The effective settings, read-only."""
    report: Report = _log
    """``report(kind, message, *, labels=None)`` counts a survived failure, and logs it unless
    one of its kind was logged within the last minute.  ``kind`` is a short name from a small
    set, ``message`` one line without secrets; ``labels`` are values for placeholders in
    ``kind``, such as ``{code}``.  The counts are in ``ServerHandle.incidents``."""
