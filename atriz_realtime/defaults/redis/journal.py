"""The journal in Redis: one stream, with a consumer group for each recorder."""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections.abc import Awaitable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any

from atriz_realtime.api import (
    BackendStatus,
    Clock,
    EntityRef,
    JournalEntry,
    RecordedFix,
    RedisChannels,
    RedisLink,
    Report,
    Unavailable,
)
from atriz_realtime.defaults.redis import journal_scripts as scripts

CLAIM_IDLE = 60.0
"""Seconds after which a batch that a server has read and not confirmed is given to another one: the
server was killed, or its recorder is slower than that."""

TEND_INTERVAL = 5.0
"""Seconds between two looks at how much waits in the stream."""

CONSUMER_GONE = 3_600.0
"""Seconds after which a server that has ended is no consumer of the stream any more."""

GROUP_ABANDONED = 604_800.0
"""Seconds after which nothing is kept any more for a recorder that no server has."""

LOSS_SHOWN = 300.0
"""Seconds for which the health report shows that fixes were lost."""

FORGET_PAGE = 1_000
"""Entries that are looked at in one step for those of an entity."""

CONFIRM_PAGE = 1_000
"""Entries that are confirmed in one step; a script of Redis takes no more than some thousands."""

ENTITIES_KNOWN = 16_384
"""Entities whose names are parsed once, as long as they are read again and again."""

_HEAD = struct.Struct(">B16sqqHI")
"""Flags, the id, the two times, the lengths of the entity's name and of the publisher's."""

_THROTTLED, _PUBLISHED_BY = 1, 2
"""Flags."""

_FLAGS = _THROTTLED | _PUBLISHED_BY

Entry = tuple[bytes, Sequence[bytes]]
"""The id of an entry, and its fields."""


class RedisJournal:
    """Fixes in the stream ``location:journal``, which the servers of a Redis share.

    An entry is removed when every group has confirmed it, or when the stream is full.

    :param prefix: the prefix of the key.
    :param recorders: the names of the groups that this server reads for.
    :param limit: entries that the stream may have; beyond, the oldest are dropped.
    """

    def __init__(
        self,
        link: RedisLink,
        clock: Clock,
        prefix: str,
        recorders: Sequence[str],
        limit: int,
        report: Report,
    ) -> None:
        self._link = link
        self._clock = clock
        self._key = prefix + RedisChannels.JOURNAL
        self._recorders = tuple(recorders)
        self._limit = limit
        self._report = report
        self._consumer = secrets.token_hex(8)
        self._known: set[str] = set()
        self._claimed_at: dict[str, float] = {}
        self._entries = self._waiting = self._lost = 0
        self._lag = 0.0
        self._lost_at = -LOSS_SHOWN
        self._turn: list[tuple[bytes, asyncio.Future[None]]] = []
        self._tending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Create the groups, so that what is appended from now on waits for each recorder."""
        for recorder in self._recorders:
            try:
                await self.read(recorder, 0)
            except Exception as error:  # Redis may be away: the first read creates the group
                self._report("journal unavailable", f"{type(error).__name__}: {error}")
                break
        self._tending = asyncio.get_running_loop().create_task(self._tend(), name="redis journal")

    async def aclose(self) -> None:
        """Stop looking after the stream."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)

    def append(self, fix: RecordedFix) -> Awaitable[None]:
        """Queue the addition to the stream, with that of the other fixes of this turn."""
        loop = asyncio.get_running_loop()
        if not self._turn:  # before the commands of this turn are written
            loop.call_soon(self._append_turn)
        appended: asyncio.Future[None] = loop.create_future()
        self._turn.append((encoded(fix), appended))
        return appended

    def _append_turn(self) -> None:
        """Add the fixes of one turn of the event loop with one command."""
        turn, self._turn = self._turn, []
        fixes = [fix for fix, _ in turn]
        futures = [appended for _, appended in turn]
        answer = self._link.evaluate(scripts.APPEND, (self._key,), (self._limit, *fixes))
        answered = asyncio.ensure_future(answer)
        answered.add_done_callback(partial(_settle, futures))

    async def read(self, recorder: str, limit: int) -> list[JournalEntry]:
        """Entries that killed servers have left, then new ones."""
        now = self._clock.monotonic()
        idle = 0
        if now - self._claimed_at.get(recorder, -CLAIM_IDLE) >= CLAIM_IDLE / 4 and limit:
            idle = int(CLAIM_IDLE * 1000)
        arguments = (recorder, self._consumer, limit, idle)
        created, lost, found = await self._link.evaluate(scripts.READ, (self._key,), arguments)
        if idle:
            self._claimed_at[recorder] = now
        if created and recorder in self._known:
            self._count_lost(0, f"Redis has lost the stream {self._key}")
        self._known.add(recorder)
        if lost:
            self._count_lost(lost, f"{lost} were dropped before {recorder!r} wrote them")
        entries, unreadable = _entries(found)
        if unreadable:
            self._report("unreadable journal entry", f"{len(unreadable)} in {self._key}")
            await self.confirm(recorder, unreadable)
        return entries

    async def confirm(self, recorder: str, ids: Sequence[bytes]) -> None:
        """Acknowledge entries, and remove those that all recorders have confirmed."""
        for first in range(0, len(ids), CONFIRM_PAGE):
            page = ids[first : first + CONFIRM_PAGE]
            await self._link.evaluate(scripts.CONFIRM, (self._key,), (recorder, *page))

    async def forget(self, entity: EntityRef) -> int:
        """Remove an entity's entries, some at a time."""
        removed, start = 0, "-"
        while True:
            page: Sequence[Entry] = await self._link.execute(
                "XRANGE", self._key, start, "+", "COUNT", FORGET_PAGE
            )
            entries, _ = _entries(page)
            ids = [each.id for each in entries if each.fix.entity == entity]
            if ids:
                removed += await self._link.evaluate(scripts.REMOVE, (self._key,), tuple(ids))
            if len(page) < FORGET_PAGE:
                return removed
            start = f"({page[-1][0].decode()}"

    def status(self) -> BackendStatus:
        """Whether Redis answers, and whether the stream has lost fixes recently."""
        status = self._link.status()
        lost = self._clock.monotonic() - self._lost_at < LOSS_SHOWN
        if lost and status.state == "connected":
            return BackendStatus("connected", "the journal has lost fixes that were not recorded")
        return status

    def statistics(self) -> dict[str, float]:
        """The ``entries``, those that wait for the recorder furthest behind, and ``lost`` ones.

        The ``lag`` is the age of the oldest that waits, in seconds.  All but ``lost`` are those of
        the last look, a few seconds ago.
        """
        return {
            "entries": self._entries,
            "waiting": self._waiting,
            "lag": self._lag,
            "lost": self._lost,
        }

    def _count_lost(self, count: int, message: str) -> None:
        self._lost += count
        self._lost_at = self._clock.monotonic()
        self._report("fixes not recorded", message)

    async def _tend(self) -> None:
        """Look after the stream every few seconds."""
        gone, abandoned = int(CONSUMER_GONE * 1000), int(GROUP_ABANDONED * 1000)
        while True:
            now = int(self._clock.now() * 1000)
            try:
                answer = await self._link.evaluate(
                    scripts.TEND, (self._key,), (now, gone, abandoned, *self._recorders)
                )
                self._entries, self._waiting, lag, dropped = answer
                self._lag = lag / 1000
                if dropped:
                    message = f"nobody has read {self._key} for {dropped} of them for a week"
                    self._report("abandoned recorders forgotten", message)
            except Exception as error:
                self._report("journal unavailable", f"{type(error).__name__}: {error}")
            await asyncio.sleep(TEND_INTERVAL)


