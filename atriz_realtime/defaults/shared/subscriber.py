"""A pub/sub connection to Redis that notices when it is dead, and reconnects."""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections import deque
from typing import Any

from redis.exceptions import NoPermissionError, RedisError

from atriz_realtime.api import RedisLink, RedisStream

PING_INTERVAL = 1.0
"""Seconds between two PINGs."""

SILENCE_LIMIT = 2.0
"""Seconds without a message or a PONG after which the connection counts as dead."""

BACKOFF_FIRST = 0.05
BACKOFF_MAX = 0.5
"""Seconds between two attempts to connect, at most; doubled each time, with full jitter, until a
PING is answered: a connection that is made and refused everything costs as much as one that is
not made."""


class Subscriber(ABC):
    """Receives messages from one Redis server, over one connection after another.

    :param name: the name of its task.
    :param route: the server, as :meth:`RedisLink.route` names it; empty: the only one.
    """

    def __init__(self, link: RedisLink, *, name: str, route: str = "") -> None:
        self._link = link
        self._route = route
        self._loop = asyncio.get_running_loop()
        self._stream: RedisStream | None = None
        self._last_reply = 0.0
        self._pings: deque[float] = deque()
        self._lag = 0.0
        self._delay = BACKOFF_FIRST
        self._closing = False
        self._task = self._loop.create_task(self._run(), name=name)

    @property
    def lag(self) -> float:
        """Seconds that the last PONG took, or that the next is overdue.

        A PONG comes after every message that Redis sent before it, so this is how far the
        subscriber is behind.
        """
        return self._loop.time() - self._pings[0] if self._pings else self._lag

    async def aclose(self) -> None:
        """Close the connection, and open no other."""
        self._closing = True
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @abstractmethod
    def _opened(self) -> None:
        """Subscribe to everything on a new connection."""

    @abstractmethod
    def _received(self, message: list[Any]) -> None:
        """Handle a message; the connection ends when this raises."""

    @abstractmethod
    def _lost(self, reason: str) -> None:
        """Called when the connection is lost, or cannot be opened."""

    def _refused(self, error: Exception) -> None:
        """Called with the error that Redis answers a subscription with.

        Whatever it is, another connection subscribes to everything anew.
        """
        raise RedisError(f"the subscriber is refused: {error}") from error

    def _stale(self) -> str | None:
        """The reason to leave this server for another one, when there is one."""
        return None

    async def _run(self) -> None:
        while True:
            stream: RedisStream | None = None
            try:
                stream = await self._link.connect(self._reply, self._route)
                self._last_reply = self._loop.time()
                self._pings.clear()
                self._stream = stream
                self._opened()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(stream.ended())
                    tasks.create_task(self._watch(stream))
            except* Exception as group:  # whatever it is, the subscriber has to reconnect
                error = group.exceptions[0]
                self._lost(str(error).partition("\n")[0] or type(error).__name__)
            finally:
                self._stream = None
                if stream is not None:
                    await stream.aclose()
            if self._closing:  # a task group that fails swallows the cancellation
                return
            await asyncio.sleep(random.uniform(0, self._delay))  # noqa: S311  # jitter, not a secret
            self._delay = min(self._delay * 2, BACKOFF_MAX)

    def _reply(self, reply: Any) -> None:
        self._last_reply = self._loop.time()
        if isinstance(reply, list) and reply[0] != b"pong":
            self._received(reply)
        elif isinstance(reply, Exception) and not _refuses_ping(reply):
            self._refused(reply)  # MOVED, LOADING, BUSY, NOPERM, …
        else:  # a PONG; it is a list only while something is subscribed
            self._lag = self._last_reply - self._pings.popleft()
            self._delay = BACKOFF_FIRST

    async def _watch(self, stream: RedisStream) -> None:
        """Ping the server; leave it when it is silent or no longer the right one."""
        while True:
            await asyncio.sleep(PING_INTERVAL)
            silence = self._loop.time() - self._last_reply
            if silence > SILENCE_LIMIT:
                raise RedisError(f"Redis was silent for {silence:.1f} s")
            if reason := self._stale():
                raise RedisError(reason)
            self._pings.append(self._loop.time())
            stream.send(("PING",))


def _refuses_ping(error: Exception) -> bool:
    """Whether the user lacks the right to PING: the refusal shows as well that Redis answers."""
    return isinstance(error, NoPermissionError) and "'ping'" in str(error)
