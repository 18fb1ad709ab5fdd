"""The newest fix of each entity that a backend has not taken, until a retry succeeds."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import attrs

from atriz_realtime.api.contracts import BackendStatus
from atriz_realtime.api.wire import Payload
from atriz_realtime.core.runtime.incidents import Incidents

MAX_ENTITIES = 100_000
"""Entities whose newest fix may wait; beyond, the one that has waited longest is dropped."""

CHUNK = 500
"""Fixes that are retried at once."""

CLOSE_TIMEOUT = 1.0
"""Seconds that a server that closes goes on retrying at most."""

RETRY_FIRST = 0.25
RETRY_MOST = 2.0
"""Seconds until the next retry at most, unless a backend reports that it is back; the pause
starts at 0.25 s and doubles each time."""


@attrs.frozen(eq=False)
class Unsent:
    """A fix, and the steps that have failed."""

    payload: Payload
    publish: bool
    cache: bool


class Backlog:
    """Holds at most one fix of each entity, and retries all of them in the background.

    :param retry: attempts the steps that have failed; returns what is still left to do.
    """

    def __init__(
        self, retry: Callable[[Unsent], Awaitable[Unsent | None]], incidents: Incidents
    ) -> None:
        self._retry = retry
        self._incidents = incidents
        self._waiting: OrderedDict[str, Unsent] = OrderedDict()  # by channel
        self._flushing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._delay = RETRY_FIRST
        self._superseded = self._dropped = 0
        self.refusals: dict[str, str] = {}
        """Why a backend that is connected refused what waits, by the kind of the incident."""

    def __len__(self) -> int:
        """How many entities' fixes wait."""
        return len(self._waiting)

    def statistics(self) -> dict[str, float]:
        """Fixes ``waiting``, ``superseded`` by a newer one, and ``dropped`` over the limit."""
        return {"waiting": len(self), "superseded": self._superseded, "dropped": self._dropped}

    def status(self) -> BackendStatus:
        """Report a backend that is connected and refuses what waits."""
        if self.refusals and self._waiting:
            return BackendStatus("connected", next(iter(self.refusals.values())))
        return BackendStatus("embedded")

    def add(self, unsent: Unsent) -> None:
        """Hold a fix in place of an older one of its entity, unless a newer one waits."""
        payload = unsent.payload
        channel = payload.channel
        self.discard(payload)
        waiting = self._waiting.get(channel)
        if waiting is None:
            self._waiting[channel] = unsent
        elif waiting.payload is payload:  # it was held, and then released
            self._waiting[channel] = Unsent(
                payload,
                publish=unsent.publish or waiting.publish,
                cache=unsent.cache or waiting.cache,
            )
        else:
            self._superseded += 1
        if len(self._waiting) > MAX_ENTITIES:
            self._waiting.popitem(last=False)
            self._dropped += 1
            self._incidents.report("fixes dropped", f"more than {MAX_ENTITIES} entities wait")
        self._schedule()

    def discard(self, payload: Payload) -> None:
        """Drop another fix of the entity that waits, unless it is newer."""
        if not self._waiting:
            return
        waiting = self._waiting.get(payload.channel)
        if waiting is None or waiting.payload is payload:
            return
        if waiting.payload.timestamp <= payload.timestamp:
            del self._waiting[payload.channel]
            self._superseded += 1

    def get(self, channel: str) -> Unsent | None:
        """The fix of a channel's entity that waits."""
        return self._waiting.get(channel)

    def flush(self) -> None:
        """Retry now."""
        self._delay = RETRY_FIRST
        self._start_flush()

    async def aclose(self) -> None:
        """Retry what waits for :data:`CLOSE_TIMEOUT` at most: a backend may be coming back."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                while self._waiting:
                    self.flush()
                    if self._flushing is not None:
                        await asyncio.wait([self._flushing])
                    if self._waiting:
                        await asyncio.sleep(RETRY_FIRST)
        if self._flushing is not None:
            self._flushing.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _start_flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        """Retry everything that waits once, a chunk at a time."""
        channels = list(self._waiting)
        for start in range(0, len(channels), CHUNK):
            await asyncio.gather(*map(self._attempt, channels[start : start + CHUNK]))
        if not any(unsent.publish for unsent in self._waiting.values()):
            self.refusals.pop("fan-out unavailable", None)
        if not any(unsent.cache for unsent in self._waiting.values()):
            self.refusals.pop("cache unavailable", None)
        if self._waiting:
            self._schedule()

    async def _attempt(self, channel: str) -> None:
        unsent = self._waiting.get(channel)
        if unsent is None:  # a newer fix was published meanwhile
            return
        left = await self._retry(unsent)  # queues its commands before a newer fix can
        if self._waiting.get(channel) is not unsent:
            return
        if left is None:
            del self._waiting[channel]
        else:
            self._waiting[channel] = left

    def _schedule(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._delay, self._start_flush)
            self._delay = min(self._delay * 2, RETRY_MOST)
