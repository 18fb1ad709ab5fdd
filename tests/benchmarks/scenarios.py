"""The scenarios: loads on a server, and the figures that are measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import attrs

from tests.benchmarks.fixes import Fix, token
from tests.benchmarks.hostile import FLOODS, MIXED, Flood, Hostile, Prober, in_thread
from tests.benchmarks.load import Meter, Publishing
from tests.benchmarks.measure import Server, cpu_seconds, resident_bytes
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
    attempts: int
    """How often a disturbed run is made at most."""


MOST_WAITED = 5.0
"""Percent of a run for which other processes may have the server's core."""

FULL = Length(warm_up=3.0, measured=10.0, flood=3.0, settling=5.0, idle_clients=5_000, attempts=3)
SHORT = Length(warm_up=1.0, measured=3.0, flood=0.5, settling=1.0, idle_clients=2_000, attempts=1)


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
    run: Callable[[Server, Length], Figures]


@contextmanager
def swarm_at(server: Server, publishers: int) -> Iterator[Swarm]:
    """A swarm with so many publishers, and no clients yet."""
    swarm = Swarm(server.port)
    try:
        swarm.add_publishers(token(f"publisher{number}") for number in range(publishers))
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


# -- fan-out ---------------------------------------------------------------------------


WATCHERS = 1_000


def fan_out(server: Server, length: Length) -> Figures:
    """One entity, many watchers, at most two undelivered fixes."""
    with swarm_at(server, 2) as swarm:
        swarm.connect((token(f"u{number}"), ["v0000"]) for number in range(WATCHERS))
        publishing = Publishing(swarm, [Fix("v0000")], WATCHERS)
        publishing.closed_loop(length.warm_up, 2)
        meter = Meter(server, swarm)
        publishing.closed_loop(length.measured, 2)
        work = meter.read()
        publishing.drain()
        return {**work.per(work.delivered), "lost": publishing.written_off}


# -- fleet -----------------------------------------------------------------------------


ENTITIES, DASHBOARDS, TRACKED, PUBLISHERS = 1_000, 200, 100, 8
FLEET_WATCHERS = DASHBOARDS * TRACKED // ENTITIES
FLEET_UNDELIVERED = 2 * PUBLISHERS
FLEET_RATE = 500
"""Fixes a second."""


@contextmanager
def fleet_at(server: Server) -> Iterator[tuple[Swarm, Publishing]]:
    """Dashboards that each track a part of the fleet; every entity has equally many watchers."""
    ids = [f"v{number:04}" for number in range(ENTITIES)]
    step = ENTITIES // DASHBOARDS
    with swarm_at(server, PUBLISHERS) as swarm:
        swarm.connect(
            (token(f"u{number}"), [ids[(number * step + k) % ENTITIES] for k in range(TRACKED)])
            for number in range(DASHBOARDS)
        )
        yield (
            swarm,
            Publishing(swarm, [Fix(each) for each in ids], FLEET_WATCHERS),
        )


def fleet(server: Server, length: Length) -> Figures:
    """As many fixes as the server accepts, with two undelivered ones for each publisher."""
    with fleet_at(server) as (swarm, publishing):
        publishing.closed_loop(length.warm_up, FLEET_UNDELIVERED)
        meter = Meter(server, swarm)
        publishing.closed_loop(length.measured, FLEET_UNDELIVERED)
        work = meter.read()
        publishing.drain()
        return {**work.per(work.delivered), "lost": publishing.written_off}


def fleet_at_rate(server: Server, length: Length) -> Figures:
    """The fleet at a fixed rate."""
    with fleet_at(server) as (swarm, publishing):
        publishing.at_rate(length.warm_up, FLEET_RATE)
        publishing.drain()
        swarm.timed = True
        meter = Meter(server, swarm)
        publishing.at_rate(length.measured, FLEET_RATE)
        work = meter.read()
        publishing.drain()
        return {
            **work.per(work.delivered),
            "p50": percentile(swarm, 50),
            "p99": percentile(swarm, 99),
            "lost": publishing.written_off,
        }


# -- ingest ----------------------------------------------------------------------------


INGEST_PUBLISHERS = 16


