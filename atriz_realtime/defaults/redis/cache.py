"""Current locations in Redis, under the documented keys."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
from collections.abc import Awaitable
from typing import Any

from redis.exceptions import RedisError

from atriz_realtime.api import (
    BackendStatus,
    Clock,
    EntityRef,
    InvalidRequest,
    Page,
    Payload,
    RedisChannels,
    RedisLink,
    Unavailable,
    decode_json,
)

# The timestamp of a location.  Timestamps are all UTC with milliseconds, so they sort as text.
# That of a value from another program that is not JSON, or no time, is empty.
TIME_OF = """
local function time_of(location)
  local ok, decoded = pcall(cjson.decode, location)
  local timestamp = ok and type(decoded) == 'table' and decoded.timestamp
  return type(timestamp) == 'string' and timestamp:match('^%d.*') or ''
end
"""

# Sets KEYS[1] to ARGV[1] for ARGV[2] seconds, unless it holds a location whose
# timestamp is later than ARGV[3].
_PUT = f"""
{TIME_OF}
local held = redis.call('GET', KEYS[1])
if held and time_of(held) > ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""

# Records in the index KEYS[1] that the id ARGV[1] expires at ARGV[2] (ms since the epoch).
# Each write also removes up to 16 entries that expired before ARGV[3], more than it
# adds, so the index never outgrows what is cached.  After ARGV[4] seconds without a
# write it expires as a whole.  Returns the id's expiry from before.
_INDEX = """
local before = redis.call('ZSCORE', KEYS[1], ARGV[1])
local gone = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, 16)
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
return before
"""

# Both scripts in one, on the keys KEYS[1] and KEYS[2], where one server has both.  ARGV is
# the location, its seconds and its timestamp, then the id, the expiry and now.  If there is a
# KEYS[3], it is set to the mark ARGV[7].
_PUT_AND_INDEX = f"""
local function put(KEYS, ARGV) {_PUT} end
local function index(KEYS, ARGV) {_INDEX} end
if put({{KEYS[1]}}, {{ARGV[1], ARGV[2], ARGV[3]}}) == 1 then
  index({{KEYS[2]}}, {{ARGV[4], ARGV[5], ARGV[6], ARGV[2]}})
  if KEYS[3] then redis.call('SET', KEYS[3], ARGV[7], 'EX', ARGV[2]) end
end
return 1
"""

# Sets the expiry of the id ARGV[1] in the index KEYS[1] back to ARGV[3], or removes it when
# that is empty, unless the expiry is no longer ARGV[2].
_RESTORE = """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then
  if ARGV[3] == '' then redis.call('ZREM', KEYS[1], ARGV[1])
  else redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1]) end
end
return 1
"""

