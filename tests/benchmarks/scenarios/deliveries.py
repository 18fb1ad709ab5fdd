"""Deliveries and publishes: what a fix costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.clients import PlainClient
from tests.benchmarks.contestants import Stage
from tests.benchmarks.fixes import Fix, token
from tests.benchmarks.load import Meter, Publishing
from tests.benchmarks.measure import Server
from tests.benchmarks.neighbour import BURST, running
from tests.benchmarks.scenario import (
    BUSY,
    FRAMES,
    GENERATOR,
    LOST,
    WAITED,
    Figure,
    Figures,
    Length,
    Scenario,
    alone,
    in_closed_loop,
    percentile,
    swarm_at,
)
from tests.benchmarks.swarm import Swarm

WATCHERS = 1_000


@alone
def fan_out(server: Server, length: Length) -> Figures:
    """One entity, many watchers, at most two undelivered fixes."""
    with swarm_at(server, 2) as swarm:
        swarm.connect(PlainClient, ((token(f"u{number}"), ["v0000"]) for number in range(WATCHERS)))
        publishing = Publishing(swarm, [Fix("v0000")], WATCHERS)
        work = in_closed_loop(server, swarm, publishing, 2, length)
        return {**work.per(work.delivered), "lost": publishing.written_off}


FAN_OUT = Scenario(
    "fan-out",
    f"1 entity, {WATCHERS:,} watchers, closed loop: at most two undelivered fixes",
    (
        Figure("cpu", "µs CPU per delivery", bun=0.85, node=0.60),
        Figure("rate", "deliveries per second"),
        FRAMES,
        LOST,
        GENERATOR,
        BUSY,
        WAITED,
    ),
    fan_out,
)


ENTITIES, DASHBOARDS, TRACKED, PUBLISHERS = 1_000, 200, 100, 8
FLEET_WATCHERS = DASHBOARDS * TRACKED // ENTITIES
FLEET_UNDELIVERED = 2 * PUBLISHERS
FIXES_PER_SECOND = 500


@contextmanager
def fleet_at(server: Server) -> Iterator[tuple[Swarm, Publishing]]:
    """Dashboards that each track a part of the fleet; every entity has equally many watchers."""
    ids = [f"v{number:04}" for number in range(ENTITIES)]
    step = ENTITIES // DASHBOARDS
    with swarm_at(server, PUBLISHERS) as swarm:
        swarm.connect(
            PlainClient,
            (
                (token(f"u{number}"), [ids[(number * step + k) % ENTITIES] for k in range(TRACKED)])
                for number in range(DASHBOARDS)
            ),
        )
        yield (
            swarm,
            Publishing(swarm, [Fix(each) for each in ids], FLEET_WATCHERS),
        )


@alone
def fleet(server: Server, length: Length) -> Figures:
    """As many fixes as the server accepts, with two undelivered ones for each publisher."""
    with fleet_at(server) as (swarm, publishing):
        work = in_closed_loop(server, swarm, publishing, FLEET_UNDELIVERED, length)
        return {**work.per(work.delivered), "lost": publishing.written_off}


@alone
def fleet_at_rate(server: Server, length: Length) -> Figures:
    """The fleet at a fixed rate."""
    with fleet_at(server) as (swarm, publishing):
        publishing.at_rate(length.warm_up, FIXES_PER_SECOND)
        publishing.drain()
        swarm.timed = True
        meter = Meter(server, swarm)
        publishing.at_rate(length.measured, FIXES_PER_SECOND)
        work = meter.read()
        publishing.drain()
        return {
            **work.per(work.delivered),
            "p50": percentile(swarm, 50),
            "p99": percentile(swarm, 99),
            "p99.9": percentile(swarm, 99.9),
            "lost": publishing.written_off,
        }


FLEET = Scenario(
    "fleet",
    f"{ENTITIES:,} entities, {DASHBOARDS} dashboards that track {TRACKED} each, "
    f"{PUBLISHERS} publishers, closed loop: at most {FLEET_UNDELIVERED} undelivered fixes",
    (
        Figure("cpu", "µs CPU per delivery", bun=0.50, node=0.20),
        Figure("rate", "deliveries per second"),
        FRAMES,
        LOST,
        GENERATOR,
        BUSY,
        WAITED,
    ),
    fleet,
)


FLEET_RATE = Scenario(
    "fleet-rate",
    f"the same at {FIXES_PER_SECOND} fixes, "
    f"{FIXES_PER_SECOND * FLEET_WATCHERS:,} deliveries a second",
    (
        Figure("p99", "p99 latency, ms", bun=0.80, node=0.50),
        Figure("p99.9", "p99.9 latency, ms"),
        Figure("p50", "median latency, ms"),
        Figure("cpu", "µs CPU per delivery"),
        Figure("rate", "deliveries per second"),
        FRAMES,
        LOST,
        GENERATOR,
        BUSY,
        WAITED,
    ),
    fleet_at_rate,
)


def neighbour(stage: Stage, length: Length) -> Figures:
    """The fleet at a fixed rate, while another process takes half of the server's core."""
    with running():
        figures = dict(fleet_at_rate(stage, length))
    figures["kept"] = figures.pop("waited")
    return figures


NEIGHBOUR = Scenario(
    "neighbour",
    "the same while another process takes half of the server's core, "
    f"{BURST * 1_000:.0f} ms at a time",
    (
        Figure("p99", "p99 latency, ms"),
        Figure("p99.9", "p99.9 latency, ms"),
        Figure("p50", "median latency, ms"),
        Figure("cpu", "µs CPU per delivery"),
        FRAMES,
        LOST,
        GENERATOR,
        BUSY,
        Figure("kept", "% of the time kept from its core by the other process"),
    ),
    neighbour,
)


INGEST_PUBLISHERS = 16


@alone
def ingest(server: Server, length: Length) -> Figures:
    """Publishers as fast as responses arrive, and no watchers."""
    with swarm_at(server, INGEST_PUBLISHERS) as swarm:
        publishing = Publishing(swarm, [Fix(f"v{number:04}") for number in range(ENTITIES)], 0)
        work = in_closed_loop(server, swarm, publishing, 1, length)
        return work.per(work.published)


INGEST = Scenario(
    "ingest",
    f"{INGEST_PUBLISHERS} publishers as fast as answers come, nobody watches",
    (
        Figure("cpu", "µs CPU per publish", bun=0.80, node=0.20),
        Figure("rate", "publishes per second"),
        GENERATOR,
        BUSY,
        WAITED,
    ),
    ingest,
)