def ingest(server: Server, length: Length) -> Figures:
    """Publishers as fast as responses arrive, and no watchers."""
    with swarm_at(server, INGEST_PUBLISHERS) as swarm:
        publishing = Publishing(swarm, [Fix(f"v{number:04}") for number in range(ENTITIES)], 0)
        publishing.closed_loop(length.warm_up, 1)
        meter = Meter(server, swarm)
        publishing.closed_loop(length.measured, 1)
        work = meter.read()
        publishing.drain()
        return work.per(work.published)


# -- idle ------------------------------------------------------------------------------


FIRST_CLIENTS = 50
"""Clients that connect before anything is measured."""


def idle(server: Server, length: Length) -> Figures:
    """Clients that each track an entity of which no fix is published."""
    clients = [
        (token(f"u{number}"), [f"v{number:05}"])
        for number in range(FIRST_CLIENTS + length.idle_clients)
    ]
    with swarm_at(server, 0) as swarm:
        swarm.connect(clients[:FIRST_CLIENTS])
        time.sleep(length.settling)
        memory, meter = resident_bytes(server.pid), Meter(server, swarm)
        swarm.connect(clients[FIRST_CLIENTS:])
        work = meter.read()
        swarm.wait(length.settling)
        cpu = cpu_seconds(server.pid)
        grown = resident_bytes(server.pid) - memory
        swarm.wait(length.settling)
        return {
            **work.per(length.idle_clients),
            "memory": grown / length.idle_clients / 1024,
            "quiet": (cpu_seconds(server.pid) - cpu) / length.settling * 100,
            "lost": swarm.closed,
        }


# -- stalled ---------------------------------------------------------------------------


STALLED_WATCHERS, STALLED_EVERY, STALLED_RATE, STALLED_EVENT_BYTES = 200, 10, 50, 4_096


def stalled(server: Server, length: Length) -> Figures:
    """One client in ten stops reading."""
    with swarm_at(server, 2) as swarm:
        watchers = ((token(f"u{number}"), ["v0000"]) for number in range(STALLED_WATCHERS))
        swarm.connect(watchers, distant=True)
        fixes = [Fix("v0000", STALLED_EVENT_BYTES)]
        publishing = Publishing(swarm, fixes, STALLED_WATCHERS)
        publishing.at_rate(length.warm_up, STALLED_RATE)
        publishing.drain()
        swarm.timed = True
        publishing.at_rate(length.measured, STALLED_RATE)
        publishing.drain()
        before = percentile(swarm, 99)
        swarm.latencies = swarm.latencies[:0]
        silent = swarm.clients[::STALLED_EVERY]
        for client in silent:
            client.stall()
        meter, memory = Meter(server, swarm), resident_bytes(server.pid)
        others = Publishing(swarm, fixes, STALLED_WATCHERS - len(silent))
        others.at_rate(length.measured, STALLED_RATE)
        half = resident_bytes(server.pid)
        others.at_rate(length.measured, STALLED_RATE)
        work, end = meter.read(), resident_bytes(server.pid)
        others.drain()
        after = percentile(swarm, 99)
        return {
            **work.per(work.delivered),
            "p99": before,
            "p99 stalled": after,
            "change": (after / before - 1) * 100,
            "memory": (end - memory) / len(silent) / 1024,
            "growth": (end - half) / len(silent) / 1024,
            "cut": swarm.closed,
            "lost": publishing.written_off + others.written_off,
        }


# -- hostile ---------------------------------------------------------------------------


HOSTILE_WATCHERS, HOSTILE_RATE = 200, 50


def hostile(server: Server, length: Length) -> Figures:
    """One client sends as much as the server reads: events, then each kind of packet in turn."""
    with swarm_at(server, 2) as swarm:
        swarm.connect((token(f"u{number}"), ["v0000"]) for number in range(HOSTILE_WATCHERS))
        publishing = Publishing(swarm, [Fix("v0000")], HOSTILE_WATCHERS)
        publishing.at_rate(length.warm_up, HOSTILE_RATE)
        publishing.drain()
        swarm.timed = True
        publishing.at_rate(length.measured, HOSTILE_RATE)
        publishing.drain()
        before = percentile(swarm, 99)
        swarm.latencies = swarm.latencies[:0]
        attacker = Hostile(server.port, MIXED)
        with in_thread(attacker.work):
            meter = Meter(server, swarm)
            publishing.at_rate(length.measured, HOSTILE_RATE)
            work = meter.read()
            publishing.drain()
        after = percentile(swarm, 99)
        floods: dict[str, float] = {}
        for flood in FLOODS:
            floods |= under(flood, server, publishing, length)
        return {
            **work.per(work.delivered),
            **floods,
            "worst flood": max(floods[watchers_key(flood)] for flood in FLOODS),
            "worst livez": max(floods[livez_key(flood)] for flood in FLOODS),
            "p99": before,
            "p99 hostile": after,
            "change": (after / before - 1) * 100,
            "sent": attacker.sent / length.measured / 2**20,
            "connections": attacker.connections,
            "cut": swarm.closed,
            "lost": publishing.written_off,
        }


