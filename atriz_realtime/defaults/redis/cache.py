"""Current locations in Redis, under the documented keys."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
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
# the location, its seconds and its timestamp, then the id, the expiry and now.
_PUT_AND_INDEX = f"""
local function put(KEYS, ARGV) {_PUT} end
local function index(KEYS, ARGV) {_INDEX} end
if put({{KEYS[1]}}, {{ARGV[1], ARGV[2], ARGV[3]}}) == 1 then
  index({{KEYS[2]}}, {{ARGV[4], ARGV[5], ARGV[6], ARGV[2]}})
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

# Sets KEYS[1] to the location ARGV[1] for ARGV[2] seconds, unless it holds a newer one.
_KEEP = f"""
{TIME_OF}
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and held ~= ARGV[1] and time_of(held) > time_of(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""

# The same for many entities of one type, with their index KEYS[1].  The other keys are pairs: the
# key of the current location, and where it is kept.  ARGV is the seconds, the expiry (ms since the
# epoch) and now, then the ids.  It removes more expired entries than it adds, and what another
# program has put under a key is not kept.
_KEEP_ALL = f"""
local function keep(KEYS, ARGV) {_KEEP} end
local kept = 0
for i = 2, #KEYS, 2 do
  local current = redis.pcall('GET', KEYS[i])
  if type(current) == 'string' and keep({{KEYS[i + 1]}}, {{current, ARGV[1]}}) == 1 then
    redis.call('ZADD', KEYS[1], ARGV[2], ARGV[i / 2 + 3])
    kept = kept + 1
  end
