"""What a core carries, in docs/operate/sizing.md: calculated from figures of docs/benchmarks.md."""

from __future__ import annotations

import math
import re
import textwrap

from tests.support.docs.figures import PAGE
from tests.support.docs.tables import table

TIMES = "×"  # noqa: RUF001

SHARE = 0.6
"""The part of a core that a process should use in its busiest minute."""

PER_FIX = 20
"""Deliveries of each fix in the scenarios ``fleet`` and ``fleet-rate``."""

EVENT = 230
"""Bytes of an event without metadata, and of its frame."""

BASE = 80
"""MiB of a process without clients."""

LOCATION = 600
"""Bytes of a current location in Redis, at most, without metadata."""

VEHICLES, WATCHERS = 10_000, 5
"""The example: vehicles that report every second, and the watchers of each."""


def machine(name: str) -> str:
    """A line of the table that describes the machine."""
    found = re.search(rf"^\| \*\*{name}\*\* \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"{PAGE.name} does not say the {name}")
    return found[1]


def measured(scenario: str, figure: str) -> float:
    """Our median of a figure.

    :raises LookupError: when the page does not have it.
    """
    _, _, section = PAGE.read_text().partition(f"\n### {scenario}\n")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.partition("\n### ")[0].splitlines()
        if line.startswith("|")
    ]
    for row in rows:
        if row[0] == figure:
            return float(row[rows[0].index("atriz-realtime")].replace(",", ""))
    raise LookupError(f"{PAGE.name} has no figure {figure!r} in {scenario}")


def rounded(value: float) -> str:
    """A number with two digits and zeros."""
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def capacity() -> str:
    """What one core carries, and what each unit of the formula costs."""
    publish = measured("ingest", "µs CPU per publish")
    steady = measured("fleet-rate", "µs CPU per delivery")
    busy = measured("fleet", "µs CPU per delivery")
    connect = measured("idle", "µs CPU to connect, authenticate and track")
    memory = measured("idle", "KB resident per client")
    at_rate = measured("fleet-rate", "deliveries per second")
    p50, p99 = (measured("fleet-rate", f"{name} latency, ms") for name in ("median", "p99"))
    rows = [
        (
            "fixes that nobody watches",
            f"{rounded(SHARE * 1e6 / publish)} a second",
            f"{_link('ingest')}: {publish:g} µs each",
        ),
        (
            f"deliveries, {PER_FIX} of each fix, and the fixes themselves",
            f"{rounded(SHARE * 1e6 / steady)} a second; when many leave together, up to "
            f"{rounded(SHARE * 1e6 / busy)}",
            f"{_link('fleet-rate')}: {steady:g} µs each, {_link('fleet')}: {busy:g} µs",
        ),
        (
            "clients that connect, authenticate and track an entity",
            f"{rounded(SHARE * 1e6 / connect)} a second",
            f"{_link('idle')}: {connect:g} µs each",
        ),
        (
            "clients that are connected and receive nothing",
            f"{rounded(2**20 / memory)} in a GiB of memory",
            f"{_link('idle')}: {memory:g} KB each; what the kernel needs is not counted",
        ),
    ]
    return _paragraphs(
        f"On {machine('Processor')} ({machine('Date')}), a process that uses {SHARE * 100:.0f} % "
        "of its core carries about:",
        table(("", "", "from the benchmark"), rows),
        f"At {rounded(at_rate)} deliveries a second, half of them took {p50:g} ms at most, and "
        f"99 % took {p99:g} ms. Redis and all clients were on the same machine: your network "
        "comes on top.",
        f"The costs for the formula are therefore `publish` = {publish:g} µs, `delivery` = "
        f"{rounded(delivery())} µs (those {steady:g} µs, less a {PER_FIX}th of a publish) and "
        f"`connection` = {memory:g} KB, which includes a room for each.",
    )


def _paragraphs(*parts: str) -> str:
    """Paragraphs and tables; the former are wrapped as the rest of the page is."""
    return "\n\n".join(
        part if part.startswith("|") else textwrap.fill(part, 118, break_on_hyphens=False)
        for part in parts
    )


def _link(scenario: str) -> str:
    return f"[{scenario}](../benchmarks.md#{scenario})"


def delivery() -> float:
    """Microseconds for a delivery, without the publish."""
    publish = measured("ingest", "µs CPU per publish")
    return measured("fleet-rate", "µs CPU per delivery") - publish / PER_FIX


def example() -> str:
    """The formula, applied to a fleet."""
    publish = measured("ingest", "µs CPU per publish")
    memory = measured("idle", "KB resident per client")
    connect = measured("idle", "µs CPU to connect, authenticate and track")
    clients = VEHICLES * WATCHERS
    cores = (VEHICLES * publish + clients * float(rounded(delivery()))) / 1e6
    processes = math.ceil(cores / SHARE)
    returning = clients / (processes + 1)
    rows = [
        (
            "CPU",
            f"{VEHICLES:,} {TIMES} {publish:g} µs + {clients:,} {TIMES} {rounded(delivery())} µs = "
            f"{cores:.2f} cores; divided by {SHARE}, {cores / SHARE:.1f}: {processes} processes",
        ),
        ("servers", f"{processes + 1} with one process each, so that one can be missing"),
        (
            "when one is lost",
            f"{returning:,.0f} clients come back: {returning:,.0f} {TIMES} {connect:g} µs = "
            f"{returning * connect / 1e6:.1f} s of CPU, on {processes} servers",
        ),
        (
            "memory",
            f"{clients:,} {TIMES} {memory:g} KB = {clients * memory / 1024:,.0f} MiB on all "
            f"servers together, and {BASE} MiB for each process",
        ),
        (
            "network to clients",
            f"{clients:,} {TIMES} {EVENT} bytes = {clients * EVENT / 1e6:.1f} MB a second",
        ),
        (
            "Redis",
            f"{2 * VEHICLES:,} scripts and {VEHICLES:,} publishes a second; {VEHICLES:,} {TIMES} "
            f"{LOCATION} bytes = {VEHICLES * LOCATION / 2**20:.1f} MiB",
        ),
    ]
    return _paragraphs(
        f"{VEHICLES:,} vehicles report every second, and each has {WATCHERS} watchers who are "
        f"connected all day: `F` = `P` = {VEHICLES:,}, `D` = `C` = {clients:,}, `E` = "
        f"{VEHICLES:,}.",
        table(("", ""), rows),
    )
