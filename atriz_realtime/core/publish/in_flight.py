"""One order for every watcher of this server, whether the fan-out works or not.

What is published here comes back over the fan-out like everyone else's, so that all
servers see one order.  Until it has come back it is *under way*.  When the fan-out
refuses it, or stops hearing, it is delivered from here, past the fan-out, together with
everything older that is under way on its channel; and should it come back after all, it
is swallowed.  So watchers of this server miss nothing that was published here, and get
nothing twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from atriz_realtime.api.contracts import Clock

MAX_UNDER_WAY = 1_000
"""Events of one channel that may be under way; beyond, the oldest is no longer expected."""

MAX_BYPASSED = 100_000
"""Bypassed events that are remembered."""

REMEMBER_SECONDS = 30.0
"""How long a bypassed event may still come back: longer than any buffer on the way lasts."""


class InFlight:
    """Passes events on to ``deliver``, each once and in order.

    :param deliver: takes a channel and an event's bytes to whoever watches here.
    """

    def __init__(self, deliver: Callable[[str, bytes], None], clock: Clock) -> None:
        self._deliver = deliver
        self._clock = clock
        self._under_way: dict[str, dict[bytes, None]] = {}
        self._bypassed: OrderedDict[tuple[str, bytes], float] = OrderedDict()
        self.hearing = True
        """Whether what is published comes back."""

    def sent(self, channel: str, event: bytes) -> None:
        """Expect an event back that is being published on a channel somebody here hears."""
        expected = self._under_way.setdefault(channel, {})
        expected[event] = None
        if not self.hearing:
            self.bypass(channel, event)
        elif len(expected) > MAX_UNDER_WAY:
            del expected[next(iter(expected))]

    def received(self, channel: str, event: bytes) -> None:
        """Take an event off the fan-out."""
        expected = self._under_way.get(channel)
        if expected is not None and event in expected:
            while expected:  # what was published before it and has not come will not come
                oldest = next(iter(expected))
                del expected[oldest]
                if oldest == event:
                    break
            if not expected:
                del self._under_way[channel]
        if self._bypassed and (channel, event) in self._bypassed:
            return  # it may come more than once: it may have been sent again
        self._deliver(channel, event)

    def bypass(self, channel: str, event: bytes) -> None:
        """Deliver an event past the fan-out, after what is older; unless it has come back."""
        expected = self._under_way.get(channel)
        if expected is None or event not in expected:
            return
        while expected:
            oldest = next(iter(expected))
            del expected[oldest]
            self._remember(channel, oldest)
            self._deliver(channel, oldest)
            if oldest == event:
                break
        if not expected:
            del self._under_way[channel]

    def forget(self, channel: str) -> None:
        """Expect nothing on a channel any more: nobody here hears it."""
        self._under_way.pop(channel, None)

    def deaf(self) -> None:
        """The fan-out has stopped hearing: nothing under way will come back."""
        self.hearing = False
        for channel, expected in list(self._under_way.items()):
            if expected:
                self.bypass(channel, next(reversed(expected)))

    def hears(self) -> None:
        """The fan-out hears again."""
        self.hearing = True

    def _remember(self, channel: str, event: bytes) -> None:
        now = self._clock.monotonic()
        bypassed = self._bypassed
        bypassed[channel, event] = now + REMEMBER_SECONDS
        while len(bypassed) > MAX_BYPASSED or next(iter(bypassed.values())) < now:
            bypassed.popitem(last=False)