end
if kept == 0 then return 0 end
local gone = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, kept + 16)
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return kept
"""

# The location under KEYS[1]; nothing where another program has put something else.
_LOCATION = """
local location = redis.pcall('GET', KEYS[1])
return type(location) == 'string' and location
"""

# The positions of those ids, ARGV[2] and so on, that are not in the index KEYS[1] or expired
# before ARGV[1].
_ABSENT = """
local absent = {}
for i = 2, #ARGV do
  local expires = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if not expires or tonumber(expires) <= tonumber(ARGV[1]) then absent[#absent + 1] = i - 2 end
end
return absent
"""

MAX_SCORE_LENGTH = 15
"""Digits of an expiry in a cursor; the score of a sorted set holds as many exactly."""

PAGE_READS = 250
"""Locations of a page that are read at once."""

PAGE_SCANS = 1_000
"""Entities that are looked at in one step for a page of last known locations: most may have current
ones."""

MAX_SCANS = 20
"""Such steps for one page; what is found until then makes a page."""

PAGES_READING = 2
"""Pages that are read at the same time; others take turns, so that a fix waits for no more reads
than those of two pages."""


class RedisCache:
    """Current locations under ``location:current:<type>:<id>``, with an index for each type.

    Last known ones are under ``location:last:<type>:<id>``, with an index as well.

    On a cluster, every command and script touches one key.

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
        entity = payload.entity
        seconds = math.ceil(ttl)
        now = int(self._clock.now() * 1000)
        expires = now + seconds * 1000
        if not self._link.sharded:
            return self._link.evaluate(
                _PUT_AND_INDEX,
                (self.key(entity), self._index(entity.type)),
                (payload.location, seconds, payload.timestamp, entity.id, expires, now),
            )
        putting = self._link.evaluate(
            _PUT, (self.key(entity),), (payload.location, seconds, payload.timestamp)
        )
        indexing = self._link.evaluate(
            _INDEX, (self._index(entity.type),), (entity.id, expires, now, seconds)
        )
        return self._put(entity, expires, putting, indexing)

    async def _put(
        self, entity: EntityRef, expires: int, putting: Awaitable[Any], indexing: Awaitable[Any]
    ) -> None:
        replaced, before = await _all(putting, indexing)
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

    async def delete(self, entity: EntityRef) -> None:
        """Remove the location and the last known one, with their index entries.

        The current one is removed first, so that it is not kept any more.
        """
        await self._delete(self.key(entity), self._index(entity.type), entity.id)
        await self._forget(entity)

    async def _forget(self, entity: EntityRef) -> None:
        await self._delete(self._last_key(entity), self._last_index(entity.type), entity.id)

    async def _delete(self, key: str, index: str, entity_id: str) -> None:
        await _all(self._link.execute("DEL", key), self._link.execute("ZREM", index, entity_id))

    async def keep(self, entities: Sequence[EntityRef], ttl: float) -> None:
        """Copy current locations within Redis; on a cluster, by way of this server."""
        if not entities:
            return
        index, seconds = self._last_index(entities[0].type), math.ceil(ttl)
        now = int(self._clock.now() * 1000)
        expires = now + seconds * 1000
        if self._link.sharded:
            await asyncio.gather(
                *(self._keep(entity, index, seconds, expires, now) for entity in entities)
            )
            return
        keys = [index]
        for entity in entities:
            keys += self.key(entity), self._last_key(entity)
        ids = [entity.id for entity in entities]
        await self._link.evaluate(_KEEP_ALL, tuple(keys), (seconds, expires, now, *ids))

    async def _keep(
        self, entity: EntityRef, index: str, seconds: int, expires: int, now: int
    ) -> None:
        key = self.key(entity)
        location = await self._link.evaluate(_LOCATION, (key,), ())
        if location is None or not await self._link.evaluate(
            _KEEP, (self._last_key(entity),), (location, seconds)
        ):
            return
        await self._link.evaluate(_INDEX, (index,), (entity.id, expires, now, seconds))
        if not await self._link.execute("EXISTS", key):  # it was deleted meanwhile
            await self._forget(entity)

    def last_known(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """The last known location JSON, or ``None``."""
        return self._link.execute("GET", self._last_key(entity))

    async def page(self, entity_type: str, cursor: str | None, limit: int) -> Page:
        """Locations in the order of their expiry; the cursor is ``<expiry>:<id>`` of the last.

        An update moves an entity towards the end of that order, never into the part that was
        read before.
        """
        found, more = await self._entries(self._index(entity_type), _parse_cursor(cursor), limit)
        if not found:
            return Page([], None)
        names = [name for _, name in found]
        items = await self._locations(entity_type, names, self.key)
        return Page(items, _cursor(found[-1]) if more else None)

    async def page_last_known(self, entity_type: str, cursor: str | None, limit: int) -> Page:
        """The same for the last known locations of entities that have no current one.

        Which these are is in the index of the current ones; another program may have written one
        that is not there.
        """
        last, items = _parse_cursor(cursor), list[tuple[str, bytes]]()
        for _ in range(MAX_SCANS):
            found, more = await self._entries(self._last_index(entity_type), last, PAGE_SCANS)
            if not found:
                return Page(items, None)
            now = int(self._clock.now() * 1000)
            absent: list[int] = await self._link.evaluate(
                _ABSENT, (self._index(entity_type),), (now, *(name for _, name in found))
            )
            wanted = absent[: limit - len(items)]
            last = found[-1] if len(wanted) == len(absent) else found[wanted[-1]]
            more = more or last != found[-1]
            names = [found[at][1] for at in wanted]
            current = dict(await self._locations(entity_type, names, self.key))
            known = await self._locations(entity_type, names, self._last_key)
            items += [item for item in known if item[0] not in current]
            if not more:
                return Page(items, None)
            if len(items) >= limit:
                break
        return Page(items, _cursor(last))

    async def _entries(
        self, index: str, last: tuple[int, str], limit: int
    ) -> tuple[list[tuple[int, str]], bool]:
        """Up to ``limit`` entries of an index after the last one read, and whether more follow."""
        start = max(last[0], int(self._clock.now() * 1000))
        size = limit + 2  # the last one of the page before, and one that follows this page
        while True:
            # each read starts over: entities may have moved since the last
            answer: list[bytes] = await self._link.execute(
                *("ZRANGE", index, start, "+inf"),
                *("BYSCORE", "LIMIT", 0, size, "WITHSCORES"),
            )
            entries = [
                (int(float(score)), member.decode())
                for member, score in zip(answer[::2], answer[1::2], strict=True)
            ]
            found = [entry for entry in entries if entry > last]
            if len(found) > limit or len(entries) < size:
                return found[:limit], len(found) > limit
            size *= 2  # many expire in the same millisecond as the last one read

    async def _locations(
        self, entity_type: str, names: list[str], key: Callable[[EntityRef], str]
    ) -> list[tuple[str, bytes]]:
        """The locations of entities that have one, some of them at a time."""
        values: list[bytes | None] = []
        for first in range(0, len(names), PAGE_READS):
            keys = [key(EntityRef(entity_type, name)) for name in names[first:][:PAGE_READS]]
            async with self._page_turns:
                values += await asyncio.gather(*(self._link.execute("GET", each) for each in keys))
        return [
            (name, value) for name, value in zip(names, values, strict=True) if value is not None
        ]

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

    def _index(self, entity_type: str) -> str:
        return self._prefix + RedisChannels.location_index(entity_type)

    def _last_key(self, entity: EntityRef) -> str:
        return self._prefix + RedisChannels.last_known_location(entity)

    def _last_index(self, entity_type: str) -> str:
        return self._prefix + RedisChannels.last_known_index(entity_type)


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


def _cursor(entry: tuple[int, str]) -> str:
    return f"{entry[0]}:{entry[1]}"


def _parse_cursor(cursor: str | None) -> tuple[int, str]:
    if cursor is None:
        return 0, ""
    score, separator, entity_id = cursor.partition(":")
    well_formed = score.isascii() and score.isdecimal() and len(score) <= MAX_SCORE_LENGTH
    if not separator or not well_formed:
        raise InvalidRequest("unknown cursor", field="cursor")
    return int(score), entity_id
