"""Clients that disturb others."""

from __future__ import annotations

from functools import partial

from tests.benchmarks.clients import PlainClient
from tests.benchmarks.fixes import Fix, token
from tests.benchmarks.hostile import FLOODS, MIXED, Flood, Hostile, Prober, in_thread
from tests.benchmarks.load import Meter, Publishing
from tests.benchmarks.measure import Server, resident_bytes
from tests.benchmarks.scenario import (
    LOST,
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

STALLED_WATCHERS, STALLED_EVERY, STALLED_RATE, STALLED_EVENT_BYTES = 200, 10, 50, 4_096


@alone
def stalled(server: Server, length: Length) -> Figures:
    """One client in ten stops reading."""
    with swarm_at(server, 2) as swarm:
        watchers = ((token(f"u{number}"), ["v0000"]) for number in range(STALLED_WATCHERS))
        swarm.connect(partial(PlainClient, distant=True), watchers)
        fixes = [Fix("v0000", STALLED_EVENT_BYTES)]
        publishing = Publishing(swarm, fixes, STALLED_WATCHERS)
        before = quiet_p99(swarm, publishing, STALLED_RATE, length)
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


STALLED = Scenario(
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
)


HOSTILE_WATCHERS, HOSTILE_RATE = 200, 50


@alone
def hostile(server: Server, length: Length) -> Figures:
    """One client sends as much as the server reads: events, then each kind of packet in turn."""
    with swarm_at(server, 2) as swarm:
        swarm.connect(
            PlainClient, ((token(f"u{number}"), ["v0000"]) for number in range(HOSTILE_WATCHERS))
        )
        publishing = Publishing(swarm, [Fix("v0000")], HOSTILE_WATCHERS)
        before = quiet_p99(swarm, publishing, HOSTILE_RATE, length)
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


HOSTILE = Scenario(
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
)
