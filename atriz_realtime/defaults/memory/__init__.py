"""The cache, the fan-out and the journal of a single server, in its process and without Redis."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Awaitable, Iterator, Sequence
from operator import attrgetter

import attrs

from atriz_realtime.api import (
    BackendStatus,
    Cache,
    CacheBackend,
    Clock,
    Deliver,
    EntityRef,
    Fanout,
    FanoutBackend,
    InvalidRequest,
    Journal,
    JournalBackend,
    Page,
    Payload,
    PluginConfig,
    Resources,
    hookimpl,
)
from atriz_realtime.defaults.memory.journal import MemoryJournal

MAX_CURSOR_LENGTH = 18
"""Digits of a cursor; more than the number of updates in any server's life."""

BLOCK = 512
"""Cached locations in one block of their order: few enough to remove one from its middle."""

EXPIRED_AT_ONCE = 256
"""Expired locations that one call removes: more than it adds, and few enough to hold up nobody when
a whole fleet expires."""

PAGE_SCANS = 10_000
"""Entities that are looked at for one page of last known locations: most may have current ones."""

ENTRY_BYTES = 384
"""Bytes that a cached location counts besides its JSON and its id: what the entry itself takes."""


@attrs.frozen(kw_only=True)
class MemorySettings:
    """The table ``[realtime.plugins.memory]``."""

    max_entries: int = attrs.field(default=1_000_000, validator=attrs.validators.ge(1))
    """Cached locations of one type; beyond, the one that was updated longest ago is dropped.  Last
    known locations have the same limits, apart from these."""
    max_bytes: int = attrs.field(default=1_073_741_824, validator=attrs.validators.ge(1))
    """Bytes of one type's cached locations; beyond, the one updated longest ago is dropped."""
    max_journal_bytes: int = attrs.field(default=268_435_456, validator=attrs.validators.ge(1))
    """Bytes of the fixes that wait for one recorder; beyond, the oldest are dropped."""


@attrs.frozen(eq=False)
class _Entry:
    entity_id: str
    number: int
    expires: float
    timestamp: str
    location: bytes

    @property
    def size(self) -> int:
        return ENTRY_BYTES + 4 * len(self.entity_id) + len(self.location)


_number = attrgetter("number")
_expires = attrgetter("expires")


def _last_expires(block: list[_Entry]) -> float:
    return block[-1].expires


