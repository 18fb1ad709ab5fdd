"""One subscriber's connection, which cannot go deaf unnoticed.

It reconnects by itself, subscribes to everything again in batches, and asks for a sign of
life when the connection is silent.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import attrs
from redis.exceptions import RedisError

from atriz_realtime.api import RedisLink, RedisStream

logger = logging.getLogger("atriz_realtime.redis")

SUBSCRIBE_BATCH = 500
"""Channels subscribed or unsubscribed with one command."""

SUBSCRIBE_PAUSE = 0.005
"""Seconds between two commands that subscribe at least. The first leaves at once; when many
begin to watch, each carries what was wanted meanwhile, and what follows the answers goes together
too (``python -m tests.benchmarks idle``)."""

PING_INTERVAL = 1.0
"""Seconds between two signs of life asked for."""

SILENCE_LIMIT = 2.0
"""Seconds without one after which the connection is given up."""

BACKOFF_FIRST = 0.05
BACKOFF_MOST = 0.5
"""Seconds between two attempts to connect: doubled each time, with full jitter."""


@attrs.frozen(kw_only=True, eq=False)
class ListenerEvents:
    """What a listener tells its owner."""

    message: Callable[[bytes, bytes], None]
    """A channel, and what came on it."""
    pattern_message: Callable[[bytes, bytes, bytes], None]
    """A pattern, the channel that matched, and what came on it."""
    confirmed: Callable[[str], None]
    """A channel that is heard from now on."""
    changed: Callable[[], None]
    """:attr:`Listener.hears` has changed."""
    moved: Callable[[], None]
    """A channel is on another server now."""


class Listener:
    """Hears channels of one server.

    :param route: the server, as :meth:`RedisLink.route` names it; empty: the only one.
    """

    def __init__(self, link: RedisLink, route: str, events: ListenerEvents) -> None:
        self._link = link
        self._route = route
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._wanted: set[str] = set()
        self._subscribed: set[str] = set()
        self._changed: dict[str, None] = {}
        self._not_before = 0.0
        self._asked: Counter[str] = Counter()
        self._unheard: set[str] = set()
        self._stream: RedisStream | None = None
        self._heard = 0.0
        self._pings: deque[float] = deque()
        self._primary = ""
        self._closing = False
        self.hears = False
        """Whether everything that is wanted is heard."""
        self.detail = "not connected yet"
        self.reconnects = 0
        self._lag = 0.0
        self._task = self._loop.create_task(self._run(), name="redis listener")

    @property
    def lag(self) -> float:
        """Seconds that the last sign of life took, or the next has been waited for.

        It comes after every message that was there before it: so far behind is this listener.
        """
        return self._loop.time() - self._pings[0] if self._pings else self._lag

    def is_subscribed(self, channel: str) -> bool:
        """Whether Redis has confirmed that a channel is heard."""
        settled = channel in self._subscribed and channel not in self._changed
        return settled and channel not in self._asked

    def expects(self, channel: str) -> bool:
        """Whether it hears a channel, or has asked to."""
        return channel in self._wanted and (channel in self._subscribed or channel in self._changed)

    def add(self, channel: str, *, again: bool = False) -> None:
        """Hear a channel.

        :param again: whether somebody has heard it before: what comes until Redis has
            confirmed is missed.
        """
        self._wanted.add(channel)
        if again:
            self._miss(channel)
        self._change(channel)

    def remove(self, channel: str) -> None:
        """Stop hearing it."""
        self._wanted.discard(channel)
        self._change(channel)
        self._heard_again(channel)

    async def aclose(self) -> None:
        """Close the connection."""
        self._closing = True
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _change(self, channel: str) -> None:
        if not self._changed:
            self._loop.call_at(self._not_before, self._settle)
        self._changed[channel] = None

    # -- one connection after another ------------------------------------------------------

    async def _run(self) -> None:
        delay = BACKOFF_FIRST
        while True:
            stream: RedisStream | None = None
            try:
                stream = await self._link.connect(self._received, self._route)
                delay = BACKOFF_FIRST
                self._opened(stream)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(stream.ended())
                    tasks.create_task(self._watch(stream))
            except* Exception as group:  # whatever it is, the listener must come back
                self._lost(group.exceptions[0])
            finally:
                self._stream = None
                if stream is not None:
                    await stream.aclose()
            if self._closing:  # a task group that fails forgets that it was cancelled, too
                return
            await asyncio.sleep(random.uniform(0, delay))  # noqa: S311  # jitter, not a secret
            delay = min(delay * 2, BACKOFF_MOST)

    def _opened(self, stream: RedisStream) -> None:
        self._stream = stream
        self._heard = self._loop.time()
        self._pings.clear()
        self._primary = ""
        self._subscribed.clear()
        self._asked.clear()
        self._changed = dict.fromkeys(self._wanted)
        self._unheard = set(self._wanted)
        self._settle()
        if not self._unheard:
            self._set_hears(True)

    def _lost(self, error: BaseException) -> None:
        reason = str(error).partition("\n")[0] or type(error).__name__
        if self.hears:
            logger.warning("the subscriber's connection was lost: %s", reason)
            self.reconnects += 1
        self.detail = reason
        self._set_hears(False)

    def _set_hears(self, hears: bool) -> None:
        if self.hears != hears:
            self.hears = hears
            self._events.changed()

    def _miss(self, channel: str) -> None:
        self._unheard.add(channel)
        self._set_hears(False)

    def _heard_again(self, channel: str) -> None:
        if self._unheard:
            self._unheard.discard(channel)
            if not self._unheard:
                self._set_hears(True)

    def _settle(self) -> None:
        """Bring Redis' subscriptions in line with what is wanted."""
        if self._stream is None:  # all that is wanted is asked for when there is one
            return
        self._not_before = self._loop.time() + SUBSCRIBE_PAUSE
        changed, self._changed = self._changed, {}
        wanted = [c for c in changed if c in self._wanted and c not in self._subscribed]
        unwanted = [c for c in changed if c not in self._wanted and c in self._subscribed]
        self._subscribed.update(wanted)
        self._subscribed.difference_update(unwanted)
        self._asked.update(wanted)
        for channel in filter(self.is_subscribed, changed):
            self._events.confirmed(channel)  # left and joined in one turn
        self._send(self._stream, "UNSUBSCRIBE", unwanted)
        self._send(self._stream, "SUBSCRIBE", wanted)

    def _send(self, stream: RedisStream, command: str, channels: list[str]) -> None:
        if self._link.sharded:  # all channels of one SSUBSCRIBE must share a slot
            stream.send(*[("S" + command, channel) for channel in channels])
            return
        patterns = [as_glob(channel) for channel in channels if channel.endswith("*")]
        plain = [channel for channel in channels if not channel.endswith("*")]
        for name, group in ((command, plain), ("P" + command, patterns)):
            for start in range(0, len(group), SUBSCRIBE_BATCH):
                stream.send((name, *group[start : start + SUBSCRIBE_BATCH]))

    def _received(self, message: Any) -> None:
        if isinstance(message, Exception):  # MOVED, CLUSTERDOWN: this is not the server to ask
            self._events.moved()
            raise RedisError(f"cannot subscribe: {message}") from message
        self._heard = self._loop.time()
        kind = message[0]
        if kind in (b"message", b"smessage"):
            self._events.message(message[1], message[2])
        elif kind == b"pmessage":
            self._events.pattern_message(from_glob(message[1]), message[2], message[3])
        elif kind in (b"subscribe", b"ssubscribe"):
            self._answered(message[1].decode())
        elif kind == b"psubscribe":
            self._answered(from_glob(message[1]).decode())
        elif kind == b"pong" or message == b"PONG":  # as long as nothing is subscribed
            self._lag = self._heard - self._pings.popleft()
        elif kind == b"sunsubscribe" and message[1].decode() in self._subscribed:
            self._taken(message[1].decode())

    def _taken(self, channel: str) -> None:
        """Redis has ended a subscription: its slot has left this server."""
        self._subscribed.discard(channel)
        self.detail = "a channel is on another server now"
        self._miss(channel)
        self._events.moved()

    def _answered(self, channel: str) -> None:
        """Redis hears one of the requests to subscribe; a later one may be on its way."""
        self._asked[channel] -= 1
        if self._asked[channel] <= 0:
            del self._asked[channel]
            self._events.confirmed(channel)
            self._heard_again(channel)

    async def _watch(self, stream: RedisStream) -> None:
        """Ask for signs of life, and leave a server that is no longer the one to hear."""
        while True:
            await asyncio.sleep(PING_INTERVAL)
            silence = self._loop.time() - self._heard
            if silence > SILENCE_LIMIT:
                raise RedisError(f"Redis was silent for {silence:.1f} s")
            if not self._link.sharded:
                primary = self._link.route("")
                self._primary = self._primary or primary
                if primary and primary != self._primary:
                    raise RedisError("the primary has changed")
            self._pings.append(self._loop.time())
            stream.send(("PING",))


def as_glob(pattern: str) -> str:
    """A pattern as Redis has it: of ours, only the ``*`` at the end is special."""
    return re.sub(r"[\\*?\[]", r"\\\g<0>", pattern[:-1]) + "*"


def from_glob(glob: bytes) -> bytes:
    """The pattern that :func:`as_glob` made a glob of."""
    return re.sub(rb"\\(.)", rb"\1", glob[:-1]) + b"*"
