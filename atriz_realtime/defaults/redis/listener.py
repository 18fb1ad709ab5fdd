"""The subscriptions on one Redis server, made in batches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
from redis.exceptions import AskError

from atriz_realtime.api import RedisLink, RedisStream
from atriz_realtime.defaults.shared.subscriber import Subscriber

SUBSCRIBE_BATCH = 500
"""Channels in one SUBSCRIBE or UNSUBSCRIBE."""

SUBSCRIBE_PAUSE = 0.005
"""Minimum seconds between two commands that subscribe.  The first leaves at once; when many clients
start to watch, each later one carries the channels of the meantime, and the reads of the cache
that follow are batched as well (``python -m tests.benchmarks idle``)."""


@attrs.frozen(kw_only=True, eq=False)
class ListenerEvents:
    """The callbacks of a listener."""

    message: Callable[[bytes, bytes], None]
    """Called with a channel and a message on it."""
    pattern_message: Callable[[bytes, bytes, bytes], None]
    """Called with a pattern, the channel that matched, and a message on it."""
    confirmed: Callable[[str], None]
    """Called with a channel when Redis has confirmed its subscription."""
    changed: Callable[[], None]
    """Called when :attr:`Listener.complete` changes."""
    lost: Callable[[str], None]
    """Called with the reason when a connection is lost that had every subscription."""
    moved: Callable[[], None]
    """Called when a channel may have moved to another node of a cluster."""
    refused: Callable[[str, str], None]
    """Called with a server and its reason when it refuses to subscribe, or anything else."""


class Listener(Subscriber):
    """Keeps the subscriptions on one server; the parameters are :class:`Subscriber`'s."""

    def __init__(self, link: RedisLink, route: str, events: ListenerEvents) -> None:
        super().__init__(link, name="redis listener", route=route)
        self._events = events
        self._wanted: set[str] = set()
        self._subscribed: set[str] = set()
        self._changed: dict[str, None] = {}
        self._not_before = 0.0
        self._unconfirmed: Counter[str] = Counter()
        self._missing: set[str] = set()
        self._primary = ""
        self.complete = False
        """Whether every wanted channel is subscribed, so that no message is missed."""
        self.detail = "not connected yet"
        self.reconnects = 0

    def is_subscribed(self, channel: str) -> bool:
        """Whether Redis has confirmed the subscription to a channel."""
        requested = channel in self._subscribed and channel not in self._changed
        return requested and channel not in self._unconfirmed

    def includes(self, channel: str) -> bool:
        """Whether a channel is subscribed, or will be with the next command."""
        return channel in self._wanted and (channel in self._subscribed or channel in self._changed)

    def add(self, channel: str, *, gap: bool = False) -> None:
        """Subscribe to a channel.

        :param gap: whether it was subscribed before, so that messages are missed until Redis
            has confirmed.
        """
        self._wanted.add(channel)
        if gap:
            self._set_missing(channel)
        self._change(channel)

    def remove(self, channel: str) -> None:
        """Unsubscribe from a channel."""
        self._wanted.discard(channel)
        self._change(channel)
        self._unset_missing(channel)

    def _change(self, channel: str) -> None:
        if not self._changed:
            self._loop.call_at(self._not_before, self._synchronise)
        self._changed[channel] = None

    def _opened(self) -> None:
        self._primary = ""
        self._subscribed.clear()
        self._unconfirmed.clear()
        self._changed = dict.fromkeys(self._wanted)
        self._missing = set(self._wanted)
        self._synchronise()
        if not self._missing:
            self._set_complete(True)

    def _lost(self, reason: str) -> None:
        if self.complete:
            self._events.lost(reason)
            self.reconnects += 1
        self.detail = reason
        self._set_complete(False)

    def _set_complete(self, complete: bool) -> None:
        if self.complete != complete:
            self.complete = complete
            self._events.changed()

    def _set_missing(self, channel: str) -> None:
        self._missing.add(channel)
        self._set_complete(False)

    def _unset_missing(self, channel: str) -> None:
        if self._missing:
            self._missing.discard(channel)
            if not self._missing:
                self._set_complete(True)

    def _synchronise(self) -> None:
        """Subscribe to what is wanted, and unsubscribe from the rest."""
        if self._stream is None:  # a new connection subscribes to all that is wanted
            return
        self._not_before = self._loop.time() + SUBSCRIBE_PAUSE
        changed, self._changed = self._changed, {}
        wanted = [c for c in changed if c in self._wanted and c not in self._subscribed]
        unwanted = [c for c in changed if c not in self._wanted and c in self._subscribed]
        self._subscribed.update(wanted)
        self._subscribed.difference_update(unwanted)
        self._unconfirmed.update(wanted)
        for channel in filter(self.is_subscribed, changed):
            self._events.confirmed(channel)  # unsubscribed and subscribed within one turn
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

    def _refused(self, error: Exception) -> None:
        if self._link.sharded:  # another node may have the channels now
            self._events.moved()
        if not isinstance(error, AskError):  # nor MOVED: another node has the channel
            self._events.refused(self._route or self._link.route(""), str(error))
        super()._refused(error)

    def _received(self, message: list[Any]) -> None:
        kind = message[0]
        if kind in (b"message", b"smessage"):
            self._events.message(message[1], message[2])
        elif kind == b"pmessage":
            self._events.pattern_message(from_glob(message[1]), message[2], message[3])
        elif kind in (b"subscribe", b"ssubscribe"):
            self._confirmed(message[1].decode())
        elif kind == b"psubscribe":
            self._confirmed(from_glob(message[1]).decode())
        elif kind == b"sunsubscribe" and message[1].decode() in self._subscribed:
            self._slot_moved(message[1].decode())

    def _slot_moved(self, channel: str) -> None:
        """Called when Redis ends a subscription: the channel's slot has left this server."""
        self._subscribed.discard(channel)
        self.detail = "a channel is on another server now"
        self._set_missing(channel)
        self._events.moved()

    def _confirmed(self, channel: str) -> None:
        """Count one confirmation; a later request for the channel may still be in flight."""
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] <= 0:
            del self._unconfirmed[channel]
            self._events.confirmed(channel)
            self._unset_missing(channel)

    def _stale(self) -> str | None:
        if self._link.sharded:
            return None
        primary = self._link.route("")
        self._primary = self._primary or primary
        return "the primary has changed" if primary and primary != self._primary else None


def as_glob(pattern: str) -> str:
    """A pattern in Redis' syntax; in this package's only the ``*`` at the end is special."""
    return re.sub(r"[\\*?\[]", r"\\\g<0>", pattern[:-1]) + "*"


def from_glob(glob: bytes) -> bytes:
    """The pattern that :func:`as_glob` converted."""
    return re.sub(rb"\\(.)", rb"\1", glob[:-1]) + b"*"