def _entries(found: Iterable[Entry]) -> tuple[list[JournalEntry], list[bytes]]:
    """What can be read of some entries, and the ids of the others."""
    entries, unreadable = list[JournalEntry](), list[bytes]()
    for entry_id, fields in found:
        try:
            entries.append(JournalEntry(entry_id, decoded(fields[1])))
        except (ValueError, IndexError, struct.error):
            unreadable.append(entry_id)
    return entries, unreadable


def _settle(futures: Sequence[asyncio.Future[None]], answered: asyncio.Future[Any]) -> None:
    """Tell those who wait for their fixes what Redis has answered."""
    error = asyncio.CancelledError() if answered.cancelled() else answered.exception()
    for each in futures:
        if each.done():  # nobody waits for it any more
            continue
        if error is None:
            each.set_result(None)
        else:
            each.set_exception(Unavailable("the server stops") if answered.cancelled() else error)


@lru_cache(maxsize=ENTITIES_KNOWN)
def _entity(name: bytes) -> EntityRef | None:
    return EntityRef.parse(name.decode(errors="surrogatepass"))


def encoded(fix: RecordedFix) -> bytes:
    """A fix as it is in the stream."""
    entity = str(fix.entity).encode(errors="surrogatepass")
    publisher, flags = b"", _THROTTLED if fix.throttled else 0
    if fix.publisher is not None:
        publisher, flags = fix.publisher.encode(errors="surrogatepass"), flags | _PUBLISHED_BY
    lengths = len(entity), len(publisher)
    head = _HEAD.pack(flags, fix.id, fix.timestamp, fix.received, *lengths)
    return b"%b%b%b%b" % (head, entity, publisher, fix.location)


def decoded(data: bytes) -> RecordedFix:
    """Read a fix from the stream.

    :raises ValueError: when it is none, or one that a newer version has written.
    """
    flags, fix_id, timestamp, received, name, user = _HEAD.unpack_from(data)
    start = _HEAD.size + name
    end = start + user
    entity = _entity(data[_HEAD.size : start])
    if entity is None or flags & ~_FLAGS or end >= len(data):
        raise ValueError("no fix")
    publisher: Any = None
    if flags & _PUBLISHED_BY:
        publisher = data[start:end].decode(errors="surrogatepass")
    throttled = bool(flags & _THROTTLED)
    return RecordedFix(fix_id, entity, data[end:], timestamp, received, publisher, throttled)
