"""Keys in Redis: a hash each, and an index of them that expired ones leave by themselves.

=========================  =========================================================
``realtime:apikey:<id>``   the fields of :class:`ApiKey`; the lists as JSON
``realtime:apikeys``       the ids, a sorted set scored by expiry (seconds since the
                           epoch, ``+inf`` for never)
=========================  =========================================================

The setting ``redis_prefix`` stands before both.
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
"""The fields of a key's hash, in the order :func:`decode` takes them."""

ANSWER_SECONDS = 5.0
"""Time that Redis has to answer a command."""

PAGE = 500
"""Keys read in one round trip."""

_LISTS = frozenset({"publish", "track"})


def redis_key(key_id: str, prefix: str = "") -> str:
    """The Redis key that a key's hash is under."""
    return f"{prefix}realtime:apikey:{key_id}"


def encode(key: ApiKey) -> dict[str, str]:
    """The fields of a key's hash."""
    return {
        field: json.dumps(value) if field in _LISTS else value
        for field, value in key.to_table().items()
    }


def decode(key_id: str, values: Sequence[bytes | None]) -> ApiKey | None:
    """The key of what ``HMGET`` of :data:`FIELDS` answers; ``None`` when there is none.

    :raises ConfigurationError: when it is not what :func:`encode` makes.
    """
    if all(value is None for value in values):
        return None
    try:
        table = {
            field: json.loads(value) if field in _LISTS else value.decode()
            for field, value in zip(FIELDS, values, strict=True)
            if value is not None
        }
    except ValueError as error:  # broken JSON, broken UTF-8; what they quote may be the hash
        raise ConfigurationError("a field is not JSON, or not UTF-8") from error
    return ApiKey.from_table(key_id, table)


@attrs.frozen
class KeyStore:
    """The keys in Redis, for whoever administers them.

    Each command touches one Redis key, so that a cluster will do.  Every method raises what
    redis-py does when Redis cannot do it, and :class:`TimeoutError` when it does not answer.
    """

    _client: Any = attrs.field(repr=False)  # Redis or RedisCluster: typed alike, not the same
    _prefix: str = ""

    async def add(self, key: ApiKey, now: float) -> None:
        """Keep a key until it expires.

        The index goes first: a key that works is always one that is listed.
        """
        expiry = math.inf if key.expires is None else key.expires.timestamp()
        index, name = self._prefix + INDEX, redis_key(key.id, self._prefix)
        await _answer(self._client.zremrangebyscore(index, "-inf", now))
        await _answer(self._client.zadd(index, {key.id: expiry}))
        await _answer(self._client.hset(name, mapping=encode(key)))
        if key.expires is not None:
            await _answer(self._client.expireat(name, math.ceil(expiry)))

    async def all(self, now: float) -> dict[str, ApiKey | ConfigurationError]:
        """Every key that has not expired, soonest to expire first; or what is wrong with it."""
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
        """Forget a key; whether there was one."""
        deleted = await _answer(self._client.delete(redis_key(key_id, self._prefix)))
        await _answer(self._client.zrem(self._prefix + INDEX, key_id))
        return bool(deleted)


async def _answer(asking: Awaitable[T]) -> T:
    async with asyncio.timeout(ANSWER_SECONDS):
        return await asking
