"""What could not be sent, the newest of each entity, until it can."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import attrs

from atriz_realtime.api.wire import Payload
from atriz_realtime.core.runtime.incidents import Incidents

MAX_ENTITIES = 100_000
"""Entities whose newest fix may wait; beyond, the one that has waited longest is dropped."""

CHUNK = 500
"""Fixes sent at once when the way is free again."""

RETRY_FIRST = 0.25
RETRY_MOST = 2.0
"""Seconds until the next attempt when nothing says earlier that the way is free; doubled
each time."""


@attrs.frozen(eq=False)
class Unsent:
    """A fix, and what has not been done with it."""

    payload: Payload
    publish: bool
    cache: bool


class Backlog:
    """Keeps each entity's newest unsent fix, and sends it when that is possible again.

    :param send: does what has not been done; whatever it returns could not be done still.
    """

    def __init__(
        self, send: Callable[[Unsent], Awaitable[Unsent | None]], incidents: Incidents
    ) -> None:
        self._send = send
        self._incidents = incidents
        self._waiting: OrderedDict[str, Unsent] = OrderedDict()  # by channel: a name of the entity
        self._under_way: dict[str, Payload] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._delay = RETRY_FIRST
        self._superseded = self._dropped = 0

    def __len__(self) -> int:
        """How many entities' fixes wait."""
        return len(self._waiting)

    def statistics(self) -> dict[str, float]:
        """How many wait; how many a newer fix ``superseded``, and how many were too many."""
        return {
            "waiting": len(self),
            "superseded": self._superseded,
            "dropped": self._dropped,
        }

    def add(self, unsent: Unsent) -> None:
        """Keep a fix, in place of an older one of its entity."""
        channel = unsent.payload.channel
        self._discard(channel)
        self._waiting[channel] = unsent
        if len(self._waiting) > MAX_ENTITIES:
            self._waiting.popitem(last=False)
            self._dropped += 1
            self._incidents.report("fixes dropped", f"more than {MAX_ENTITIES} entities wait")
        self._schedule()

    def begin(self, payload: Payload) -> None:
        """A fix is about to be sent: an older one of its entity need not be any more."""
        self._under_way[payload.channel] = payload
        if self._waiting:
            self._discard(payload.channel)

    def end(self, payload: Payload) -> bool:
        """It was tried; whether it is still its entity's newest.

        An answer may be waited for in vain while a newer fix fails at once, or gets through.
        """
        newest = self._under_way.get(payload.channel) is payload
        if newest:
            del self._under_way[payload.channel]
        return newest

    def _discard(self, channel: str) -> None:
        """Forget an entity's fix: there is a newer one."""
        if self._waiting.pop(channel, None) is not None:
            self.supersede()

    def supersede(self) -> None:
        """Count a fix that is not sent because there is a newer one."""
        self._superseded += 1

    def flush(self) -> None:
        """Try to send now."""
        self._delay = RETRY_FIRST
        self._begin()

    async def aclose(self) -> None:
        """Make a last attempt, and stop."""
        self._begin()
        if self._flushing is not None:
            await asyncio.wait([self._flushing], timeout=1.0)
            self._flushing.cancel()
        if self._retry is not None:
            self._retry.cancel()

    def _begin(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._waiting and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        """Attempt everything that waits once, a chunk at a time."""
        channels = list(self._waiting)
        for start in range(0, len(channels), CHUNK):
            await asyncio.gather(*map(self._attempt, channels[start : start + CHUNK]))
        if self._waiting:
            self._schedule()

    async def _attempt(self, channel: str) -> None:
        unsent = self._waiting.get(channel)
        if unsent is None:  # a newer fix has gone its own way
            return
        left = await self._send(unsent)  # queues before anything newer can
        if self._waiting.get(channel) is not unsent:
            return
        if left is None:
            del self._waiting[channel]
        else:
            self._waiting[channel] = left

    def _schedule(self) -> None:
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(self._delay, self._begin)
            self._delay = min(self._delay * 2, RETRY_MOST)
