"""Events over Redis pub/sub: classic on one server, sharded on a cluster.

Only servers with a watcher of an entity subscribe to its channel, so a publish costs the others
nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from atriz_realtime.api import (
    BackendStatus,
    Cache,
    Deliver,
    FanoutEvents,
    Payload,
    RedisLink,
    Unavailable,
)
from atriz_realtime.defaults.redis.cache import RedisCache, mark_of
from atriz_realtime.defaults.redis.cache_scripts import SENT, TIME_OF
from atriz_realtime.defaults.redis.listener import Listener, ListenerEvents

logger = logging.getLogger("atriz_realtime.redis")

UNUSED_KEY = "location:unused"
"""A key that nobody sets."""

# Returns an error on a replica, such as a primary that was demoted: it refuses writes but
# publishes, so a fix that is sent again to the new primary would reach some watchers twice.
# The last of KEYS is a key that nobody sets.
_ON_PRIMARY = """
local refused = redis.pcall('DEL', KEYS[#KEYS])
if type(refused) == 'table' and string.find(refused.err, 'READONLY', 1, true) then
  return redis.error_reply('READONLY a replica does not publish')
end
"""

# Publishes ARGV[1] on the channel ARGV[2].
_PUBLISH = f"""
{_ON_PRIMARY}
redis.call('PUBLISH', ARGV[2], ARGV[1])
return 1
"""

# Publishes ARGV[1] on the channel ARGV[2], unless KEYS[1] holds a location other than ARGV[3]
# whose timestamp is ARGV[4] or later, or KEYS[2] says that it was sent.  Then KEYS[2] says so if
# it was the mark ARGV[5] of what is held; a Redis that takes no writes publishes all the same.
_PUBLISH_UNLESS_NEWER = f"""
{_ON_PRIMARY}
{TIME_OF}
local current = redis.call('GET', KEYS[1])
if current and current ~= ARGV[3] and time_of(current) >= ARGV[4] then return 0 end
local sent, held = ARGV[5] .. '{SENT.decode()}', redis.call('GET', KEYS[2])
if held == sent then return 0 end
redis.call('PUBLISH', ARGV[2], ARGV[1])
if held == ARGV[5] then redis.pcall('SET', KEYS[2], sent, 'KEEPTTL') end
return 1
"""

CONFIRM_TIMEOUT = 1.0
"""Seconds that a new watcher waits at most for Redis to confirm a subscription."""

REMAP_SECONDS = 0.5
"""Seconds between two attempts to find the server of a channel whose slot moves."""

FOLLOWED_KEY = "realtime:followed"
"""On a cluster, where sharded channels have no patterns: this key exists while some server
subscribes to a pattern."""

FOLLOWED_CHANNEL = "realtime:followed"
"""The channel that every message is copied to while that key exists: the message's channel, a NUL
and the message."""

FOLLOWED_SECONDS = 5
"""Seconds that the key lives; servers renew it, and look for it, about once a second."""


class RedisFanout:
    """Publishes through the server's link; subscribes on connections of its own.

    :param prefix: the prefix of every channel.
    :param report: told when Redis refuses to subscribe.
    """

    def __init__(
        self,
        link: RedisLink,
        prefix: str,
        report: Callable[[str, str], object] = lambda *_: None,
    ) -> None:
        self._link = link
        self._report = report
        self._refusal = ""
        self._prefix = prefix
        self._unused_key = prefix + UNUSED_KEY
        self._loop = asyncio.get_running_loop()
        self._deliver: dict[str, Deliver] = {}
        self._unconfirmed: dict[str, asyncio.Future[None]] = {}
        self._deadlines: deque[tuple[float, str, asyncio.Future[None]]] = deque()
        self._listeners: dict[str, Listener] = {}
        self._assigned: dict[str, Listener] = {}
        self._unassigned: set[str] = set()
        self._retired_reconnects = 0
        self._complete = False
        self._followed = False
        self._patterns: set[str] = set()
        self._events: FanoutEvents | None = None
        self._listener_events = ListenerEvents(
            message=self._message,
            pattern_message=self._pattern_message,
            confirmed=self._confirmed,
            changed=self._listener_changed,
            lost=self._lost,
            moved=self._moved,
            refused=self._refused,
        )
        self._tasks: list[asyncio.Task[None]] = []
        if link.sharded:
            self._tasks = [
                self._loop.create_task(self._reassign(), name="redis channels"),
                self._loop.create_task(self._renew_followed(), name="redis followers"),
            ]
        else:
            self._listeners[""] = Listener(link, "", self._listener_events)

    def attach(self, events: FanoutEvents) -> None:
        """Report from now on when this server starts or stops missing messages."""
        self._events = events
        if not self._complete:
            events.deaf()
        self._listener_changed()

    def publish(self, channel: str, data: bytes) -> Awaitable[None]:
        """Queue a script that publishes, or SPUBLISH on a cluster, whose replicas refuse it."""
        channel = self._prefix + channel
        if not self._link.sharded:
            # by its text: what Redis knows no more by its hash would be sent again, out of order
            return self._link.execute("EVAL", _PUBLISH, 1, self._unused_key, data, channel)
        sending = self._link.execute("SPUBLISH", channel, data)
        if not self._followed:
            return sending
        copy = b"%b\0%b" % (channel.encode(), data)
        return _with_copy(
            sending, self._link.execute("SPUBLISH", self._prefix + FOLLOWED_CHANNEL, copy)
        )

    def publish_unless_newer(self, payload: Payload, cache: Cache) -> Awaitable[bool] | None:
        """Queue a script that compares and publishes; on a cluster a key and a channel may be on
        different servers, so there it cannot.
        """
        if self._link.sharded or not isinstance(cache, RedisCache):
            return None
        return self._link.evaluate(
            _PUBLISH_UNLESS_NEWER,
            (cache.key(payload.entity), cache.held_key(payload.entity), self._unused_key),
            (
                *(payload.event, self._prefix + payload.channel),
                *(payload.location, payload.timestamp, mark_of(payload)),
            ),
        )

    def subscribe(self, channel: str, deliver: Deliver) -> Awaitable[None]:
        """Subscribe to a channel; the future is done when Redis has confirmed."""
        channel = self._prefix + channel
        pattern = channel.endswith("*")
        self._deliver[channel] = deliver
        if pattern and self._link.sharded:
            self._patterns.add(channel)
            return self._subscribed_to_copies(self.subscribe(FOLLOWED_CHANNEL, self._copy))
        confirmed = self._unconfirmed.get(channel)
        if confirmed is not None:
            return confirmed
        confirmed = self._loop.create_future()
        listener = self._assigned.get(channel)
        if listener is not None and listener.is_subscribed(channel):
            confirmed.set_result(None)
            return confirmed
        self._unconfirmed[channel] = confirmed
        self._deadlines.append((self._loop.time() + CONFIRM_TIMEOUT, channel, confirmed))
        if len(self._deadlines) == 1:
            self._loop.call_later(CONFIRM_TIMEOUT, self._expire)
        self._assign(channel)
        return confirmed

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel."""
        channel = self._prefix + channel
        if self._deliver.pop(channel, None) is None:
            return
        self._unassigned.discard(channel)
        listener = self._assigned.pop(channel, None)
        if listener is not None:
            listener.remove(channel)
        self._confirmed(channel)  # no confirmation will come
        if channel in self._patterns:
            self._patterns.discard(channel)
            if not self._patterns:
                self.unsubscribe(FOLLOWED_CHANNEL)

    def status(self) -> BackendStatus:
        """``connected`` while every channel is subscribed."""
        if self._complete:
            return BackendStatus("connected")
        for listener in self._listeners.values():
            if not listener.complete:
                return BackendStatus("disconnected", f"subscriber: {listener.detail}")
        return BackendStatus("disconnected", f"{len(self._unassigned)} channels on no server")

    def statistics(self) -> dict[str, float]:
        """``channels`` subscribed, ``lag`` of the slowest listener in seconds, ``reconnects``."""
        listeners = self._listeners.values()
        return {
            "channels": len(self._deliver),
            "lag": max((listener.lag for listener in listeners), default=0.0),
            "reconnects": self._retired_reconnects
            + sum(listener.reconnects for listener in listeners),
        }

    async def aclose(self) -> None:
        """Close the connections of all listeners."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(listener.aclose() for listener in self._listeners.values()))
        for channel, confirmed in list(self._unconfirmed.items()):
            self._confirm(channel, confirmed)

    def _message(self, channel: bytes, data: bytes) -> None:
        name = channel.decode()
        deliver = self._deliver.get(name)
        if deliver is not None:
            deliver(name.removeprefix(self._prefix), data)

    def _pattern_message(self, pattern: bytes, channel: bytes, data: bytes) -> None:
        deliver = self._deliver.get(pattern.decode())
        if deliver is not None:
            deliver(channel.decode().removeprefix(self._prefix), data)

    def _confirmed(self, channel: str) -> None:
        confirmed = self._unconfirmed.get(channel)
        if confirmed is not None:
            self._confirm(channel, confirmed)

    def _confirm(self, channel: str, confirmed: asyncio.Future[None]) -> None:
        if not confirmed.done():
            confirmed.set_result(None)
        if self._unconfirmed.get(channel) is confirmed:
            del self._unconfirmed[channel]

    def _expire(self) -> None:
        """Confirm the subscriptions whose deadline has passed; one timer serves them all."""
        deadlines, now = self._deadlines, self._loop.time()
        while deadlines and deadlines[0][0] <= now:
            _, channel, confirmed = deadlines.popleft()
            listener = self._assigned.get(channel)
            if listener is not None and not confirmed.done():
                listener.add(channel, gap=True)  # its new watcher misses messages until then
            self._confirm(channel, confirmed)
        while deadlines and deadlines[0][2].done():
            deadlines.popleft()
        if deadlines:
            self._loop.call_at(deadlines[0][0], self._expire)

    def _listener_changed(self) -> None:
        complete = not self._unassigned and all(
            listener.complete for listener in self._listeners.values()
        )
        if complete == self._complete:
            return
        self._complete = complete
        if complete and self._refusal:
            self._refusal = ""
            logger.info("Redis subscribes to every channel again")
        if self._events is not None:
            if complete:
                self._events.hearing()
            else:
                self._events.deaf()

    def _assign(self, channel: str, *, gap: bool = False) -> None:
        """Subscribe to a channel on its server, or retry later when no server has it.

        :param gap: whether it may have been subscribed before, on this server or another.
        """
        if not self._link.sharded:
            listener = self._listeners[""]
        else:
            route = self._link.route(channel)
            if not route:
                self._unassigned.add(channel)
                return
            if route not in self._listeners:
                self._listeners[route] = Listener(self._link, route, self._listener_events)
            listener = self._listeners[route]
        self._unassigned.discard(channel)
        previous = self._assigned.get(channel)
        if previous is listener and listener.includes(channel):
            return
        self._assigned[channel] = listener
        listener.add(channel, gap=gap)  # before the removal: the gap must show throughout
        if previous is not None and previous is not listener:
            previous.remove(channel)

    def _moved(self) -> None:
        """Find the server of every channel anew."""
        self._unassigned.update(self._deliver)

    def _lost(self, reason: str) -> None:
        self._report("subscriber disconnected", f"{reason}; retrying")

    def _refused(self, server: str, reason: str) -> None:
        """Report a refusal, unless it was the last one too: it is repeated at each attempt."""
        if reason != self._refusal:
            self._refusal = reason
            message = f"{server or 'Redis'} refuses the subscriber: {reason}"
            self._report(
                "redis disconnected", f"{message}; watchers of this process are served, retrying"
            )

    async def _reassign(self) -> None:
        while True:
            await asyncio.sleep(REMAP_SECONDS)
            pending = set(self._unassigned)
            if not self._complete:
                pending |= {
                    channel for channel, listener in self._assigned.items() if not listener.complete
                }
            if not pending:
                continue
            await self._link.refresh()
            for channel in pending & self._deliver.keys():
                if channel.endswith("*"):
                    self._unassigned.discard(channel)
                else:
                    self._assign(channel, gap=True)
            needed = set(self._assigned.values())
            for route, listener in list(self._listeners.items()):
                if listener not in needed:
                    del self._listeners[route]
                    self._retired_reconnects += listener.reconnects
                    await listener.aclose()
            self._listener_changed()

    def _copy(self, _: str, copy: bytes) -> None:
        channel, __, data = copy.partition(b"\0")
        for pattern in list(self._patterns):
            if channel.startswith(pattern[:-1].encode()):
                self._pattern_message(pattern.encode(), channel, data)

    async def _subscribed_to_copies(self, subscribed: Awaitable[None]) -> None:
        with contextlib.suppress(Unavailable, RedisError):
            await self._mark_followed()
        await subscribed
        await asyncio.sleep(1.0)  # by then every server has seen the key

    async def _mark_followed(self) -> None:
        await self._link.execute("SET", self._prefix + FOLLOWED_KEY, "1", "EX", FOLLOWED_SECONDS)

    async def _renew_followed(self) -> None:
        while True:
            with contextlib.suppress(Unavailable, RedisError):
                if self._prefix + FOLLOWED_CHANNEL in self._deliver:
                    await self._mark_followed()
                self._followed = bool(
                    await self._link.execute("EXISTS", self._prefix + FOLLOWED_KEY)
                )
            await asyncio.sleep(0.8)


async def _with_copy(first: Awaitable[None], copy: Awaitable[None]) -> None:
    """Await both publishes; a failure of the copy does not count."""
    try:
        await first
    finally:
        with contextlib.suppress(Unavailable, RedisError):
            await copy