def watchers_key(flood: Flood) -> str:
    """The key of the watchers' latency under a flood."""
    return f"p99 {flood.name}"


def livez_key(flood: Flood) -> str:
    """The key of the latency of ``/livez`` under a flood."""
    return f"livez {flood.name}"


def under(flood: Flood, server: Server, publishing: Publishing, length: Length) -> Figures:
    """The others' latencies while one client floods the server with one kind of packet."""
    swarm, prober = publishing.swarm, Prober(server.port)
    swarm.latencies = swarm.latencies[:0]
    with in_thread(Hostile(server.port, flood).work), in_thread(prober.work):
        publishing.at_rate(length.flood, HOSTILE_RATE)
        publishing.drain()
    return {
        watchers_key(flood): percentile(swarm, 99),
        livez_key(flood): nth(prober.latencies, 99),
    }


LOST = Figure("lost", "deliveries lost")
GENERATOR = Figure("generator", "µs CPU of the load generator for each")
FRAMES = Figure("frames", "updates that arrive at once")
BUSY = Figure("busy", "% of its core in use")
WAITED = Figure("waited", "% of the time kept from its core by others")

SCENARIOS = (
    Scenario(
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
    ),
    Scenario(
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
    ),
    Scenario(
        "fleet-rate",
        f"the same at {FLEET_RATE} fixes, {FLEET_RATE * FLEET_WATCHERS:,} deliveries a second",
        (
            Figure("p99", "p99 latency, ms", bun=0.80, node=0.50),
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
    ),
    Scenario(
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
    ),
    Scenario(
        "idle",
        f"{FULL.idle_clients:,} clients ({SHORT.idle_clients:,} in short runs), "
        "each tracking its own entity",
        (
            Figure("memory", "KB resident per client", bun=0.40, node=0.35),
            Figure("cpu", "µs CPU to connect, authenticate and track", bun=0.80, node=0.25),
            Figure("quiet", "% of its core in use afterwards"),
            Figure("lost", "connections lost"),
            GENERATOR,
            WAITED,
        ),
        idle,
    ),
    Scenario(
        "stalled",
        f"{STALLED_WATCHERS} watchers of one entity, {STALLED_RATE} fixes of 4 KB a second; "
        "then one client in ten stops reading",
        (
            Figure("change", "p99 latency of the others, change in %", limit=10),
            Figure("memory", "KiB grown per stalled client", limit=256),
            Figure("growth", "of that in the second half"),
            Figure("p99", "p99 latency while all read, ms"),
            Figure("p99 stalled", "p99 latency of the others, ms"),
            Figure("cut", "clients cut"),
            LOST,
            WAITED,
        ),
        stalled,
    ),
    Scenario(
        "hostile",
        f"{HOSTILE_WATCHERS} watchers of one entity, {HOSTILE_RATE} fixes a second; "
        "then one more client sends events, broken and long ones too, as fast as it is read; then "
        "one kind of packet after another: the others' p99 and that of `/livez`, in ms",
        (
            Figure("change", "p99 latency of the others, change in %", limit=10),
            Figure("p99", "p99 latency before, ms"),
            Figure("p99 hostile", "p99 latency of the others, ms"),
            Figure("sent", "MiB per second that it could send"),
            Figure("connections", "times that it connected"),
            Figure("worst flood", "p99 under the worst flood of one kind, ms", limit=25),
            Figure("worst livez", "p99 of `/livez` under the worst flood, ms", limit=25),
            *(
                figure
                for flood in FLOODS
                for figure in (
                    Figure(watchers_key(flood), flood.name),
                    Figure(livez_key(flood), f"{flood.name}, `/livez`"),
                )
            ),
            Figure("cut", "other clients cut"),
            LOST,
            WAITED,
        ),
        hostile,
    ),
)
