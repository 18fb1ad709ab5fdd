"""Drives a swarm in a closed loop or at a fixed rate, and measures the work done."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import attrs

from tests.benchmarks.fixes import Fix
from tests.benchmarks.measure import Server, cpu_seconds, waited_seconds
from tests.benchmarks.swarm import Swarm, microseconds

WRITE_OFF = 3.0
"""Seconds without a delivery after which the missing ones are given up."""


@attrs.frozen
class Work:
    """The work done between two moments, and its cost."""

    seconds: float
    cpu: float
    """CPU seconds of the server."""
    own_cpu: float
    """CPU seconds of the load generator."""
    published: int
    delivered: int
    reads: int
    waited: float
    """Seconds in which the server's main thread was runnable while others had its core."""

    def per(self, units: int) -> dict[str, float]:
        """Microseconds of CPU per unit, and units a second."""
        return {
            "cpu": self.cpu / units * 1e6,
            "generator": self.own_cpu / units * 1e6,
            "rate": units / self.seconds,
            "frames": self.delivered / self.reads if self.reads else 0.0,
            "busy": self.cpu / self.seconds * 100,
            "waited": max(0.0, self.waited) / self.seconds * 100,
        }


class Meter:
    """Measures the work since its construction."""

    def __init__(self, server: Server, swarm: Swarm) -> None:
        self._server, self._swarm = server, swarm
        self._start = self._now()

    def _now(self) -> tuple[float, float, float, int, int, int, float]:
        return (
            time.monotonic(),
            cpu_seconds(self._server.pid),
            time.process_time(),
            self._swarm.answered,
            self._swarm.delivered,
            self._swarm.reads,
            waited_seconds(self._server.pid),
        )

    def read(self) -> Work:
        """The work done since."""
        seconds, cpu, own, published, delivered, reads, waited = self._start
        now = self._now()
        return Work(
            seconds=now[0] - seconds,
            cpu=now[1] - cpu,
            own_cpu=now[2] - own,
            published=now[3] - published,
            delivered=now[4] - delivered,
            reads=now[5] - reads,
            waited=now[6] - waited,
        )


@attrs.define(eq=False)
class Publishing:
    """Fixes of several entities in turn, published by a swarm's publishers.

    :param watchers: how many clients track each entity.
    """

    swarm: Swarm
    fixes: Sequence[Fix]
    watchers: int
    published: int = attrs.field(default=0, init=False)
    written_off: int = attrs.field(default=0, init=False)
    """Deliveries that were given up."""
    _round: Iterator[Fix] = attrs.field(init=False)
    _before: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._round = itertools.cycle(self.fixes)
        self._before = self.swarm.delivered

    @property
    def missing(self) -> int:
        """Deliveries that have not arrived and are not written off."""
        delivered = self.swarm.delivered - self._before
        return self.published * self.watchers - delivered - self.written_off

    def once(self) -> None:
        """Publish a fix of each entity, as fast as responses arrive, and wait for the last."""
        for _ in self.fixes:
            self.swarm.progress(lambda: bool(self.swarm.idle))
            self._publish(microseconds())
        self.drain()

    def closed_loop(self, seconds: float, outstanding: int) -> None:
        """Publish as fast as responses arrive, with at most so many undelivered fixes.

        A fix is undelivered until all its watchers have received it.
        """
        swarm, watchers = self.swarm, self.watchers
        now = time.monotonic()
        end, progress, seen = now + seconds, now, -1
        most = (outstanding - 1) * watchers
        while now < end:
            while swarm.idle and self.missing <= most:
                self._publish(microseconds())
            swarm.turn(0.05)
            now = time.monotonic()
            if swarm.delivered + swarm.answered != seen:
                progress, seen = now, swarm.delivered + swarm.answered
            elif now - progress > WRITE_OFF:
                self.written_off += self.missing

    def at_rate(
        self, seconds: float, rate: float, meanwhile: Callable[[], bool] = lambda: True
    ) -> None:
        """Publish so many fixes a second, however slow the server is.

        When every publisher is waiting, the latency of a fix counts from when it was due.

        :param meanwhile: called between any two fixes; publishing ends when it returns ``False``.
        """
        swarm = self.swarm
        start = now = time.monotonic()
        start_stamp = microseconds()
        due = 0
        late = False
        while now < start + seconds and meanwhile():
            while now >= start + due / rate and swarm.idle:
                self._publish(start_stamp + int(due / rate * 1e6) if late else microseconds())
                due += 1
            late = now >= start + due / rate
            swarm.turn(0.01 if late else max(0.0, start + due / rate - now))
            now = time.monotonic()

    def drain(self) -> None:
        """Wait for what is in flight; write off what does not arrive."""
        swarm = self.swarm
        seen, since = -1, time.monotonic()
        while self.missing > 0 or len(swarm.idle) < len(swarm.publishers):
            swarm.turn(0.05)
            if swarm.delivered + swarm.answered != seen:
                seen, since = swarm.delivered + swarm.answered, time.monotonic()
            elif time.monotonic() - since > WRITE_OFF:
                self.written_off += self.missing
                break

    def _publish(self, stamp: int) -> None:
        self.swarm.idle.popleft().post(next(self._round).body(stamp))
        self.published += 1
