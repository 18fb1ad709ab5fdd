"""Clients that come and go while others are served."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Sequence

import attrs

from tests.benchmarks.clients import OrdinaryClient, PlainClient
from tests.benchmarks.contestants import Stage
from tests.benchmarks.fixes import Fix, token
from tests.benchmarks.load import Meter, Publishing
from tests.benchmarks.measure import Server, peak_resident_bytes
from tests.benchmarks.scenario import (
    BUSY,
    FULL,
    GENERATOR,
    LOST,
    SHORT,
    WAITED,
    Figure,
    Figures,
    Length,
    Scenario,
    alone,
    nth,
    percentile,
    quiet_p99,
    swarm_at,
)
from tests.benchmarks.swarm import Client, LoadError, Swarm

ENTITIES, PUBLISHERS = 1_000, 8
IDS = [f"v{number:04}" for number in range(ENTITIES)]

# -- storm -----------------------------------------------------------------------------


SERVED, SERVED_ENTITIES, SERVED_RATE = 500, 50, 100
SERVED_IDS = [f"s{number:04}" for number in range(SERVED_ENTITIES)]
OPENED_PER_TURN = 25
STORM_LIMIT = 120.0
"""Seconds within which all have to be back."""


@attrs.define(eq=False)
class Storm:
    """Clients of another server that come back, as fast as they can be opened."""

    swarm: Swarm
    clients: int
    opened: int = 0

    def goes_on(self) -> bool:
        """Open a few more of the clients; ``False`` when all of them track again."""
        last = min(self.opened + OPENED_PER_TURN, self.clients)
        for number in range(self.opened, last):
            ids = [IDS[number % ENTITIES]]
            self.swarm.clients.append(OrdinaryClient(self.swarm, token(f"u{number}"), ids))
        self.opened = last
        return self.swarm.tracking < self.clients


def storm(stage: Stage, length: Length) -> Figures:
    """All clients of a server that went away come at once to one that serves others."""
    count = length.returning_clients
    with stage.server() as server, swarm_at(server, PUBLISHERS) as swarm:
        with stage.server() as other, swarm_at(other, 0) as leaving:
            leaving.connect(
                PlainClient, ((token(f"u{n}"), [IDS[n % ENTITIES]]) for n in range(count))
            )
        Publishing(swarm, [Fix(each) for each in IDS], 0).once()
        swarm.connect(
            PlainClient,
            ((token(f"s{n}"), [SERVED_IDS[n % SERVED_ENTITIES]]) for n in range(SERVED)),
        )
        publishing = Publishing(
            swarm, [Fix(each) for each in SERVED_IDS], SERVED // SERVED_ENTITIES
        )
        quiet = quiet_p99(swarm, publishing, SERVED_RATE, length)
        with swarm_at(server, 0) as returning:
            swarm.read_beside(returning)
            returning_storm = Storm(returning, count)
            meter = Meter(server, swarm)
            publishing.at_rate(STORM_LIMIT, SERVED_RATE, returning_storm.goes_on)
            if returning.tracking < count:
                raise LoadError(f"only {returning.tracking} clients came back")
            work = meter.read()
            publishing.drain()
            return {
                **work.per(count),
                "seconds": work.seconds,
                "quiet": quiet,
                "p99": percentile(swarm, 99),
                "worst": percentile(swarm, 100),
                "memory": peak_resident_bytes(server.pid) / 2**20,
                "cut": swarm.closed + returning.closed,
                "lost": publishing.written_off,
            }


STORM = Scenario(
    "storm",
    f"{FULL.returning_clients:,} clients ({SHORT.returning_clients:,} in short runs) of a server "
    f"that went away come at once, as in `connect`, to one that delivers {SERVED_RATE} fixes a "
    f"second to {SERVED // SERVED_ENTITIES} of {SERVED} others each",
    (
        Figure("seconds", "seconds until all track again", bun=1.0, node=1.0),
        Figure("p99", "p99 latency of the others meanwhile, ms", limit=25),
        Figure("quiet", "p99 latency of the others before, ms"),
        Figure("worst", "highest latency meanwhile, ms"),
        Figure("memory", "MiB resident at most"),
        Figure("cpu", "µs CPU for each that came back"),
        Figure("cut", "clients cut"),
        LOST,
        GENERATOR,
        BUSY,
        WAITED,
    ),
    storm,
)

# -- mixed -----------------------------------------------------------------------------


MIXED_CLIENTS, PASSING, MIXED_TRACKED, MIXED_RATE = 2_000, 200, 10, 200
MOVES_PER_SECOND = MIXED_CLIENTS / 100
STAYING = MIXED_CLIENTS - PASSING


def tracked_by(number: int) -> Sequence[str]:
    """What a client tracks; every entity has equally many watchers."""
    return [IDS[(number * MIXED_TRACKED + k) % ENTITIES] for k in range(MIXED_TRACKED)]


@attrs.define(eq=False)
class Passing:
    """Clients of which, at a fixed rate, the oldest leaves and another comes."""

    swarm: Swarm
    present: deque[Client]
    moved: int = 0
    since: float = attrs.field(factory=time.monotonic)

    def move(self) -> None:
        """Let one client leave and another come, if that is due."""
        if time.monotonic() >= self.since + self.moved / MOVES_PER_SECOND:
            self.present.popleft().close()
            number = MIXED_CLIENTS + self.moved
            self.present.append(OrdinaryClient(self.swarm, token(f"u{number}"), tracked_by(number)))
            self.moved += 1


@alone
def mixed(server: Server, length: Length) -> Figures:
    """Clients come and go while the others are served."""
    clients = [(token(f"u{number}"), tracked_by(number)) for number in range(MIXED_CLIENTS)]
    fixes = [Fix(each) for each in IDS]
    with swarm_at(server, PUBLISHERS) as swarm, swarm_at(server, 0) as passing:
        Publishing(swarm, fixes, 0).once()
        swarm.connect(PlainClient, clients[:STAYING])
        passing.connect(OrdinaryClient, clients[STAYING:])
        swarm.read_beside(passing)
        coming = Passing(passing, deque(passing.clients))
        publishing = Publishing(swarm, fixes, STAYING * MIXED_TRACKED // ENTITIES)
        ends: list[int] = []
        start = time.monotonic() + length.warm_up

        def meanwhile() -> bool:
            coming.move()
            if time.monotonic() >= start + len(ends):
                ends.append(len(swarm.latencies))
                swarm.timed = True
            return True

        publishing.at_rate(length.warm_up, MIXED_RATE, meanwhile)
        before, meter = passing.delivered, Meter(server, swarm)
        publishing.at_rate(length.day, MIXED_RATE, meanwhile)
        work = meter.read()
        delivered = work.delivered + passing.delivered - before
        publishing.drain()
        seconds = [swarm.latencies[start:end] for start, end in itertools.pairwise(ends)]
        return {
            **work.per(delivered),
            "p50": percentile(swarm, 50),
            "p99": percentile(swarm, 99),
            "p99.9": percentile(swarm, 99.9),
            "worst": max(nth(second, 99) for second in seconds) / 1_000,
            "memory": peak_resident_bytes(server.pid) / 2**20,
            "cut": swarm.closed + passing.closed,
            "lost": publishing.written_off,
        }


MIXED = Scenario(
    "mixed",
    f"{MIXED_CLIENTS:,} clients that track {MIXED_TRACKED} of {ENTITIES:,} entities each, "
    f"{MIXED_RATE} fixes a second, for {FULL.day:.0f} s ({SHORT.day:.0f} in short runs); "
    f"{MOVES_PER_SECOND:.0f} clients leave every second, and as many come as in `connect`",
    (
        Figure("p50", "median latency, ms"),
        Figure("p99", "p99 latency, ms"),
        Figure("p99.9", "p99.9 latency, ms"),
        Figure("worst", "p99 latency of the worst second, ms"),
        Figure("cpu", "µs CPU per delivery"),
        Figure("rate", "deliveries per second"),
        Figure("memory", "MiB resident at most"),
        Figure("cut", "clients cut"),
        LOST,
        GENERATOR,
        BUSY,
        WAITED,
    ),
    mixed,
)
