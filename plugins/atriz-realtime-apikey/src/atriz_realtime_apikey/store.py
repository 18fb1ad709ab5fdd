"""Keys in Redis: a hash for each, and an index from which expired keys are removed.

=========================  =========================================================
``realtime:apikey:<id>``   the fields of :class:`ApiKey`; the lists as JSON
``realtime:apikeys``       the ids, a sorted set scored by expiry (seconds since the
                           epoch, ``+inf`` for never)
=========================  =========================================================

Both have the setting ``redis_prefix`` as prefix.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

import attrs

from atriz_realtime.api import ConfigurationError
from atriz_realtime_apikey.keys import ApiKey

T = TypeVar("T")

INDEX = "realtime:apikeys"

FIELDS = ("hash", "publish", "track", "label", "user", "expires")
"""The fields of a key's hash, in the order that :func:`decode` expects."""

ANSWER_SECONDS = 5.0
"""Seconds that Redis has to answer a command."""

PAGE = 500
"""Keys that are read in one round trip."""

_LISTS = frozenset({"publish", "track"})


def redis_key(key_id: str, prefix: str = "") -> str:
    """The Redis key of an API key's hash."""
    return f"{prefix}realtime:apikey:{key_id}"


def encode(key: ApiKey) -> dict[str, str]:
    """The fields of a key's hash."""
    return {
        field: json.dumps(value) if field in _LISTS else value
        for field, value in key.to_table().items()
    }


def decode(key_id: str, values: Sequence[bytes | None]) -> ApiKey | None:
    """The key from the answer to ``HMGET`` of :data:`FIELDS`; ``None`` when there is none.

    :raises ConfigurationError: when it has a form that :func:`encode` does not produce.
    """
    if all(value is None for value in values):
        return None
    try:
        table = {
            field: json.loads(value) if field in _LISTS else value.decode()
            for field, value in zip(FIELDS, values, strict=True)
            if value is not None
        }
    except ValueError as error:  # broken JSON or UTF-8; the message may quote the hash
        raise ConfigurationError("a field is not JSON, or not UTF-8") from error
    return ApiKey.from_table(key_id, table)


@attrs.frozen
class KeyStore:
    """Adds, lists and removes the keys in Redis.

    Each command touches one Redis key, so that it works on a cluster.  Every method raises
    redis-py's errors, and :class:`TimeoutError` when Redis does not answer.
    """

    _client: Any = attrs.field(repr=False)  # Redis or RedisCluster: typed alike, not the same
    _prefix: str = ""

    async def add(self, key: ApiKey, now: float) -> None:
        """Store a key until it expires.

        The index is written first, so that a key that works is always listed.
        """
        expiry = math.inf if key.expires is None else key.expires.timestamp()
        index, name = self._prefix + INDEX, redis_key(key.id, self._prefix)
        await _answer(self._client.zremrangebyscore(index, "-inf", now))
        await _answer(self._client.zadd(index, {key.id: expiry}))
        await _answer(self._client.hset(name, mapping=encode(key)))
        if key.expires is not None:
            await _answer(self._client.expireat(name, math.ceil(expiry)))

    async def all(self, now: float) -> dict[str, ApiKey | ConfigurationError]:
        """Every key that has not expired, in the order of expiry; an error for a damaged one."""
        members = await _answer(self._client.zrange(self._prefix + INDEX, 0, -1))
        ids = [member.decode() for member in members]
        found: dict[str, ApiKey | ConfigurationError] = {}
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            pipeline = self._client.pipeline(transaction=False)
            for key_id in page:
                pipeline.hmget(redis_key(key_id, self._prefix), FIELDS)
            for key_id, values in zip(page, await _answer(pipeline.execute()), strict=True):
                try:
                    key = decode(key_id, values)
                except ConfigurationError as error:
                    found[key_id] = error
                else:
                    if key is not None and not key.expired(now):
                        found[key_id] = key
        return found

    async def remove(self, key_id: str) -> bool:
        """Remove a key; returns whether it existed."""
        deleted = await _answer(self._client.delete(redis_key(key_id, self._prefix)))
        await _answer(self._client.zrem(self._prefix + INDEX, key_id))
        return bool(deleted)


async def _answer(asking: Awaitable[T]) -> T:
    async with asyncio.timeout(ANSWER_SECONDS):
        return await asking
