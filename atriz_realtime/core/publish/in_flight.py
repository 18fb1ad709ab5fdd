"""Fixes of this server between publishing and delivery.

A fix that is published here comes back over the fan-out like every other server's, so that all
servers deliver in one order.  When the fan-out refuses it, or loses its connection, it is delivered
directly, after everything older that is still expected on its channel; if it comes back after all,
it is ignored.  So watchers of this server get every fix that was published here, once and in order.
After a fix was delivered directly, older ones of other servers are ignored too, until a newer one
comes: Redis may carry out a command late that its server has given up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from atriz_realtime.api.contracts import Clock, Report, limit_reached
from atriz_realtime.api.wire import Payload
from atriz_realtime.core.hub.watermarks import event_time

MAX_EXPECTED = 1_000
"""Events that one channel may expect back; beyond it, the oldest is no longer expected."""

MAX_BYPASSED = 100_000
"""Directly delivered events that are remembered, to ignore them if they come back."""

REMEMBER_SECONDS = 30.0
"""Seconds that a directly delivered event is remembered: longer than any buffer on the way holds
it."""


class InFlight:
    """Passes events on to ``deliver``, each once and in order.

    :param deliver: takes a channel and an event's bytes to the watchers on this server.
    :param has_had: whether the watchers of a channel have had an event, or a newer one.
    """

    def __init__(
        self,
        deliver: Callable[[str, bytes], None],
        has_had: Callable[[str, bytes], bool],
        clock: Clock,
        report: Report,
    ) -> None:
        self._deliver = deliver
        self._has_had = has_had
        self._clock = clock
        self._report = report
        self._expected: dict[str, dict[bytes, bool]] = {}  # oldest first: whether it is late
        self._bypassed: OrderedDict[tuple[str, bytes], float] = OrderedDict()
        self._ahead: dict[str, bytes] = {}  # by channel: bypassed, and nothing newer since
        self.connected = True
        """Whether what is published comes back."""

    def add(self, payload: Payload, *, comes_back: bool, late: bool = False) -> None:
        """Track a fix that is about to be published.

        :param comes_back: whether this server subscribes to its channel.
        :param late: whether it is delivered directly only if neither it nor a newer one was.
        """
        channel = payload.channel
        if comes_back:
            expected = self._expected.setdefault(channel, {})
            expected[payload.event] = late
            if not self.connected:
                self.bypass(channel, payload.event)
            elif len(expected) > MAX_EXPECTED:
                del expected[next(iter(expected))]
                message = f"more than {MAX_EXPECTED} of one entity: the oldest may be lost"
                limit_reached(self._report, f"{__name__}.MAX_EXPECTED", message)

    def withdraw(self, channel: str, event: bytes) -> None:
        """Stop expecting an event that was not published; harmless if it is not expected."""
        expected = self._expected.get(channel)
        if expected is not None and expected.pop(event, None) is not None and not expected:
            del self._expected[channel]

    def received(self, channel: str, event: bytes) -> None:
        """Take an event from the fan-out."""
        expected = self._expected.get(channel)
        if expected is not None and event in expected:
            while expected:  # the fan-out keeps the order: older events are lost
                oldest = next(iter(expected))
                del expected[oldest]
                if oldest == event:
                    break
            if not expected:
                del self._expected[channel]
        elif self._bypassed and self._is_overtaken(channel, event):
            return
        self._deliver(channel, event)

    def _is_overtaken(self, channel: str, event: bytes) -> bool:
        """Whether an event, or a newer one, was delivered directly before it came."""
        self._forget_old()
        ahead = self._ahead.get(channel)
        if ahead is not None:
            timestamp, newest = event_time(event), event_time(ahead)
            if timestamp < newest:
                return True
            if timestamp > newest:
                del self._ahead[channel]
        # a retry may publish it again, so it stays remembered
        return (channel, event) in self._bypassed

    def bypass(self, channel: str, event: bytes) -> None:
        """Deliver an event directly, after everything older; harmless once it has come back."""
        expected = self._expected.get(channel)
        if expected is None or event not in expected:
            return
        while expected:
            oldest = next(iter(expected))
            late = expected.pop(oldest)
            if not (late and self._has_had(channel, oldest)):
                self._remember(channel, oldest)
                self._deliver(channel, oldest)
            if oldest == event:
                break
        if not expected:
            del self._expected[channel]

    def forget(self, channel: str) -> None:
        """Expect nothing more on a channel that this server no longer subscribes to."""
        self._expected.pop(channel, None)
        self._ahead.pop(channel, None)

    def disconnected(self) -> None:
        """Deliver everything that is expected: the fan-out has lost it."""
        self.connected = False
        for channel, expected in list(self._expected.items()):
            if expected:
                self.bypass(channel, next(reversed(expected)))

    def reconnected(self) -> None:
        """Expect what is published from now on to come back."""
        self.connected = True

    def _remember(self, channel: str, event: bytes) -> None:
        self._bypassed[channel, event] = self._clock.monotonic() + REMEMBER_SECONDS
        self._ahead[channel] = event
        self._forget_old()

    def _forget_old(self) -> None:
        bypassed, now = self._bypassed, self._clock.monotonic()
        while bypassed and (len(bypassed) > MAX_BYPASSED or next(iter(bypassed.values())) < now):
            (oldest, forgotten), until = bypassed.popitem(last=False)
            if until >= now:
                message = f"more than {MAX_BYPASSED} remembered: the oldest may be sent again"
                limit_reached(self._report, f"{__name__}.MAX_BYPASSED", message)
            if self._ahead.get(oldest) == forgotten:
                del self._ahead[oldest]
