"""Every metric: its name, its kind, what it means, and where its numbers are.

Names follow https://prometheus.io/docs/practices/naming/: base units, counters end in
``_total``.  Labels are bounded: types come from the registry, codes and kinds are few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import Literal

import attrs

from atriz_realtime.api import ConfigurationError, ProcessReport, RealtimeError

PREFIX = "atriz_realtime_"

Sample = tuple[tuple[str, ...], float]
"""The values of a family's own labels, and a number."""


@attrs.frozen
class Family:
    """One metric, with all its label values."""

    name: str
    """The whole name, as Prometheus has it."""
    kind: Literal["counter", "gauge"]
    """A counter begins with 0 at the start and only grows."""
    meaning: str
    """Its HELP text."""
    read: Callable[[ProcessReport], Iterable[Sample]]
    """Finds its numbers in a process's report."""
    labels: tuple[str, ...] = ()
    """Its labels besides ``worker``."""


FIXES = "fixes "
"""What the names of the parts that count an entity type's fixes begin with."""

PLUGIN_LABELS = ("plugin", "problem")
"""The labels of incidents that are a plugin's fault; those of refusals have ``code`` alone."""

_known: set[tuple[str, str]] = set()
"""Parts and numbers that have a metric of their own."""


def _field(name: str) -> Callable[[ProcessReport], Iterable[Sample]]:
    return lambda report: [((), float(getattr(report, name)))]


def _number(part: str, name: str) -> Callable[[ProcessReport], Iterable[Sample]]:
    _known.add((part, name))

    def read(report: ProcessReport) -> Iterator[Sample]:
        numbers = report.statistics.get(part, {})
        if name in numbers:
            yield (), numbers[name]

    return read


def _build(_: ProcessReport) -> Iterator[Sample]:
    yield (version("atriz-realtime"),), 1.0


def _fixes(report: ProcessReport) -> Iterator[Sample]:
    for part, numbers in report.statistics.items():
        if part.startswith(FIXES):
            for outcome, count in numbers.items():
                yield (part.removeprefix(FIXES), outcome), count


def _codes(error: type[RealtimeError] = RealtimeError) -> Iterator[str]:
    """The codes that callers may meet, plugins' own among them."""
    if not issubclass(error, ConfigurationError):  # which stops the start
        yield error.code
        for each in error.__subclasses__():
            yield from _codes(each)


def _refusals(report: ProcessReport) -> Iterator[Sample]:
    counts = {**dict.fromkeys(_codes(), 0.0), **report.statistics.get("refusals", {})}
    for code, count in counts.items():
        yield (code,), count


def _plugin_problems(report: ProcessReport) -> Iterator[Sample]:
    for _, labels, count in report.labelled_incidents:
        if labels.keys() == set(PLUGIN_LABELS):
            yield tuple(labels[name] for name in PLUGIN_LABELS), count


def _incidents(report: ProcessReport) -> Iterator[Sample]:
    for kind, labels, count in report.labelled_incidents:
        if labels.keys() not in ({"code"}, set(PLUGIN_LABELS)):
            yield (kind.format(**labels) if labels else kind,), count


def _others(report: ProcessReport) -> Iterator[Sample]:
    for part, numbers in report.statistics.items():
        if part == "refusals" or part.startswith(FIXES):
            continue
        for name, value in numbers.items():
            if (part, name) not in _known:
                yield (part, name), value


def _family(
    name: str,
    meaning: str,
    read: Callable[[ProcessReport], Iterable[Sample]],
    labels: tuple[str, ...] = (),
) -> Family:
    kind: Literal["counter", "gauge"] = "counter" if name.endswith("_total") else "gauge"
    return Family(PREFIX + name, kind, meaning, read, labels)


FAMILIES = (
    _family("build_info", "The version of the package; always 1.", _build, ("version",)),
    _family(
        "start_time_seconds",
        "When the process was started, in seconds since the epoch.",
        _field("started_at"),
    ),
    _family("cpu_seconds_total", "Processor time that the process has used.", _field("cpu")),
    _family("resident_memory_bytes", "Memory that the process holds.", _field("memory")),
    _family(
        "backend_connected",
        "1 while the backends answer, 0 while Redis is away.",
        _field("connected"),
    ),
    _family("connections", "Sockets that are connected.", _field("connections")),
    _family("rooms", "Rooms with a member, each socket's own room included.", _field("rooms")),
    _family(
        "fixes_total",
        "Fixes that were accepted here, by entity type and outcome: published, throttled, held "
        "or dropped by a filter.",
        _fixes,
        ("type", "outcome"),
    ),
    _family(
        "deliveries_total",
        "Location frames for clients: a fix once for each client that gets it.",
        _number("frames", "queued"),
    ),
    _family(
        "deliveries_conflated_total",
        "Location frames that a newer one replaced because a client did not keep up.",
        _number("frames", "conflated"),
    ),
    _family("clients_lagging", "Clients that do not keep up now.", _number("clients", "lagging")),
    _family(
        "client_lag_seconds",
        "How long the client furthest behind has not kept up.",
        _number("clients", "lag"),
    ),
    _family(
        "deliveries_waiting",
        "Location frames that wait for clients whose connection takes none now.",
        _number("clients", "waiting"),
    ),
    _family(
        "refusals_total",
        "Refused calls, events and connections, by the error's code.",
        _refusals,
        ("code",),
    ),
    _family(
        "plugin_problems_total",
        "Failures of plugins: failed, timed out, blocked the loop, or too slow.",
        _plugin_problems,
        ("plugin", "problem"),
    ),
    _family(
        "incidents_total",
        "What else went wrong and was survived, by kind.",
        _incidents,
        ("kind",),
    ),
    _family(
        "backlog_entities",
        "Entities whose newest fix waits to be cached or passed on.",
        _number("backlog", "waiting"),
    ),
    _family(
        "backlog_superseded_total",
        "Fixes that could not be passed on before the entity's next.",
        _number("backlog", "superseded"),
    ),
    _family(
        "backlog_dropped_total",
        "Fixes that were dropped because too many entities waited.",
        _number("backlog", "dropped"),
    ),
    _family(
        "resyncs_total",
        "Gaps after which the watchers were brought up to date.",
        _number("resync", "runs"),
    ),
    _family(
        "resync_entities_total",
        "Entities whose watchers were behind after a gap.",
        _number("resync", "entities"),
    ),
    _family(
        "redis_pending_commands",
        "Commands that wait for Redis to answer.",
        _number("redis", "pending"),
    ),
    _family(
        "redis_reconnects_total",
        "Connections for commands that had to be made anew.",
        _number("redis", "reconnects"),
    ),
    _family(
        "redis_cluster_primaries",
        "Nodes of the cluster with slots that are known here.",
        _number("redis", "primaries"),
    ),
    _family("fanout_channels", "Channels that are subscribed.", _number("fanout", "channels")),
    _family(
        "fanout_lag_seconds",
        "How far the watchers here are behind what is published, by Redis's last sign of life.",
        _number("fanout", "lag"),
    ),
    _family(
        "fanout_reconnects_total",
        "Connections of the subscriber that were lost.",
        _number("fanout", "reconnects"),
    ),
    _family(
        "statistic",
        "Further numbers, of backends and layers of plugins, by part and name.",
        _others,
        ("part", "name"),
    ),
)
"""The metrics of each process; all have the label ``worker`` besides."""

ENTITIES = PREFIX + "entities"
ENTITIES_MEANING = (
    "Entities whose current location is known, on all servers together, by entity type."
)
"""The one metric that is not a process's own: it has no ``worker``."""
