"""What a plugin is given to work with: time, settings, the connection to Redis."""

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
    """Time, so that tests can own it."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""


class PluginConfig(Protocol):
    """What a plugin sees of the configuration; read-only."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The effective settings, by the field names of ``RealtimeConfig``."""

    @property
    def table(self) -> Mapping[str, Any]:
        """The plugin's own table, ``[realtime.plugins.<name>]``."""

    def load(self, settings_class: type[T]) -> T:
        """The plugin's own table as an instance of an attrs class.

        :raises ConfigurationError: naming the key that is unknown or of a wrong type.
        """


class RedisStream(Protocol):
    """A connection of one's own to Redis, whose replies are handed on as they come."""

    def send(self, *commands: tuple[str | bytes | float, ...]) -> None:
        """Send commands in one write; without effect once the connection has ended."""

    async def ended(self) -> None:
        """Wait until the connection ends.

        :raises redis.exceptions.ConnectionError: when Redis, or the network, has ended it.
        :raises Exception: what :meth:`end` was told, or taking a reply has raised.
        """

    def end(self, error: Exception) -> None:
        """End the connection at once, whatever is still to be sent."""

    async def aclose(self) -> None:
        """Close the connection; safe to call twice."""


class RedisLink(Protocol):
    """The server's connection to Redis, shared by everything that plugs in."""

    @property
    def client(self) -> Redis | RedisCluster:
        """The ordinary redis-py client, for anything outside the hot path."""

    @property
    def sharded(self) -> bool:
        """Whether it is a cluster: scripts touch one key, pub/sub is ``SPUBLISH``'s."""

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
        """Which server a channel is on; another one after a failover, empty while unknown."""

    async def refresh(self) -> None:
        """Look which channels are on which servers now; if that fails, all stay where they were."""

    async def connect(self, received: Callable[[Any], None], route: str = "") -> RedisStream:
        """Open a further connection, for whoever must have one alone (a subscriber).

        Whoever opens it keeps the time, and closes it.

        :param received: takes each reply, in order and undecoded; an error is an exception
            that is not raised.  The connection ends with what this raises.
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


@attrs.frozen(kw_only=True)
class Resources:
    """What a backend or a policy may use when it is opened."""

    clock: Clock
    """Time; the one thing to ask for it, so that tests can own it."""
    redis: RedisLink | None
    """``None`` when no Redis is configured."""
    settings: Mapping[str, Any]
    """The effective settings, read-only."""
    report: Report = _log
    """``report(kind, message, *, labels=None)`` counts a failure that was survived, and logs it
    unless one of its kind was logged within the last minute.  ``kind`` is a short name out of
    a small set, ``message`` one line without secrets; ``labels`` are values for placeholders
    in ``kind``, such as ``{code}``.  ``ServerHandle.incidents`` has the counts."""
