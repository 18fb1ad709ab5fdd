"""Connections: what it costs to open and to keep them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from tests.benchmarks.clients import OrdinaryClient, PlainClient, Transport
from tests.benchmarks.contestants import Stage
from tests.benchmarks.fixes import Fix, token
from tests.benchmarks.load import Meter, Publishing
from tests.benchmarks.measure import Server, cpu_seconds, resident_bytes, waited_seconds
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
    in_closed_loop,
    swarm_at,
)
from tests.benchmarks.swarm import Swarm

CACHING_PUBLISHERS = 8

FIRST_CLIENTS = 50
"""Clients that connect before anything is measured."""


@alone
def idle(server: Server, length: Length) -> Figures:
    """Clients that each track an entity of which no fix is published."""
    clients = [
        (token(f"u{number}"), [f"v{number:05}"])
        for number in range(FIRST_CLIENTS + length.idle_clients)
    ]
    with swarm_at(server, 0) as swarm:
        swarm.connect(PlainClient, clients[:FIRST_CLIENTS])
        time.sleep(length.settling)
        memory, meter = resident_bytes(server.pid), Meter(server, swarm)
        swarm.connect(PlainClient, clients[FIRST_CLIENTS:])
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


IDLE = Scenario(
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
)


def connecting(transport: Transport) -> Callable[[Server, Length], Figures]:
    """Ordinary clients that connect, authenticate, and get the cached location of an entity."""

    def run(server: Server, length: Length) -> Figures:
        first = length.connecting_clients // 4
        ids = [f"v{number:05}" for number in range(first + length.connecting_clients)]
        clients = [(token(f"u{number}"), [each]) for number, each in enumerate(ids)]
        with swarm_at(server, CACHING_PUBLISHERS) as swarm:
            Publishing(swarm, [Fix(each) for each in ids], 0).once()
            ordinary = partial(OrdinaryClient, transport=transport)
            swarm.connect(ordinary, clients[:first])
            meter = Meter(server, swarm)
            swarm.connect(ordinary, clients[first:])
            return {**meter.read().per(length.connecting_clients), "lost": swarm.closed}

    return run


def connect_scenario(
    name: str, load: str, transport: Transport, bun: float, node: float
) -> Scenario:
    """A scenario of one transport."""
    return Scenario(
        name,
        load,
        (
            Figure("cpu", "µs CPU to connect, authenticate and track", bun=bun, node=node),
            Figure("rate", "clients per second"),
            Figure("lost", "connections lost"),
            GENERATOR,
            BUSY,
            WAITED,
        ),
        alone(connecting(transport)),
    )


CONNECT = connect_scenario(
    "connect",
    f"{FULL.connecting_clients:,} clients ({SHORT.connecting_clients:,} in short runs) that do "
    "what `io(url)` does: they begin with long polling, send their token with the handshake, "
    "upgrade to a websocket, send the token again with `authenticate`, and track an entity until "
    "its cached location comes",
    Transport.UPGRADE,
    0.80,
    0.30,
)
CONNECT_WEBSOCKET = connect_scenario(
    "connect-websocket",
    "the same on a websocket from the start",
    Transport.WEBSOCKET,
    0.80,
    0.30,
)
CONNECT_POLLING = connect_scenario(
    "connect-polling",
    "the same without the upgrade",
    Transport.POLLING,
    1.00,
    0.40,
)


POLLING_CLIENTS = 200


@alone
def polling(server: Server, length: Length) -> Figures:
    """One entity, watched by clients that stay on long polling; one undelivered fix at most."""
    with swarm_at(server, 1) as swarm:
        fixes = [Fix("v0000")]
        Publishing(swarm, fixes, 0).once()
        swarm.connect(
            partial(OrdinaryClient, transport=Transport.POLLING),
            ((token(f"u{number}"), ["v0000"]) for number in range(POLLING_CLIENTS)),
        )
        publishing = Publishing(swarm, fixes, POLLING_CLIENTS)
        work = in_closed_loop(server, swarm, publishing, 1, length)
        return {**work.per(work.delivered), "lost": publishing.written_off}


POLLING = Scenario(
    "polling",
    f"{POLLING_CLIENTS} watchers of one entity that stay on long polling, closed loop: at most "
    "one undelivered fix",
    (
        Figure("cpu", "µs CPU per delivery"),
        Figure("rate", "deliveries per second"),
        LOST,
        GENERATOR,
        BUSY,
        WAITED,
    ),
    polling,
)


DASHBOARD_SIZES = (100, 400, 1_000)
DASHBOARD_SETTINGS = {"ATRIZ_REALTIME_MAX_EVENTS_BURST": "1100"}
"""A thousand ``track`` events at once are more than one socket may send by default."""


def dashboard(stage: Stage, length: Length) -> Figures:
    """One client after another tracks cached entities, with an event for each or for all."""
    tracked: dict[str, list[float]] = {}
    with stage.server(DASHBOARD_SETTINGS) as server, swarm_at(server, CACHING_PUBLISHERS) as swarm:
        start, waited = time.monotonic(), waited_seconds(server.pid)
        for number in range(length.dashboards):
            for size in DASHBOARD_SIZES:
                for way in ("singly", "list"):
                    name = f"{way}{size}-{number}"
                    ids = [f"{name}-{each}" for each in range(size)]
                    Publishing(swarm, [Fix(each) for each in ids], 0).once()
                    milliseconds = time_to_track(swarm, name, ids, at_once=way == "list")
                    tracked.setdefault(f"{way} {size}", []).append(milliseconds)
        waited = waited_seconds(server.pid) - waited
        seconds = time.monotonic() - start
        medians = {key: median(values) for key, values in tracked.items()}
        ratios = {
            f"ratio {size}": medians[f"singly {size}"] / medians[f"list {size}"]
            for size in DASHBOARD_SIZES
        }
        return {
            **medians,
            **ratios,
            "lost": swarm.closed,
            "waited": max(0.0, waited) / seconds * 100,
        }


def time_to_track(swarm: Swarm, user: str, ids: Sequence[str], *, at_once: bool) -> float:
    """Milliseconds until a client that is connected has the location of each entity."""
    client = OrdinaryClient(swarm, token(user), [], Transport.WEBSOCKET)
    swarm.clients.append(client)
    before = swarm.tracking
    swarm.progress(lambda: swarm.tracking > before)
    start = time.perf_counter()
    client.track(ids, at_once=at_once)
    swarm.progress(lambda: swarm.tracking > before + 1)
    return (time.perf_counter() - start) * 1_000


DASHBOARD = Scenario(
    "dashboard",
    f"one socket after another tracks {', '.join(f'{size:,}' for size in DASHBOARD_SIZES)} cached "
    "entities, with one event for each, all sent at once, and with one event for the list: "
    "milliseconds until the last location has come; "
    f"{FULL.dashboards} sockets of each kind ({SHORT.dashboards} in short runs)",
    (
        *(
            Figure(f"ratio {size}", f"{size:,} singly, as a multiple of the list", limit=2)
            for size in DASHBOARD_SIZES
        ),
        *(
            Figure(f"{way} {size}", f"{size:,} {title}, ms")
            for size in DASHBOARD_SIZES
            for way, title in (("singly", "singly"), ("list", "as a list"))
        ),
        Figure("lost", "connections lost"),
        WAITED,
    ),
    dashboard,
)
