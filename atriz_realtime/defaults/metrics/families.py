"""Every metric: its name, its kind, its meaning, and how to read it from a report.

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
"""The values of a family's own labels, and the number."""


@attrs.frozen
class Family:
    """One metric, with all its label values."""

    name: str
    """The full name in Prometheus."""
    kind: Literal["counter", "gauge"]
    """A counter starts at 0 with the process and only grows."""
    meaning: str
    """Its HELP text."""
    read: Callable[[ProcessReport], Iterable[Sample]]
    """Reads its samples from a process's report."""
    labels: tuple[str, ...] = ()
    """Its labels besides ``worker``."""


FIXES = "fixes "
"""The prefix of the parts that count the fixes of an entity type."""

PLUGIN_LABELS = ("plugin", "problem")
"""The labels of incidents that are a plugin's fault; those of refusals have ``code`` alone."""

_known: set[tuple[str, str]] = set()
"""Parts and numbers with a metric of their own."""


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
    """The codes of all errors that callers may get, those of plugins included."""
    if not issubclass(error, ConfigurationError):  # it stops the start, and reaches no caller
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
        "The start of the process, in seconds since the epoch.",
        _field("started_at"),
    ),
    _family("cpu_seconds_total", "Processor time that the process has used.", _field("cpu")),
    _family("resident_memory_bytes", "Memory that the process holds.", _field("memory")),
    _family(
        "backend_connected",
        "1 while the backends answer, 0 while Redis is away.",
        _field("connected"),
    ),
    _family("connections", "Connected sockets.", _field("connections")),
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
        "Location frames for clients; a fix counts once for each client that gets it.",
        _number("frames", "queued"),
    ),
    _family(
        "deliveries_conflated_total",
        "Location frames that a newer one replaced because a client lagged.",
        _number("frames", "conflated"),
    ),
    _family("clients_lagging", "Clients that lag now.", _number("clients", "lagging")),
    _family(
        "client_lag_seconds",
        "Seconds that the client furthest behind has lagged.",
        _number("clients", "lag"),
    ),
    _family(
        "deliveries_waiting",
        "Location frames queued for clients whose socket is full.",
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
        "Other failures that the server recovered from, by kind.",
        _incidents,
        ("kind",),
    ),
    _family(
        "backlog_entities",
        "Entities whose newest fix waits to be cached or published.",
        _number("backlog", "waiting"),
    ),
    _family(
        "backlog_superseded_total",
        "Fixes that a newer one of the entity replaced before they could be published.",
        _number("backlog", "superseded"),
    ),
    _family(
        "backlog_dropped_total",
        "Fixes that were dropped because the backlog was full.",
        _number("backlog", "dropped"),
    ),
    _family(
        "resyncs_total",
        "Gaps after which the watchers were brought up to date.",
        _number("resync", "runs"),
    ),
    _family(
        "resync_entities_total",
        "Entities whose watchers had missed a fix in a gap.",
        _number("resync", "entities"),
    ),
    _family(
        "redis_pending_commands",
        "Commands that Redis has not answered yet.",
        _number("redis", "pending"),
    ),
    _family(
        "redis_reconnects_total",
        "Reconnections of the connection for commands.",
        _number("redis", "reconnects"),
    ),
    _family(
        "redis_cluster_primaries",
        "Known nodes of the cluster that have slots.",
        _number("redis", "primaries"),
    ),
    _family("fanout_channels", "Subscribed channels.", _number("fanout", "channels")),
    _family(
        "fanout_lag_seconds",
        "Seconds by which this server is behind Redis, from the last PONG.",
        _number("fanout", "lag"),
    ),
    _family(
        "fanout_reconnects_total",
        "Lost connections of subscribers.",
        _number("fanout", "reconnects"),
    ),
    _family(
        "statistic",
        "Other statistics, of backends and fan-out layers, by part and name.",
        _others,
        ("part", "name"),
    ),
)
"""The metrics of each process; each has the label ``worker`` as well."""

ENTITIES = PREFIX + "entities"
ENTITIES_MEANING = "Entities with a current location, on all servers together, by entity type."
"""The one metric of the whole cluster, without the label ``worker``."""
