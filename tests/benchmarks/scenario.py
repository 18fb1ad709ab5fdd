"""What a scenario is, how long it runs, and the figures that several have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps

import attrs

from tests.benchmarks.clients import Publisher
from tests.benchmarks.contestants import Stage
from tests.benchmarks.fixes import token
from tests.benchmarks.load import Meter, Publishing, Work
from tests.benchmarks.measure import Server
from tests.benchmarks.swarm import Swarm

Figures = Mapping[str, float]


@attrs.frozen
class Length:
    """The length of a run; times are in seconds."""

    warm_up: float
    """Before the measurement, for just-in-time compilers."""
    measured: float
    flood: float
    """Of each kind of packet, in the scenario ``hostile``."""
    settling: float
    """Before memory is measured."""
    idle_clients: int
    connecting_clients: int
    """That are measured while they connect, after a quarter of their number."""
    dashboards: int
    """That track each number of entities in each way."""
    returning_clients: int
    """In the scenario ``storm``."""
    day: float
    """The measured time of the scenario ``mixed``."""
    attempts: int
    """How often a disturbed run is made at most."""


MOST_WAITED = 5.0
"""Percent of a run for which other processes may have the server's core."""

FULL = Length(
    warm_up=3.0,
    measured=10.0,
    flood=3.0,
    settling=5.0,
    idle_clients=5_000,
    connecting_clients=2_000,
    dashboards=9,
    returning_clients=5_000,
    day=60.0,
    attempts=3,
)
SHORT = Length(
    warm_up=1.0,
    measured=3.0,
    flood=0.5,
    settling=1.0,
    idle_clients=2_000,
    connecting_clients=600,
    dashboards=3,
    returning_clients=1_000,
    day=8.0,
    attempts=1,
)


@attrs.frozen
class Figure:
    """One measured quantity."""

    key: str
    title: str
    bun: float | None = None
    """The largest ratio of ours to Bun's that meets the target."""
    node: float | None = None
    """The same for Node's."""
    limit: float | None = None
    """The largest value of ours that meets the target."""


@attrs.frozen
class Scenario:
    """A load, and the figures measured under it."""

    name: str
    load: str
    figures: Sequence[Figure]
    run: Callable[[Stage, Length], Figures]


def alone(run: Callable[[Server, Length], Figures]) -> Callable[[Stage, Length], Figures]:
    """A scenario of one server, with its settings as they are by default."""

    @wraps(run)
    def on_stage(stage: Stage, length: Length) -> Figures:
        with stage.server() as server:
            return run(server, length)

    return on_stage


@contextmanager
def swarm_at(server: Server, publishers: int) -> Iterator[Swarm]:
    """A swarm with so many publishers, and no clients yet."""
    swarm = Swarm(server.port)
    try:
        for number in range(publishers):
            swarm.add_publisher(Publisher(swarm, token(f"publisher{number}")))
        yield swarm
    finally:
        swarm.close()


def nth(values: Iterable[float], percent: float) -> float:
    """A percentile; infinite without values."""
    ordered = sorted(values) or [math.inf]
    return ordered[int((len(ordered) - 1) * percent / 100)]


def percentile(swarm: Swarm, percent: float) -> float:
    """A percentile of the deliveries' latencies, in milliseconds."""
    return nth(swarm.latencies, percent) / 1_000


def in_closed_loop(
    server: Server, swarm: Swarm, publishing: Publishing, undelivered: int, length: Length
) -> Work:
    """Publish as fast as deliveries allow; returns what the measured time took."""
    publishing.closed_loop(length.warm_up, undelivered)
    meter = Meter(server, swarm)
    publishing.closed_loop(length.measured, undelivered)
    work = meter.read()
    publishing.drain()
    return work


def quiet_p99(swarm: Swarm, publishing: Publishing, rate: float, length: Length) -> float:
    """The p99 latency at a rate, in milliseconds, before anything disturbs; it is measured on."""
    publishing.at_rate(length.warm_up, rate)
    publishing.drain()
    swarm.timed = True
    publishing.at_rate(length.measured, rate)
    publishing.drain()
    quiet = percentile(swarm, 99)
    swarm.latencies = swarm.latencies[:0]
    return quiet


LOST = Figure("lost", "deliveries lost")
GENERATOR = Figure("generator", "µs CPU of the load generator for each")
FRAMES = Figure("frames", "updates that arrive at once")
BUSY = Figure("busy", "% of its core in use")
WAITED = Figure("waited", "% of the time kept from its core by others")
