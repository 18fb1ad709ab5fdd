"""The channels that are heard from one server, subscribed to in batches."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from atriz_realtime.api import RedisLink, RedisStream
from atriz_realtime.defaults.shared.subscriber import Subscriber

logger = logging.getLogger("atriz_realtime.redis")

SUBSCRIBE_BATCH = 500
"""Channels subscribed or unsubscribed with one command."""

SUBSCRIBE_PAUSE = 0.005
"""Seconds between two commands that subscribe at least. The first leaves at once; when many
begin to watch, each carries what was wanted meanwhile, and what follows the answers goes together
too (``python -m tests.benchmarks idle``)."""


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


class Listener(Subscriber):
    """Hears channels of one server; the parameters are :class:`Subscriber`'s."""

    def __init__(self, link: RedisLink, route: str, events: ListenerEvents) -> None:
        super().__init__(link, name="redis listener", route=route)
        self._events = events
        self._wanted: set[str] = set()
        self._subscribed: set[str] = set()
        self._changed: dict[str, None] = {}
        self._not_before = 0.0
        self._asked: Counter[str] = Counter()
        self._unheard: set[str] = set()
        self._primary = ""
        self.hears = False
        """Whether everything that is wanted is heard."""
        self.detail = "not connected yet"
        self.reconnects = 0

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

    def _change(self, channel: str) -> None:
        if not self._changed:
            self._loop.call_at(self._not_before, self._settle)
        self._changed[channel] = None

    # -- one connection after another ------------------------------------------------------

    def _opened(self) -> None:
        self._primary = ""
        self._subscribed.clear()
        self._asked.clear()
        self._changed = dict.fromkeys(self._wanted)
        self._unheard = set(self._wanted)
        self._settle()
        if not self._unheard:
            self._set_hears(True)

    def _lost(self, reason: str) -> None:
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

    def _refused(self, error: Exception) -> None:
        self._events.moved()
        super()._refused(error)

    def _received(self, message: list[Any]) -> None:
        kind = message[0]
        if kind in (b"message", b"smessage"):
            self._events.message(message[1], message[2])
        elif kind == b"pmessage":
            self._events.pattern_message(from_glob(message[1]), message[2], message[3])
        elif kind in (b"subscribe", b"ssubscribe"):
            self._answered(message[1].decode())
        elif kind == b"psubscribe":
            self._answered(from_glob(message[1]).decode())
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

    def _superseded(self) -> str | None:
        if self._link.sharded:
            return None
        primary = self._link.route("")
        self._primary = self._primary or primary
        return "the primary has changed" if primary and primary != self._primary else None


def as_glob(pattern: str) -> str:
    """A pattern as Redis has it: of ours, only the ``*`` at the end is special."""
    return re.sub(r"[\\*?\[]", r"\\\g<0>", pattern[:-1]) + "*"


def from_glob(glob: bytes) -> bytes:
    """The pattern that :func:`as_glob` made a glob of."""
    return re.sub(rb"\\(.)", rb"\1", glob[:-1]) + b"*"
