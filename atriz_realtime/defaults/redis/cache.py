"""Current locations in Redis, under the documented keys."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
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
    decode_json,
)
from atriz_realtime.defaults.redis import cache_scripts as scripts

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

    A second key of an entity marks the location that was held last.  Last known ones are under
    ``location:last:<type>:<id>``, with an index as well.

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
            return self._link.evaluate(scripts.PUT_AND_INDEX, keys, arguments)
        marking: list[Awaitable[Any]] = []
        if held:  # before the location, which would be taken for sent
            marks = (mark_of(payload), seconds)
            marking.append(self._link.evaluate(scripts.MARK_HELD, (self.held_key(entity),), marks))
        putting = self._link.evaluate(
            scripts.PUT, (self.key(entity),), (payload.location, seconds, payload.timestamp)
        )
        indexing = self._link.evaluate(
            scripts.INDEX, (self._index(entity.type),), (entity.id, expires, now, seconds)
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
                scripts.RESTORE, (self._index(entity.type),), (entity.id, expires, before or b"")
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
        return None if held == mark_of(payload) + scripts.SENT else payload.location

    def mark_sent(self, payload: Payload) -> Awaitable[None]:
        """Queue the change of the mark."""
        return self._link.evaluate(
            scripts.MARK_SENT, (self.held_key(payload.entity),), (mark_of(payload),)
        )

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
        await self._link.evaluate(scripts.KEEP_ALL, tuple(keys), (seconds, expires, now, *ids))

    async def _keep(
        self, entity: EntityRef, index: str, seconds: int, expires: int, now: int
    ) -> None:
        key = self.key(entity)
        location = await self._link.evaluate(scripts.LOCATION, (key,), ())
        if location is None or not await self._link.evaluate(
            scripts.KEEP, (self._last_key(entity),), (location, seconds)
        ):
            return
        await self._link.evaluate(scripts.INDEX, (index,), (entity.id, expires, now, seconds))
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
                scripts.ABSENT, (self._index(entity_type),), (now, *(name for _, name in found))
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

    def held_key(self, entity: EntityRef) -> str:
        """The key that marks which location of an entity is held."""
        return self._prefix + RedisChannels.held_location(entity)

    def _index(self, entity_type: str) -> str:
        return self._prefix + RedisChannels.location_index(entity_type)

    def _last_key(self, entity: EntityRef) -> str:
        return self._prefix + RedisChannels.last_known_location(entity)

    def _last_index(self, entity_type: str) -> str:
        return self._prefix + RedisChannels.last_known_index(entity_type)


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
