"""A bounded queue with one consumer, for work that must not slow down its producer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.plugin_runner import PluginRunner

T = TypeVar("T")


class Worker(Generic[T]):
    """Passes items to a coroutine function, one at a time and in order, once it is started.

    When more than ``size`` items wait, the oldest are dropped and counted.  After a call that
    fails, or takes longer than ``limit`` seconds, the worker goes on with the next item.

    :param plugin: the plugin that the work belongs to; failures are counted under its name.
    :param name: what the work is, for example ``observer 'history'``.
    """

    def __init__(
        self,
        plugin: str,
        name: str,
        work: Callable[[T], Awaitable[None]],
        *,
        size: int,
        limit: float,
        plugin_runner: PluginRunner,
        incidents: Incidents,
    ) -> None:
        self._plugin = plugin
        self._name = name
        self._limit = limit
        self._plugin_runner = plugin_runner
        self._work = work
        self._items: deque[T] = deque(maxlen=size)
        self._incidents = incidents
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._finishing = False

    def start(self) -> None:
        """Begin with the items that are queued already."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    def put(self, item: T) -> None:
        """Queue an item; never waits."""
        if len(self._items) == self._items.maxlen:
            self._incidents.plugin_problem(
                self._plugin, "too slow", self._name, "its queue is full; dropping the oldest"
            )
        self._items.append(item)
        self._wake.set()

    async def finish(self, limit: float) -> None:
        """Process what is queued, and stop; drop and count what is left after ``limit`` seconds."""
        if self._task is None or self._task.done():
            return
        self._finishing = True
        self._wake.set()
        _, unfinished = await asyncio.wait([self._task], timeout=limit)
        if unfinished:
            dropped = len(self._items) + 1
            await self.aclose()
            self._incidents.plugin_problem(
                self._plugin,
                "too slow",
                self._name,
                f"the server stops; dropping the last of its queue ({dropped})",
            )

    async def aclose(self) -> None:
        """Stop, and drop the queued items."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            while self._items:
                item = self._items.popleft()
                await self._plugin_runner.attempt(
                    self._plugin, self._name, self._work, item, limit=self._limit
                )
            if self._finishing:
                return
            await self._wake.wait()
            self._wake.clear()
