"""A subscriber's connection, which cannot go deaf unnoticed and comes back by itself."""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections import deque
from typing import Any

from redis.exceptions import RedisError

from atriz_realtime.api import RedisLink, RedisStream

PING_INTERVAL = 1.0
"""Seconds between two signs of life asked for."""

SILENCE_LIMIT = 2.0
"""Seconds without one after which the connection is given up."""

BACKOFF_FIRST = 0.05
BACKOFF_MOST = 0.5
"""Seconds between two attempts to connect: doubled each time, with full jitter."""


class Subscriber(ABC):
    """Hears one server, over one connection after another.

    :param name: of its task.
    :param route: the server, as :meth:`RedisLink.route` names it; empty: the only one.
    """

    def __init__(self, link: RedisLink, *, name: str, route: str = "") -> None:
        self._link = link
        self._route = route
        self._loop = asyncio.get_running_loop()
        self._stream: RedisStream | None = None
        self._heard = 0.0
        self._pings: deque[float] = deque()
        self._lag = 0.0
        self._closing = False
        self._task = self._loop.create_task(self._run(), name=name)

    @property
    def lag(self) -> float:
        """Seconds that the last sign of life took, or the next has been waited for.

        It comes after every message that was there before it: so far behind is this subscriber.
        """
        return self._loop.time() - self._pings[0] if self._pings else self._lag

    async def aclose(self) -> None:
        """Close the connection."""
        self._closing = True
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # -- what subscribers do each in their way ---------------------------------------------

    @abstractmethod
    def _opened(self) -> None:
        """Subscribe to everything on a new connection."""

    @abstractmethod
    def _received(self, message: list[Any]) -> None:
        """Take what Redis sends; the connection ends with what this raises."""

    @abstractmethod
    def _lost(self, reason: str) -> None:
        """Take note that the connection is lost, or could not be opened."""

    def _refused(self, error: Exception) -> None:
        """Take what Redis answers instead of a subscription."""
        raise RedisError(f"cannot subscribe: {error}") from error

    def _superseded(self) -> str | None:
        """Why this is no longer the server to hear, if it is not."""
        return None

    # -- one connection after another ------------------------------------------------------

    async def _run(self) -> None:
        delay = BACKOFF_FIRST
        while True:
            stream: RedisStream | None = None
            try:
                stream = await self._link.connect(self._take, self._route)
                delay = BACKOFF_FIRST
                self._heard = self._loop.time()
                self._pings.clear()
                self._stream = stream
                self._opened()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(stream.ended())
                    tasks.create_task(self._watch(stream))
            except* Exception as group:  # whatever it is, the subscriber must come back
                error = group.exceptions[0]
                self._lost(str(error).partition("\n")[0] or type(error).__name__)
            finally:
                self._stream = None
                if stream is not None:
                    await stream.aclose()
            if self._closing:  # a task group that fails forgets that it was cancelled, too
                return
            await asyncio.sleep(random.uniform(0, delay))  # noqa: S311  # jitter, not a secret
            delay = min(delay * 2, BACKOFF_MOST)

    def _take(self, reply: Any) -> None:
        self._heard = self._loop.time()
        if isinstance(reply, list) and reply[0] != b"pong":
            self._received(reply)
        elif isinstance(reply, Exception):  # MOVED, CLUSTERDOWN: this is not the server to ask
            self._refused(reply)
        else:  # as long as nothing is subscribed, a pong is no list
            self._lag = self._heard - self._pings.popleft()

    async def _watch(self, stream: RedisStream) -> None:
        """Ask for signs of life, and leave a server that gives none, or is no longer it."""
        while True:
            await asyncio.sleep(PING_INTERVAL)
            silence = self._loop.time() - self._heard
            if silence > SILENCE_LIMIT:
                raise RedisError(f"Redis was silent for {silence:.1f} s")
            if reason := self._superseded():
                raise RedisError(reason)
            self._pings.append(self._loop.time())
            stream.send(("PING",))