# Sets the mark KEYS[1] to ARGV[1] for ARGV[2] seconds, unless it is of a later time.
_MARK_HELD = """
local held = redis.call('GET', KEYS[1])
if held and held:match('^%S*') > ARGV[1]:match('^%S*') then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""

SENT = b" sent"
"""Follows the mark of a held location once it has been sent."""

# Adds that to the mark KEYS[1] if the mark is ARGV[1].
_MARK_SENT = f"""
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1] .. '{SENT.decode()}', 'KEEPTTL')
end
return 1
"""

MAX_SCORE_LENGTH = 15
"""Digits of an expiry in a cursor; the score of a sorted set holds as many exactly."""

PAGE_READS = 250
"""Locations of a page that are read at once."""

PAGES_READING = 2
"""Pages that are read at the same time; others take turns, so that a fix waits for no more reads
than those of two pages."""


class RedisCache:
    """Current locations under ``location:current:<type>:<id>``, with an index for each type.

    A second key of an entity marks the location that was held last.  On a cluster, every command
    and script touches one key.

    :param prefix: the prefix of every key.
    """

    def __init__(self, link: RedisLink, clock: Clock, prefix: str) -> None:
        self._link = link
        self._clock = clock
        self._prefix = prefix
        self._restoring: set[asyncio.Future[None]] = set()
        self._page_turns = asyncio.Semaphore(PAGES_READING)

    def put(self, payload: Payload, ttl: float) -> Awaitable[None]:
        """Queue the write of the location and its index entry."""
        return self._put(payload, ttl)

    def put_held(self, payload: Payload, ttl: float) -> Awaitable[None]:
        """Queue the same, and the mark of what is held."""
        return self._put(payload, ttl, held=True)

    def _put(self, payload: Payload, ttl: float, *, held: bool = False) -> Awaitable[None]:
        entity = payload.entity
        seconds = math.ceil(ttl)
        now = int(self._clock.now() * 1000)
        expires = now + seconds * 1000
        if not self._link.sharded:
            keys: tuple[str, ...] = (self.key(entity), self._index(entity.type))
            arguments: tuple[str | bytes | float, ...]
            arguments = (payload.location, seconds, payload.timestamp, entity.id, expires, now)
            if held:
                keys, arguments = (*keys, self.held_key(entity)), (*arguments, mark_of(payload))
            return self._link.evaluate(_PUT_AND_INDEX, keys, arguments)
        marking: list[Awaitable[Any]] = []
        if held:  # before the location, which would be taken for sent
            marks = (mark_of(payload), seconds)
            marking.append(self._link.evaluate(_MARK_HELD, (self.held_key(entity),), marks))
        putting = self._link.evaluate(
            _PUT, (self.key(entity),), (payload.location, seconds, payload.timestamp)
        )
        indexing = self._link.evaluate(
            _INDEX, (self._index(entity.type),), (entity.id, expires, now, seconds)
        )
        return self._finish_put(entity, expires, putting, indexing, *marking)

    async def _finish_put(
        self,
        entity: EntityRef,
        expires: int,
        putting: Awaitable[Any],
        indexing: Awaitable[Any],
        *marking: Awaitable[Any],
    ) -> None:
        replaced, before, *_ = await _all(putting, indexing, *marking)
        if not replaced:  # the fix is older: the cached one expires when it did before
            answer = self._link.evaluate(
                _RESTORE, (self._index(entity.type),), (entity.id, expires, before or b"")
            )
            restoring = asyncio.ensure_future(_ignored(answer))
            self._restoring.add(restoring)
            restoring.add_done_callback(self._restoring.discard)

    def get(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """The location JSON, or ``None``."""
        return self._link.execute("GET", self.key(entity))

    async def to_send(self, payload: Payload) -> bytes | None:
        """The payload's location, a newer one that is held, or ``None``."""
        entity = payload.entity
        cached, held = await _all(
            self._link.execute("GET", self.key(entity)),
            self._link.execute("GET", self.held_key(entity)),
        )
        location: bytes | None = cached
        if location is not None and location != payload.location:
            timestamp = _time_of(location)
            if timestamp >= payload.timestamp:
                return location if held == _mark(location, timestamp) else None
        return None if held == mark_of(payload) + SENT else payload.location

    def mark_sent(self, payload: Payload) -> Awaitable[None]:
        """Queue the change of the mark."""
        return self._link.evaluate(
            _MARK_SENT, (self.held_key(payload.entity),), (mark_of(payload),)
        )

    async def delete(self, entity: EntityRef) -> None:
        """Remove the location and its index entry."""
        await _all(
            self._link.execute("DEL", self.key(entity)),
            self._link.execute("ZREM", self._index(entity.type), entity.id),
        )

    async def page(self, entity_type: str, cursor: str | None, limit: int) -> Page:
        """Locations in the order of their expiry; the cursor is ``<expiry>:<id>`` of the last.

        An update moves an entity towards the end of that order, never into the part that was
        read before.
        """
        last = _parse_cursor(cursor)
        start = max(last[0], int(self._clock.now() * 1000))
        size = limit + 2  # the last one of the page before, and one that follows this page
        while True:
            # each read starts over: entities may have moved since the last
            answer: list[bytes] = await self._link.execute(
                *("ZRANGE", self._index(entity_type), start, "+inf"),
                *("BYSCORE", "LIMIT", 0, size, "WITHSCORES"),
            )
            entries = [
                (int(float(score)), member.decode())
                for member, score in zip(answer[::2], answer[1::2], strict=True)
            ]
            found = [entry for entry in entries if cursor is None or entry > last]
            if len(found) > limit or len(entries) < size:
                break
            size *= 2  # many expire in the same millisecond as the last one read
        more = len(found) > limit
        found = found[:limit]
        if not found:
            return Page([], None)
        values: list[bytes | None] = []
        for first in range(0, len(found), PAGE_READS):
            entities = [EntityRef(entity_type, name) for _, name in found[first:][:PAGE_READS]]
            async with self._page_turns:
                values += await asyncio.gather(*map(self.get, entities))
        items = [
            (entity_id, value)
            for (_, entity_id), value in zip(found, values, strict=True)
            if value is not None
        ]
        return Page(items, f"{found[-1][0]}:{found[-1][1]}" if more else None)

    async def count(self, entity_type: str) -> int:
        """The number of unexpired locations of a type, from the index."""
        now = int(self._clock.now() * 1000)
        count: int = await self._link.execute("ZCOUNT", self._index(entity_type), f"({now}", "+inf")
        return count

    def status(self) -> BackendStatus:
        """Whether Redis answers."""
        return self._link.status()

    def key(self, entity: EntityRef) -> str:
        """The key of an entity's current location."""
        return self._prefix + RedisChannels.current_location(entity)

    def held_key(self, entity: EntityRef) -> str:
        """The key that marks which location of an entity is held."""
        return self._prefix + RedisChannels.held_location(entity)

    def _index(self, entity_type: str) -> str:
        return self._prefix + RedisChannels.location_index(entity_type)


def mark_of(payload: Payload) -> bytes:
    """What marks a payload's location as held."""
    return _mark(payload.location, payload.timestamp)


def _mark(location: bytes, timestamp: str) -> bytes:
    digest = hashlib.sha1(location, usedforsecurity=False).hexdigest()
    return f"{timestamp} {digest}".encode()


def _time_of(location: bytes) -> str:
    """The timestamp of a location, as :data:`TIME_OF` finds it."""
    try:
        timestamp = decode_json(location)["timestamp"]
    except (InvalidRequest, LookupError, TypeError):  # another program's value
        return ""
    return timestamp if isinstance(timestamp, str) and "0" <= timestamp[:1] <= "9" else ""


async def _ignored(answer: Awaitable[Any]) -> None:
    """Await an answer and ignore its failure: an index entry then expires late."""
    with contextlib.suppress(Unavailable, RedisError):
        await answer


async def _all(*answers: Awaitable[Any]) -> list[Any]:
    """Await every command that was queued; return the answers, or raise the first failure."""
    results: list[Any] = []
    failure: Exception | None = None
    for answer in answers:
        try:
            results.append(await answer)
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return results


def _parse_cursor(cursor: str | None) -> tuple[int, str]:
    if cursor is None:
        return 0, ""
    score, separator, entity_id = cursor.partition(":")
    well_formed = score.isascii() and score.isdecimal() and len(score) <= MAX_SCORE_LENGTH
    if not separator or not well_formed:
        raise InvalidRequest("unknown cursor", field="cursor")
    return int(score), entity_id
