"""The observers of published fixes, each with a queue of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from atriz_realtime.api.model import LocationEvent
from atriz_realtime.api.records import Observer
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.plugin_runner import CLOSE_LIMIT, PluginRunner, awaiting
from atriz_realtime.core.runtime.statistics import Statistics
from atriz_realtime.core.runtime.worker import Worker

DRAIN_LIMIT = 1.0
"""Seconds in which observers may process what is queued for them when the server stops; the rest is
dropped."""


class Observers:
    """Passes every event to every observer, once they are started.

    :param owner: returns the name of the plugin that registered an observer.
    :param statistics: gets the numbers of the observers.
    """

    def __init__(
        self,
        records: Iterable[Observer],
        owner: Callable[[Observer], str],
        plugin_runner: PluginRunner,
        incidents: Incidents,
        statistics: Statistics,
    ) -> None:
        self._owner = owner
        self._plugin_runner = plugin_runner
        self._workers = {
            record: Worker(
                owner(record),
                f"observer {record.name!r}",
                awaiting(record.observe),
                size=record.queue_size,
                limit=record.timeout,
                plugin_runner=plugin_runner,
                incidents=incidents,
            )
            for record in records
        }
        for record in self._workers:
            if record.statistics is not None:
                statistics.add(f"observer {record.name}", record, owner(record))

    def start(self) -> None:
        """Begin with the events that are queued already."""
        for worker in self._workers.values():
            worker.start()

    def put(self, event: LocationEvent) -> None:
        """Queue an event for every observer; never waits."""
        for worker in self._workers.values():
            worker.put(event)

    async def aclose(self) -> None:
        """Let each observer process its queue, then close it; safe to call twice."""
        workers, self._workers = self._workers, {}
        await asyncio.gather(*(self._close(*each) for each in workers.items()))

    async def _close(self, record: Observer, worker: Worker[LocationEvent]) -> None:
        await worker.finish(DRAIN_LIMIT)
        if record.aclose is not None:
            what = f"closing observer {record.name!r}"
            await self._plugin_runner.attempt(
                self._owner(record), what, awaiting(record.aclose), limit=CLOSE_LIMIT
            )
