"""A bounded queue with one consumer, for work that must not slow down its producer."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from atriz_realtime.api.errors import RealtimeError
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.plugin_runner import PluginRunner

T = TypeVar("T")


class Worker(Generic[T]):
    """Passes items to a coroutine function, one at a time and in order.

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
        self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

    def put(self, item: T) -> None:
        """Queue an item; never waits."""
        if len(self._items) == self._items.maxlen:
            self._incidents.plugin_problem(
                self._plugin, "too slow", f"{self._name}: its queue is full; dropping the oldest"
            )
        self._items.append(item)
        self._wake.set()

    async def aclose(self) -> None:
        """Stop, and drop the queued items."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._items:
                item = self._items.popleft()
                with contextlib.suppress(RealtimeError):  # the runner has counted it
                    await self._plugin_runner.run(
                        self._plugin, self._name, self._work(item), self._limit
                    )
