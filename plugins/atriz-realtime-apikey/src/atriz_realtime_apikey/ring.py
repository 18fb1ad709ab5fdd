"""Finds a key by its id: in the configuration, then in Redis through a cache."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

from atriz_realtime.api import Clock, ConfigurationError
from atriz_realtime_apikey import store
from atriz_realtime_apikey.keys import ApiKey

T = TypeVar("T")

Execute = Callable[..., Awaitable[Any]]
"""Sends a command to Redis: see :class:`atriz_realtime.api.RedisLink`."""

Report = Callable[[str, str], None]
"""Counts an incident: see :class:`atriz_realtime.api.Resources`."""


class ExpiringCache(Generic[T]):
    """A cache whose entries expire after a time, bounded in size.

    All entries have the same lifetime, so the oldest one expires first, and is dropped first.
    """

    def __init__(self, seconds: float, size: int) -> None:
        self._seconds = seconds
        self._size = size
        self._entries: dict[str, tuple[float, T]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str, now: float) -> T | None:
        """The cached value, unless it has expired."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        since, value = entry
        if now - since < self._seconds:
            return value
        del self._entries[name]
        return None

    def put(self, name: str, value: T, since: float) -> None:
        """Cache a value."""
        self._entries.pop(name, None)
        self._entries[name] = since, value
        if len(self._entries) > self._size:
            del self._entries[next(iter(self._entries))]


class KeyRing:
    """The keys of one server.

    :param configured: the keys of the configuration by id, which precede those in Redis.
    :param execute: sends a command to Redis; ``None`` without one.
    :param prefix: the prefix of every Redis key.
    :param seconds: how long an answer of Redis is cached, a negative one too.
    :param size: how many positive answers are cached, and how many negative ones.
    """

    def __init__(
        self,
        configured: Mapping[str, ApiKey],
        execute: Execute | None,
        clock: Clock,
        report: Report,
        *,
        prefix: str = "",
        seconds: float,
        size: int,
    ) -> None:
        self._configured = configured
        self._execute = execute
        self._prefix = prefix
        self._clock = clock
        self._report = report
        self._found: ExpiringCache[ApiKey] = ExpiringCache(seconds, size)
        # separate, so that requests with random ids cannot push out keys that exist
        self._missing: ExpiringCache[bool] = ExpiringCache(seconds, size)

    async def find(self, key_id: str) -> ApiKey | None:
        """The key with an id, expired or not; ``None`` when there is none.

        :raises Unavailable: when Redis is away and the key is not cached.  The cache is not
            extended then: an outage must not bring back a key that was revoked.
        """
        configured = self._configured.get(key_id)
        if configured is not None or self._execute is None:
            return configured
        # the answer is as old as its request, so a key revoked meanwhile is not cached longer
        now = self._clock.monotonic()
        found = self._found.get(key_id, now)
        if found is not None or self._missing.get(key_id, now):
            return found
        name = store.redis_key(key_id, self._prefix)
        values = await self._execute("HMGET", name, *store.FIELDS)
        try:
            found = store.decode(key_id, values)
        except ConfigurationError as error:
            self._report("damaged API key", f"{key_id} in Redis: {error.message}")
        if found is None:
            self._missing.put(key_id, True, now)
        else:
            self._found.put(key_id, found, now)
        return found

    async def find_valid(self, key_id: str) -> ApiKey | None:
        """The key with an id; ``None`` when it has expired or there is none.

        :raises Unavailable: as :meth:`find` does.
        """
        key = await self.find(key_id)
        return None if key is None or key.expired(self._clock.now()) else key
