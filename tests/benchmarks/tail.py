"""Where the highest latencies come from: ``python -m tests.benchmarks.tail``.

A server at about a third of its core, as it runs, without garbage collection, and without the
pauses between two flushes; first with clients that stay, then while others come and go.
"""

from __future__ import annotations

import gc
from collections import deque

from atriz_realtime.engine import flusher
from tests.benchmarks.clients import OrdinaryClient, PlainClient
from tests.benchmarks.contestants import CONTESTANTS
from tests.benchmarks.fixes import Fix, token
from tests.benchmarks.load import Meter, Publishing
from tests.benchmarks.measure import Server
from tests.benchmarks.results import Results, shown
from tests.benchmarks.scenario import (
    BUSY,
    LOST,
    WAITED,
    Figure,
    Figures,
    Length,
    Scenario,
    alone,
    percentile,
    swarm_at,
)
from tests.benchmarks.scenarios.days import (
    ENTITIES,
    IDS,
    MOVES_PER_SECOND,
    PASSING,
    PUBLISHERS,
    Passing,
    tracked_by,
)
from tests.benchmarks.swarm import Swarm
from tests.benchmarks.variants import Variants
from tests.support.docs.tables import table

CLIENTS, TRACKED, RATE = 400, 25, 1_300

TITLES = {
    "whole": "atriz-realtime",
    "uncollected": "without garbage collection",
    "unpaced": "without pauses between two flushes",
}


def change(name: str) -> None:
    """Make this process one of the servers."""
    if name == "uncollected":
        setattr(gc, "set_threshold", lambda *_: gc.disable())  # noqa: B010
    elif name == "unpaced":
        flusher.MAX_PAUSE = 0.0


def percentiles(swarm: Swarm, suffix: str = "") -> Figures:
    """The latencies since the last call, in milliseconds."""
    found = {f"p{percent}{suffix}": percentile(swarm, percent) for percent in (50, 99, 99.9, 100)}
    swarm.latencies = swarm.latencies[:0]
    return found


@alone
def tail(server: Server, length: Length) -> Figures:
    """Deliver at a fixed rate, then let clients come and go meanwhile."""
    with swarm_at(server, PUBLISHERS) as swarm, swarm_at(server, 0) as passing:
        fixes = [Fix(each) for each in IDS]
        Publishing(swarm, fixes, 0).once()
        clients = (
            (token(f"u{n}"), [IDS[(n * TRACKED + k) % ENTITIES] for k in range(TRACKED)])
            for n in range(CLIENTS)
        )
        swarm.connect(PlainClient, clients)
        publishing = Publishing(swarm, fixes, CLIENTS * TRACKED // ENTITIES)
        publishing.at_rate(length.warm_up, RATE)
        swarm.timed = True
        meter = Meter(server, swarm)
        publishing.at_rate(length.measured, RATE)
        work = meter.read()
        publishing.drain()
        steady = percentiles(swarm)
        passing.connect(OrdinaryClient, [(token(f"p{n}"), tracked_by(n)) for n in range(PASSING)])
        swarm.read_beside(passing)
        coming = Passing(passing, deque(passing.clients))

        def move() -> bool:
            coming.move()
            return True

        publishing.at_rate(length.measured, RATE, move)
        publishing.drain()
        return {
            **work.per(work.delivered),
            **steady,
            **percentiles(swarm, " coming"),
            "lost": publishing.written_off,
        }


TAIL = Scenario(
    "tail",
    f"{CLIENTS} clients that track {TRACKED} of {ENTITIES:,} entities each, {RATE:,} fixes a "
    f"second; then the same while {MOVES_PER_SECOND:.0f} of other clients leave every second, "
    "and as many come as in `connect`",
    (
        Figure("p50", "median latency, ms"),
        Figure("p99", "p99, ms"),
        Figure("p99.9", "p99.9, ms"),
        Figure("p99 coming", "p99 while clients come and go, ms"),
        Figure("p99.9 coming", "p99.9 while clients come and go, ms"),
        BUSY,
        WAITED,
        LOST,
    ),
    tail,
)


def summary(results: Results) -> str:
    """The medians as a table."""
    return table(
        ("", *(figure.title for figure in TAIL.figures)),
        [
            (each.title, *(shown(results.median("tail", each.name, f.key)) for f in TAIL.figures))
            for each in VARIANTS.contestants
        ],
    )


BUN = next(each for each in CONTESTANTS if each.name == "bun")

VARIANTS = Variants("tests.benchmarks.tail", "tail", TAIL, TITLES, change, summary, [BUN])

if __name__ == "__main__":
    VARIANTS.main(__doc__)
