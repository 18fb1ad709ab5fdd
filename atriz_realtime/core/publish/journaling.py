"""Takes accepted fixes to the journal, where they wait for the recorders.

While the journal cannot be reached, fixes wait in this process, within a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from atriz_realtime.api.contracts import BackendStatus, Clock, Journal, RecordedFix
from atriz_realtime.api.model import EntityRef, Identity, LocationEvent
from atriz_realtime.api.wire import Payload
from atriz_realtime.core.runtime.incidents import Incidents, reason

MAX_WAITING_BYTES = 67_108_864
"""Bytes of the fixes that wait for a journal that is away; beyond, the oldest are dropped."""

FIX_BYTES = 512
"""Bytes that a waiting fix counts besides its JSON: what the objects themselves take."""

CHUNK = 500
"""Fixes that are appended at once when the journal is back."""

RETRY_FIRST = 0.25
RETRY_MOST = 2.0
"""Seconds between two attempts to reach the journal; the pause doubles each time."""

LOSS_SHOWN = 300.0
"""Seconds for which the health report shows that fixes were lost."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


class Journaling:
    """Appends fixes to the journal beside their delivery.

    :param wake: called after so many fixes as :meth:`wake_every` says.
    """

    _journal: Journal

    def __init__(self, clock: Clock, incidents: Incidents, wake: Callable[[], None]) -> None:
        self._clock = clock
        self._incidents = incidents
        self._wake = wake
        self._batch = self._until_wake = 1
        self._waiting: deque[RecordedFix] = deque()
        self._bytes = 0
        self._appended = self._dropped = 0
        self._dropped_at = -LOSS_SHOWN
        self._refusal = ""
        self._hurry = asyncio.Event()
        self._retrying: asyncio.Task[None] | None = None

    def start(self, journal: Journal, wake_every: int) -> None:
        """Begin; nothing may be appended before."""
        self._journal = journal
        self._batch = self._until_wake = wake_every

    def statistics(self) -> dict[str, float]:
        """Fixes ``appended``, those that wait here for the journal, and ``dropped``."""
        return {
            "appended": self._appended,
            "waiting": len(self._waiting),
            "waiting_bytes": self._bytes,
            "dropped": self._dropped,
        }

    def status(self) -> BackendStatus:
        """Report fixes that wait for the journal, and those that were lost recently."""
        if self._clock.monotonic() - self._dropped_at < LOSS_SHOWN:
            return BackendStatus("embedded", "accepted fixes were dropped and are not recorded")
        if self._waiting:
            return BackendStatus("embedded", f"fixes wait for the journal: {self._refusal}")
        return BackendStatus("embedded")

    async def alongside(
        self,
        deliver: Callable[[], Awaitable[None]],
        event: LocationEvent,
        payload: Payload,
        identity: Identity | None,
        *,
        throttled: bool,
    ) -> None:
        """Append a fix while it is delivered: what both queue in one turn leaves in one write.

        A fix that the journal does not take waits here; what the delivery raises is raised once
        the fix is appended.
        """
        fix = RecordedFix(
            RecordedFix.id_of(payload.entity, payload.location),
            payload.entity,
            payload.location,
            (event.location.timestamp - EPOCH) // MILLISECOND,
            int(self._clock.now() * 1000),
            None if identity is None else identity.user_id,
            throttled,
        )
        self._until_wake -= 1
        if not self._until_wake:
            self._until_wake = self._batch
            self._wake()
        appending: Awaitable[None] | None = None
        try:
            appending = self._journal.append(fix)
        except Exception as error:  # a plugin's may fail before there is anything to wait for
            self._keep(fix, error)
        try:
            await deliver()
        finally:
            if appending is not None:
                try:
                    await appending
                    self._appended += 1
                except Exception as error:  # a plugin's journal may raise anything
                    self._keep(fix, error)

    async def forget(self, entity: EntityRef) -> int:
        """Remove an entity's fixes, those that wait here included; returns how many there were.

        :raises Unavailable: when the journal cannot be reached.
        """
        kept = [fix for fix in self._waiting if fix.entity != entity]
        removed = len(self._waiting) - len(kept)
        if removed:
            self._waiting = deque(kept)
            self._bytes = sum(map(_size, kept))
        return removed + await self._journal.forget(entity)

    async def aclose(self, limit: float) -> None:
        """Append what waits, for ``limit`` seconds at most; the rest is dropped and counted."""
        if self._retrying is not None:
            self._hurry.set()
            await asyncio.wait([self._retrying], timeout=limit)
            self._retrying.cancel()
            await asyncio.gather(self._retrying, return_exceptions=True)
            self._retrying = None
        if self._waiting:
            self._drop(len(self._waiting), "the server stops before the journal is back")

    def _keep(self, fix: RecordedFix, error: Exception) -> None:
        """Let a fix wait for the journal."""
        self._refused(error)
        self._waiting.append(fix)
        self._bytes += _size(fix)
        self._bound()
        if self._retrying is None or self._retrying.done():
            loop = asyncio.get_running_loop()
            self._retrying = loop.create_task(self._retry(), name="journal retry")

    def _refused(self, error: Exception) -> None:
        self._refusal = reason(error)
        self._incidents.report("journal unavailable", self._refusal)
        error.__traceback__ = None  # breaks a cycle with the frame that awaited it

    def _bound(self) -> None:
        excess = 0
        while self._bytes > MAX_WAITING_BYTES and self._waiting:
            self._bytes -= _size(self._waiting.popleft())
            excess += 1
        if excess:
            self._count_dropped(excess, f"more than {MAX_WAITING_BYTES:,} bytes wait")

    def _drop(self, count: int, why: str) -> None:
        self._waiting.clear()
        self._bytes = 0
        self._count_dropped(count, why)

    def _count_dropped(self, count: int, why: str) -> None:
        self._dropped += count
        self._dropped_at = self._clock.monotonic()
        self._incidents.report("fixes not recorded", f"the journal is away, and {why}: {count}")

    async def _retry(self) -> None:
        """Append what waits, some at a time, until nothing does."""
        delay = RETRY_FIRST
        while self._waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._hurry.wait()
                    self._hurry.clear()
                    delay = RETRY_FIRST
            count = min(CHUNK, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            self._bytes -= sum(map(_size, batch))
            failed = batch
            try:
                taken = await asyncio.gather(*map(self._taken, batch))
                failed = [fix for fix, is_taken in zip(batch, taken, strict=True) if not is_taken]
            finally:  # also when the server stops meanwhile
                self._waiting.extendleft(reversed(failed))
                self._bytes += sum(map(_size, failed))
                self._bound()
            delay = min(max(2 * delay, RETRY_FIRST), RETRY_MOST) if failed else 0.0

    async def _taken(self, fix: RecordedFix) -> bool:
        try:
            await self._journal.append(fix)
        except Exception as error:  # a plugin's journal may raise anything
            self._refused(error)
            return False
        self._appended += 1
        return True


def _size(fix: RecordedFix) -> int:
    return FIX_BYTES + len(fix.location)
