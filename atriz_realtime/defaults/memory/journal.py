"""The journal of a single server, in its process."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import Any

from atriz_realtime.api import BackendStatus, Clock, EntityRef, JournalEntry, RecordedFix, Report

FIX_BYTES = 512
"""Bytes that a waiting fix counts besides its JSON: what the objects themselves take."""

LOSS_SHOWN = 300.0
"""Seconds for which the health report shows that fixes were lost."""


class _Waiting:
    """What one recorder has not confirmed."""

    def __init__(self) -> None:
        self.unread: deque[JournalEntry] = deque()
        self.read: dict[bytes, JournalEntry] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self.unread) + len(self.read)

    def add(self, entry: JournalEntry) -> None:
        self.unread.append(entry)
        self.size += _size(entry)

    def drop_oldest(self) -> None:
        self.size -= _size(self.unread.popleft())

    def take(self, limit: int) -> list[JournalEntry]:
        taken = [self.unread.popleft() for _ in range(min(limit, len(self.unread)))]
        self.read.update((entry.id, entry) for entry in taken)
        return taken

    def confirm(self, ids: Sequence[bytes]) -> None:
        for each in ids:
            entry = self.read.pop(each, None)
            if entry is not None:
                self.size -= _size(entry)

    def forget(self, entity: EntityRef) -> set[bytes]:
        """Remove an entity's entries; returns their ids."""
        gone = [each for each in (*self.unread, *self.read.values()) if each.fix.entity == entity]
        ids = {each.id for each in gone}
        self.unread = deque(each for each in self.unread if each.id not in ids)
        for each in ids:
            self.read.pop(each, None)
        self.size -= sum(map(_size, gone))
        return ids


class MemoryJournal:
    """Fixes in a queue for each recorder, until the process ends.

    A fix that is read and not confirmed is not read again: its only reader is this process.

    :param recorders: the names of those that read.
    :param limit: fixes that may wait for one recorder.
    :param max_bytes: bytes of them; beyond either, the oldest that is unread is dropped.
    """

    def __init__(
        self, clock: Clock, recorders: Sequence[str], limit: int, max_bytes: int, report: Report
    ) -> None:
        self._clock = clock
        self._waiting = {name: _Waiting() for name in recorders}
        self._limit = limit
        self._max_bytes = max_bytes
        self._report = report
        self._numbers = count()
        self._lost = 0
        self._lost_at = -LOSS_SHOWN

    async def append(self, fix: RecordedFix) -> None:
        """Queue a fix for every recorder."""
        entry = JournalEntry(b"%d" % next(self._numbers), fix)
        for name, waiting in self._waiting.items():
            waiting.add(entry)
            dropped = 0
            while waiting.unread and (len(waiting) > self._limit or waiting.size > self._max_bytes):
                waiting.drop_oldest()
                dropped += 1
            if dropped:
                self._count_lost(dropped, f"too many wait for the recorder {name!r}")

    async def read(self, recorder: str, limit: int) -> list[JournalEntry]:
        """Up to ``limit`` entries that were not read before."""
        return self._waiting[recorder].take(limit)

    async def confirm(self, recorder: str, ids: Sequence[bytes]) -> None:
        """Forget entries."""
        self._waiting[recorder].confirm(ids)

    async def forget(self, entity: EntityRef) -> int:
        """Remove an entity's entries."""
        gone: set[bytes] = set()
        for waiting in self._waiting.values():
            gone |= waiting.forget(entity)
        return len(gone)

    async def aclose(self) -> None:
        """Report what no recorder will write any more."""
        for name, waiting in self._waiting.items():
            if waiting:
                message = f"the server stops before the recorder {name!r} wrote {len(waiting)}"
                self._count_lost(len(waiting), message)
                self._waiting[name] = _Waiting()

    def status(self) -> BackendStatus:
        """``embedded``; for some minutes after a loss, with the detail that there was one."""
        lost = self._clock.monotonic() - self._lost_at < LOSS_SHOWN
        detail = "the journal has lost fixes that were not recorded" if lost else ""
        return BackendStatus("embedded", detail)

    def statistics(self) -> dict[str, float]:
        """The ``entries``, those that wait for the recorder furthest behind, and ``lost`` ones.

        The ``lag`` is the age of the oldest that waits, in seconds.
        """
        lengths = [len(each) for each in self._waiting.values()]
        oldest = min(map(_oldest, self._waiting.values()), default=float("inf"))
        now = self._clock.now() * 1000
        return {
            "entries": max(lengths, default=0),
            "waiting": max(lengths, default=0),
            "lag": max(0.0, now - oldest) / 1000,
            "lost": self._lost,
        }

    def _count_lost(self, number: int, message: str) -> None:
        self._lost += number
        self._lost_at = self._clock.monotonic()
        self._report("fixes not recorded", message)


def _size(entry: JournalEntry) -> int:
    return FIX_BYTES + len(entry.fix.location)


def _oldest(waiting: _Waiting) -> float:
    """When the oldest fix that waits was received, in milliseconds since the epoch."""
    first: Any = next(iter(waiting.read.values()), None) or next(iter(waiting.unread), None)
    return float("inf") if first is None else float(first.fix.received)
