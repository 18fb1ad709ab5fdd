"""Gives recorders the accepted fixes that wait in the journal, in batches and at least once."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from atriz_realtime.api.contracts import BackendStatus, Clock, Journal, JournalEntry, RecordedFix
from atriz_realtime.api.errors import PluginFailed, RealtimeError
from atriz_realtime.api.records import Recorder
from atriz_realtime.core.publish.journaling import Journaling
from atriz_realtime.core.runtime.incidents import Incidents, reason
from atriz_realtime.core.runtime.plugin_runner import CLOSE_LIMIT, PluginRunner, awaiting
from atriz_realtime.plugin_system.registry import HandleOf, Registry

T = TypeVar("T")

DRAIN_LIMIT = 2.0
"""Seconds in which recorders may write what waits when the server stops."""

READ_LIMIT = 5.0
"""Seconds that a journal has to answer."""

RETRY_FIRST = 0.25
RETRY_MOST = 30.0
"""Seconds until a batch that has failed is given again: doubled each time, with full jitter."""


class Recorders:
    """The recorders of a server; without any, nothing is opened and nothing appended.

    :param server: returns the server as the plugin of a name sees it.
    """

    def __init__(
        self,
        registry: Registry,
        server: HandleOf,
        plugin_runner: PluginRunner,
        incidents: Incidents,
        clock: Clock,
    ) -> None:
        self.journaling = Journaling(clock, incidents, self._wake)
        self.batches = [
            BatchWriter(record, registry.owner(record), plugin_runner, incidents)
            for record in registry.recorders(server)
        ]

    @property
    def names(self) -> list[str]:
        """The names of the recorders."""
        return [each.name for each in self.batches]

    def open(self, journal: Journal) -> Journaling:
        """Begin to append fixes; the recorders are given them from :meth:`start` on."""
        for each in self.batches:
            each.journal = journal
        self.journaling.start(journal, min(each.size for each in self.batches))
        return self.journaling

    def start(self) -> None:
        """Begin to read the journal."""
        for each in self.batches:
            each.start()

    async def aclose(self) -> None:
        """Let each recorder write what waits, then close it; safe to call twice."""
        batches, self.batches = self.batches, []
        if batches:
            loop = asyncio.get_running_loop()
            end = loop.time() + DRAIN_LIMIT
            await self.journaling.aclose(DRAIN_LIMIT / 2)
            await asyncio.gather(*(each.aclose(end - loop.time()) for each in batches))

    def _wake(self) -> None:
        for each in self.batches:
            each.wake()


class BatchWriter:
    """Reads the journal for one recorder, and has it write one batch after another."""

    journal: Journal

    def __init__(
        self, record: Recorder, plugin: str, plugin_runner: PluginRunner, incidents: Incidents
    ) -> None:
        self.name = record.name
        self.size = record.batch_size
        self._record = record
        self.plugin = plugin
        self._plugin_runner = plugin_runner
        self._incidents = incidents
        self._write = awaiting(record.record)
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._written = self._batches = self._failed = 0
        self._failures = 0  # in a row

    def start(self) -> None:
        """Begin to read."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(), name=f"recorder {self.name!r}")

    def wake(self) -> None:
        """Read now: a batch may be full."""
        self._woken.set()

    def statistics(self) -> dict[str, float]:
        """Fixes ``written``, in how many ``batches``, and the batches that ``failed``.

        The recorder's own numbers precede them.
        """
        own = self._record.statistics
        numbers: dict[str, float] = {} if own is None else dict(own())
        numbers |= {"written": self._written, "batches": self._batches, "failed": self._failed}
        return numbers

    def status(self) -> BackendStatus:
        """Report a recorder whose last batch has failed."""
        if self._failures:
            return BackendStatus("embedded", f"the recorder {self.name!r} fails; its fixes wait")
        return BackendStatus("embedded")

    async def aclose(self, limit: float) -> None:
        """Write what waits, for ``limit`` seconds at most, then close the recorder."""
        if self._task is not None:
            self._stopping.set()
            self._woken.set()
            await asyncio.wait([self._task], timeout=limit)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._record.aclose is not None:
            what = f"closing recorder {self.name!r}"
            closing = awaiting(self._record.aclose)
            await self._plugin_runner.attempt(self.plugin, what, closing, limit=CLOSE_LIMIT)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            finishing = self._stopping.is_set()
            entries = await self._read()
            if entries and not await self._give(entries):
                return
            if len(entries) < self.size:
                if finishing:
                    return
                await _pause(self._woken, self._record.batch_interval)

    async def _read(self) -> Sequence[JournalEntry]:
        """The next entries; none while the journal cannot be read."""
        reading = await self._asked(lambda: self.journal.read(self.name, self.size))
        return reading or ()

    async def _give(self, entries: Sequence[JournalEntry]) -> bool:
        """Have some entries written and confirm them; returns false if the server stops before."""
        types = self._record.entity_types
        given = (each.fix for each in entries if types is None or each.fix.entity.type in types)
        fixes = tuple(given)
        delay = RETRY_FIRST
        while fixes and not await self._is_written(fixes):
            if self._stopping.is_set():
                return False
            delay = await self._back_off(delay)
        ids, delay = [each.id for each in entries], RETRY_FIRST
        while await self._asked(lambda: self._confirmed(ids)) is None:
            if self._stopping.is_set():
                return False
            delay = await self._back_off(delay)
        return True

    async def _is_written(self, fixes: Sequence[RecordedFix]) -> bool:
        plugin, what = self.plugin, f"recorder {self.name!r}"
        try:
            writing = self._write(fixes)
            await self._plugin_runner.run(plugin, what, writing, self._record.timeout)
        except RealtimeError as error:
            if not isinstance(error, PluginFailed):  # which has been counted
                self._incidents.plugin_problem(plugin, "failed", what, error.message)
            self._failures += 1
            self._failed += 1
            return False
        self._failures = 0
        self._batches += 1
        self._written += len(fixes)
        return True

    async def _confirmed(self, ids: Sequence[bytes]) -> bool:
        await self.journal.confirm(self.name, ids)
        return True

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What the journal answers; ``None`` if it does not."""
        try:
            async with asyncio.timeout(READ_LIMIT):
                return await ask()
        except Exception as error:  # a plugin's journal may raise anything
            self._incidents.report("journal unavailable", reason(error))
            return None

    async def _back_off(self, delay: float) -> float:
        """Wait before the next attempt, unless the server stops; returns the pause after that."""
        jittered = random.uniform(0, delay)  # noqa: S311  # not a secret
        await _pause(self._stopping, jittered)
        return min(2 * delay, RETRY_MOST)


async def _pause(until: asyncio.Event, seconds: float) -> None:
    """Wait for an event, for some seconds at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await until.wait()
