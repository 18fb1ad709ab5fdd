"""What a second process costs."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.clients import PlainClient, Publisher
from tests.benchmarks.contestants import Stage
from tests.benchmarks.fixes import Fix, token
from tests.benchmarks.load import Publishing
from tests.benchmarks.measure import Server, cpu_seconds, family
from tests.benchmarks.scenario import LOST, Figure, Figures, Length, Scenario, swarm_at

COUNTS = (1, 2)
WATCHED, WATCHERS, RATE = 100, 20, 250
UNWATCHED, PUBLISHERS = 1_000, 16
TRACKED = 10
CLIENTS = WATCHED * WATCHERS // TRACKED


def spent(servers: Sequence[Server]) -> float:
    """CPU seconds of all processes."""
    return sum(cpu_seconds(pid) for server in servers for pid in family(server.pid))


def workers(stage: Stage, length: Length) -> Figures:
    """The same load on one process, and on two."""
    figures: dict[str, float] = {"lost": 0.0}
    for count in COUNTS:
        with stage.workers(count) as servers, swarm_at(servers[0], 0) as swarm:
            watched = [f"v{number:04}" for number in range(WATCHED)]
            for number in range(CLIENTS):
                swarm.port = servers[number % len(servers)].port
                ids = [watched[(number * TRACKED + k) % WATCHED] for k in range(TRACKED)]
                swarm.connect(PlainClient, [(token(f"u{number}"), ids)])
            for number in range(PUBLISHERS):
                swarm.port = servers[number % len(servers)].port
                swarm.add_publisher(Publisher(swarm, token(f"publisher{number}")))
            publishing = Publishing(swarm, [Fix(each) for each in watched], WATCHERS)
            publishing.at_rate(length.warm_up, RATE)
            publishing.drain()
            cpu, delivered = spent(servers), swarm.delivered
            publishing.at_rate(length.measured, RATE)
            publishing.drain()
            delivered = swarm.delivered - delivered
            figures[f"delivery {count}"] = (spent(servers) - cpu) / delivered * 1e6
            figures["lost"] += publishing.written_off
            unwatched = [Fix(f"w{number:04}") for number in range(UNWATCHED)]
            publishing = Publishing(swarm, unwatched, 0)
            publishing.closed_loop(length.warm_up, 1)
            cpu, published = spent(servers), swarm.answered
            publishing.closed_loop(length.measured, 1)
            published = swarm.answered - published
            figures[f"publish {count}"] = (spent(servers) - cpu) / published * 1e6
            publishing.drain()
    for work in ("delivery", "publish"):
        figures[f"{work} more"] = (figures[f"{work} 2"] / figures[f"{work} 1"] - 1) * 100
    return figures


WORKERS = Scenario(
    "workers",
    f"{CLIENTS} clients that track {TRACKED} of {WATCHED} entities each, {RATE} fixes, "
    f"{RATE * WATCHERS:,} deliveries a second; then {PUBLISHERS} publishers as fast as answers "
    "come, of entities that nobody watches; on one process, then on two",
    (
        *(
            figure
            for work in ("delivery", "publish")
            for figure in (
                Figure(f"{work} 1", f"µs CPU per {work}, one process"),
                Figure(f"{work} 2", f"µs CPU per {work}, two processes"),
                Figure(f"{work} more", f"what the second adds per {work}, in %"),
            )
        ),
        LOST,
    ),
    workers,
)