class _Entries(dict[str, _Entry]):
    """The entries of one type by id, and the bytes that they take.

    They are in blocks as well, in the order of their numbers, which is that of their expiry, so
    that a page begins at its cursor without walking over those before it.  No block is empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self._blocks: list[list[_Entry]] = []
        self._starts: list[int] = []  # the number that each block began with

    def add(self, entry: _Entry) -> None:
        """Put an entry last, in place of an older one."""
        self.drop(entry.entity_id)
        self[entry.entity_id] = entry
        self.size += entry.size
        if self._blocks and len(self._blocks[-1]) < BLOCK:
            self._blocks[-1].append(entry)
        else:
            self._blocks.append([entry])
            self._starts.append(entry.number)

    def drop(self, entity_id: str) -> None:
        """Remove an entry, if there is one."""
        entry = self.pop(entity_id, None)
        if entry is None:
            return
        self.size -= entry.size
        at = bisect_right(self._starts, entry.number) - 1
        block = self._blocks[at]
        del block[bisect_left(block, entry.number, key=_number)]
        if not block:
            del self._blocks[at], self._starts[at]

    def oldest(self) -> _Entry:
        """The first entry in order; there must be one."""
        return self._blocks[0][0]

    def drop_expired(self, now: float) -> None:
        """Remove some of the expired entries."""
        for _ in range(EXPIRED_AT_ONCE):
            if not self or (oldest := self.oldest()).expires > now:
                return
            self.drop(oldest.entity_id)

    def after(self, number: int, now: float) -> Iterator[_Entry]:
        """The unexpired entries with higher numbers, in order."""
        expired = bisect_right(self._blocks, now, key=_last_expires)
        first = max(bisect_right(self._starts, number) - 1, expired)
        for at in range(first, len(self._blocks)):
            block = self._blocks[at]
            passed = bisect_right(block, number, key=_number)
            yield from block[max(passed, bisect_right(block, now, key=_expires)) :]

    def count(self, now: float) -> int:
        """How many have not expired."""
        at = bisect_right(self._blocks, now, key=_last_expires)
        expired = sum(map(len, self._blocks[:at]))
        if at < len(self._blocks):
            expired += bisect_right(self._blocks[at], now, key=_expires)
        return len(self) - expired


class MemoryCache:
    """Current and last known locations by type, ordered by their last update.

    All locations of a type have the same lifetime, so those at the front expire first and are
    dropped from there, some with each call.
    """

    def __init__(self, clock: Clock, settings: MemorySettings) -> None:
        self._clock = clock
        self._max_entries = settings.max_entries
        self._max_bytes = settings.max_bytes
        self._types: defaultdict[str, _Entries] = defaultdict(_Entries)
        self._last_known: defaultdict[str, _Entries] = defaultdict(_Entries)
        self._numbers = 0
        self._dropped = 0

    async def put(self, payload: Payload, ttl: float) -> None:
        """Store a location; an older fix does not replace a newer one."""
        entries, now = self._types[payload.entity.type], self._clock.monotonic()
        self._put(entries, payload.entity.id, now, ttl, payload.timestamp, payload.location)

    def _put(
        self,
        entries: _Entries,
        entity_id: str,
        now: float,
        ttl: float,
        timestamp: str,
        location: bytes,
    ) -> None:
        entries.drop_expired(now)
        held = entries.get(entity_id)
        if held is not None and held.expires > now and held.timestamp > timestamp:
            return
        self._numbers += 1
        entries.add(_Entry(entity_id, self._numbers, now + ttl, timestamp, location))
        while len(entries) > self._max_entries or entries.size > self._max_bytes:
            entries.drop(entries.oldest().entity_id)
            self._dropped += 1

    async def get(self, entity: EntityRef) -> bytes | None:
        """The location JSON, or ``None``."""
        entry = self._types[entity.type].get(entity.id)
        return entry.location if entry and entry.expires > self._clock.monotonic() else None

    async def delete(self, entity: EntityRef) -> None:
        """Remove a location, and the last known one."""
        self._types[entity.type].drop(entity.id)
        self._last_known[entity.type].drop(entity.id)

    async def keep(self, entities: Sequence[EntityRef], ttl: float) -> None:
        """Keep current locations for longer; their bytes are shared."""
        now = self._clock.monotonic()
        for entity in entities:
            entry = self._types[entity.type].get(entity.id)
            if entry is not None and entry.expires > now:
                kept = self._last_known[entity.type]
                self._put(kept, entity.id, now, ttl, entry.timestamp, entry.location)

    async def last_known(self, entity: EntityRef) -> bytes | None:
        """The last known location JSON, or ``None``."""
        entry = self._last_known[entity.type].get(entity.id)
        return entry.location if entry and entry.expires > self._clock.monotonic() else None

    async def page(self, entity_type: str, cursor: str | None, limit: int) -> Page:
        """Locations in the order of their last update; the cursor is the number of the last one."""
        after = _parse_cursor(cursor)
        items: list[tuple[str, bytes]] = []
        last = after
        entries, now = self._types[entity_type], self._clock.monotonic()
        entries.drop_expired(now)
        for entry in entries.after(after, now):
            if len(items) == limit:
                return Page(items, str(last))
            items.append((entry.entity_id, entry.location))
            last = entry.number
        return Page(items, None)

    async def page_last_known(self, entity_type: str, cursor: str | None, limit: int) -> Page:
        """The same for the last known locations of entities that have no current one."""
        last = _parse_cursor(cursor)
        items: list[tuple[str, bytes]] = []
        known, now = self._last_known[entity_type], self._clock.monotonic()
        known.drop_expired(now)
        current = self._types[entity_type]
        for scanned, entry in enumerate(known.after(last, now)):
            if len(items) == limit or scanned == PAGE_SCANS:
                return Page(items, str(last))
            last = entry.number
            held = current.get(entry.entity_id)
            if held is None or held.expires <= now:
                items.append((entry.entity_id, entry.location))
        return Page(items, None)

    async def count(self, entity_type: str) -> int:
        """The number of unexpired locations of a type."""
        entries, now = self._types[entity_type], self._clock.monotonic()
        entries.drop_expired(now)
        return entries.count(now)

    def status(self) -> BackendStatus:
        """Always ``embedded``."""
        return BackendStatus("embedded")

    def statistics(self) -> dict[str, float]:
        """The ``entries``, the ``bytes`` they take, and how many were ``dropped`` over a limit.

        Those of last known locations are counted apart from the current ones.
        """
        types, last_known = self._types.values(), self._last_known.values()
        return {
            "entries": sum(map(len, types)),
            "bytes": sum(entries.size for entries in types),
            "last_known_entries": sum(map(len, last_known)),
            "last_known_bytes": sum(entries.size for entries in last_known),
            "dropped": self._dropped,
        }


def _parse_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > MAX_CURSOR_LENGTH:
        raise InvalidRequest("unknown cursor", field="cursor")
    return int(cursor)


class MemoryFanout:
    """Delivers messages directly to the subscribers in this process."""

    def __init__(self) -> None:
        self._channels: dict[str, Deliver] = {}
        self._patterns: dict[str, Deliver] = {}

    async def publish(self, channel: str, data: bytes) -> None:
        """Deliver a message to the channel's subscriber, and to those of matching patterns."""
        deliver = self._channels.get(channel)
        if deliver is not None:
            deliver(channel, data)
        for prefix, matched in list(self._patterns.items()):
            if channel.startswith(prefix):
                matched(channel, data)

    def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
        """Subscribe to a channel, or with a ``*`` at the end to every channel with that prefix.

        The channel is subscribed before the result is awaited, so that an ``unsubscribe`` that
        follows at once finds it.
        """
        if channel.endswith("*"):
            self._patterns[channel[:-1]] = deliver
        else:
            self._channels[channel] = deliver
        subscribed = asyncio.get_running_loop().create_future()
        subscribed.set_result(None)
        return subscribed

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel or pattern."""
        if channel.endswith("*"):
            self._patterns.pop(channel[:-1], None)
        else:
            self._channels.pop(channel, None)

    def status(self) -> BackendStatus:
        """Always ``embedded``."""
        return BackendStatus("embedded")


@hookimpl
def register_settings() -> type[MemorySettings]:
    """Return the settings class."""
    return MemorySettings


@hookimpl
def register_caches(config: PluginConfig) -> CacheBackend:
    """Register the cache ``memory``."""
    settings = config.load(MemorySettings)

    async def open_cache(resources: Resources) -> Cache:
        return MemoryCache(resources.clock, settings)

    return CacheBackend("memory", open_cache)


@hookimpl
def register_fanouts() -> FanoutBackend:
    """Register the fan-out ``memory``."""

    async def open_fanout(_: Resources) -> Fanout:
        return MemoryFanout()

    return FanoutBackend("memory", open_fanout)


@hookimpl
def register_journals(config: PluginConfig) -> JournalBackend:
    """Register the journal ``memory``."""
    max_bytes = config.load(MemorySettings).max_journal_bytes

    async def open_journal(resources: Resources, recorders: Sequence[str]) -> Journal:
        limit, report = resources.settings["journal_max"], resources.report
        return MemoryJournal(resources.clock, recorders, limit, max_bytes, report)

    return JournalBackend("memory", open_journal)
