"""Every metric: its name, its meaning, how to read it from a report, and its encoding.

Names follow https://prometheus.io/docs/practices/naming/: base units, counters end in
``_total``.  Labels are bounded: types come from the registry, codes and kinds are few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import attrs
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from atriz_realtime.api import ConfigurationError, ProcessReport, RealtimeError

PREFIX = "atriz_realtime_"

Sample = tuple[tuple[str, ...], float]
"""The values of a family's own labels, and the number."""


@attrs.frozen
class Family:
    """One metric, with all its label values."""

    suffix: str
    """Its name without the prefix of the package."""
    meaning: str
    """Its HELP text."""
    read: Callable[[ProcessReport], Iterable[Sample]]
    """Reads its samples from a process's report."""
    labels: tuple[str, ...] = ()
    """Its labels besides ``worker``."""

    @property
    def name(self) -> str:
        """Its full name in Prometheus."""
        return PREFIX + self.suffix

    @property
    def kind(self) -> Literal["counter", "gauge"]:
        """A counter starts at 0 with the process and only grows."""
        return "counter" if self.suffix.endswith("_total") else "gauge"


FIXES = "fixes "
"""The prefix of the parts that count the fixes of an entity type."""

RECORDER = "recorder "
"""The prefix of the parts that count what a recorder has written."""

PLUGIN_LABELS = ("plugin", "problem")
"""The labels of incidents that are a plugin's fault; those of refusals have ``code`` alone."""

_known: set[tuple[str, str]] = set()
"""Parts and numbers with a metric of their own."""


def _field(name: str) -> Callable[[ProcessReport], Iterable[Sample]]:
    return lambda report: [((), float(getattr(report, name)))]


def _numbers(part: str, **families: tuple[str, str]) -> Iterator[Family]:
    """The families of one part of the statistics: a name and a meaning for each of its numbers."""
    for number, (suffix, meaning) in families.items():
        _known.add((part, number))
        yield Family(suffix, meaning, partial(_read_number, part, number))


def _read_number(part: str, number: str, report: ProcessReport) -> Iterator[Sample]:
    numbers = report.statistics.get(part, {})
    if number in numbers:
        yield (), numbers[number]


def _build(report: ProcessReport) -> Iterator[Sample]:
    yield (report.version,), 1.0


def _fixes(report: ProcessReport) -> Iterator[Sample]:
    for part, numbers in report.statistics.items():
        if part.startswith(FIXES):
            for outcome, count in numbers.items():
                yield (part.removeprefix(FIXES), outcome), count


def _of_recorders(number: str, report: ProcessReport) -> Iterator[Sample]:
    for part, numbers in report.statistics.items():
        if part.startswith(RECORDER) and number in numbers:
            yield (part.removeprefix(RECORDER),), numbers[number]


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


def _failed_tasks(report: ProcessReport) -> Iterator[Sample]:
    for failed in report.failed_tasks:
        yield (failed["plugin"], failed["task"]), 1.0


def _incidents(report: ProcessReport) -> Iterator[Sample]:
    for kind, labels, count in report.labelled_incidents:
        if labels.keys() not in ({"code"}, set(PLUGIN_LABELS)):
            yield (kind.format(**labels) if labels else kind,), count


def _others(report: ProcessReport) -> Iterator[Sample]:
    for part, numbers in report.statistics.items():
        if part == "refusals" or part.startswith((FIXES, RECORDER)):
            continue
        for name, value in numbers.items():
            if (part, name) not in _known:
                yield (part, name), value


FAMILIES = (
    Family("build_info", "The version that the process runs; always 1.", _build, ("version",)),
    Family(
        "start_time_seconds",
        "The start of the process, in seconds since the epoch.",
        _field("started_at"),
    ),
    Family(
        "worker_deaths_total",
        "Deaths of the worker since the parent process was started.",
        _field("deaths"),
    ),
    Family(
        "worker_hangs_total",
        "Deaths of the worker that were its parent's doing, because its event loop stood still.",
        _field("hangs"),
    ),
    Family(
        "workers",
        "Workers that the server was started with; the same for each.",
        _field("workers"),
    ),
    Family("cpu_seconds_total", "Processor time that the process has used.", _field("cpu")),
    Family("resident_memory_bytes", "Memory that the process holds.", _field("memory")),
    Family("open_files", "Files and connections that the process has open.", _field("open_files")),
    Family("max_open_files", "How many it may have open.", _field("max_open_files")),
    Family(
        "backend_connected",
        "1 while the backends answer, 0 while Redis is away.",
        _field("connected"),
    ),
    Family("connections", "Connected sockets.", _field("connections")),
    Family("rooms", "Rooms with a member, each socket's own room included.", _field("rooms")),
    Family(
        "fixes_total",
        "Fixes that were accepted here, by entity type and outcome: published, throttled, held "
        "or dropped by a filter.",
        _fixes,
        ("type", "outcome"),
    ),
    *_numbers(
        "frames",
        queued=(
            "deliveries_total",
            "Location frames for clients; a fix counts once for each client that gets it.",
        ),
        conflated=(
            "deliveries_conflated_total",
            "Location frames that a newer one replaced because a client lagged.",
        ),
    ),
    *_numbers(
        "clients",
        lagging=("clients_lagging", "Clients that lag now."),
        lag=("client_lag_seconds", "Seconds that the client furthest behind has lagged."),
        waiting=("deliveries_waiting", "Location frames queued for clients whose socket is full."),
    ),
    Family(
        "refusals_total",
        "Refused calls, events and connections, by the error's code.",
        _refusals,
        ("code",),
    ),
    Family(
        "plugin_problems_total",
        "Failures of plugins: failed, timed out, blocked the loop, or too slow.",
        _plugin_problems,
        ("plugin", "problem"),
    ),
    Family(
        "plugin_failed_tasks",
        "1 for a background task of a plugin that has ended with an error and was not started "
        "again.",
        _failed_tasks,
        ("plugin", "task"),
    ),
    Family(
        "incidents_total",
        "Other failures that the server recovered from, by kind.",
        _incidents,
        ("kind",),
    ),
    *_numbers(
        "backlog",
        waiting=("backlog_entities", "Entities whose newest fix waits to be cached or published."),
        superseded=(
            "backlog_superseded_total",
            "Fixes that a newer one of the entity replaced before they could be published.",
        ),
        dropped=("backlog_dropped_total", "Fixes that were dropped because the backlog was full."),
    ),
    *_numbers(
        "resync",
        runs=("resyncs_total", "Gaps after which the watchers were brought up to date."),
        entities=("resync_entities_total", "Entities whose watchers had missed a fix in a gap."),
    ),
    *_numbers(
        "last known",
        waiting=(
            "last_known_waiting",
            "Entities whose last known location waits to be written.",
        ),
        written=("last_known_written_total", "Last known locations that were written."),
        failed=(
            "last_known_failed_total",
            "Attempts to write a last known location that failed; it is tried again.",
        ),
        dropped=(
            "last_known_dropped_total",
            "Last known locations that were dropped because too many waited to be written.",
        ),
    ),
    *_numbers(
        "cache",
        entries=("cache_entries", "Current locations in this process, without Redis."),
        bytes=("cache_bytes", "Bytes that current locations take in this process, without Redis."),
        last_known_entries=(
            "cache_last_known_entries",
            "Last known locations in this process, without Redis.",
        ),
        last_known_bytes=(
            "cache_last_known_bytes",
            "Bytes that last known locations take in this process, without Redis.",
        ),
        dropped=(
            "cache_dropped_total",
            "Locations that were dropped from this process over a limit.",
        ),
    ),
    *_numbers(
        "journal",
        entries=("journal_entries", "Fixes in the journal that some recorder has not written."),
        waiting=("journal_waiting", "Fixes that wait for the recorder that is furthest behind."),
        lag=("journal_lag_seconds", "Age of the oldest fix that waits for a recorder."),
        lost=("journal_lost_total", "Fixes that were dropped before a recorder had written them."),
    ),
    *_numbers(
        "journaling",
        appended=("journal_appended_total", "Fixes that this process appended to the journal."),
        waiting=("journal_queue", "Fixes that wait in this process because the journal is away."),
        waiting_bytes=("journal_queue_bytes", "Bytes of these fixes."),
        dropped=("journal_queue_dropped_total", "Such fixes that were dropped."),
    ),
    Family(
        "recorder_written_total",
        "Fixes that a recorder has written in this process.",
        partial(_of_recorders, "written"),
        ("recorder",),
    ),
    Family(
        "recorder_batches_total",
        "Batches that a recorder has written in this process.",
        partial(_of_recorders, "batches"),
        ("recorder",),
    ),
    Family(
        "recorder_failed_batches_total",
        "Batches that a recorder has failed to write, or not written in time.",
        partial(_of_recorders, "failed"),
        ("recorder",),
    ),
    *_numbers(
        "authenticator jwt",
        remembered=("remembered_tokens", "Tokens that are verified already."),
        bytes=(
            "remembered_tokens_bytes",
            "Bytes of the tokens that are verified already, and of their claims.",
        ),
    ),
    *_numbers(
        "http",
        cached_heads=(
            "cached_heads_bytes",
            "Bytes of the request heads that connections have cached.",
        ),
        arriving=("arriving_bodies_bytes", "Bytes of request bodies that have not come whole."),
        handled=("handled_bodies_bytes", "Bytes of request bodies that wait for their answers."),
        unread=("unread_answers_bytes", "Bytes of answers that clients have not read."),
    ),
    *_numbers(
        "redis",
        pending=("redis_pending_commands", "Commands that Redis has not answered yet."),
        reconnects=("redis_reconnects_total", "Reconnections of the connection for commands."),
        primaries=("redis_cluster_primaries", "Known nodes of the cluster that have slots."),
    ),
    *_numbers(
        "fanout",
        channels=("fanout_channels", "Subscribed channels."),
        lag=(
            "fanout_lag_seconds",
            "Seconds by which this server is behind Redis, from the last PONG.",
        ),
        reconnects=("fanout_reconnects_total", "Lost connections of subscribers."),
    ),
    Family(
        "statistic",
        "Other statistics, of backends, layers and other parts of plugins, by part and name.",
        _others,
        ("part", "name"),
    ),
)
"""The metrics of each process; each has the label ``worker`` as well."""

ENTITIES = PREFIX + "entities"
ENTITIES_MEANING = "Entities with a current location, on all servers together, by entity type."
"""The one metric of the whole cluster, without the label ``worker``."""


class Snapshot(Collector):
    """The metrics of one scrape."""

    def __init__(self, reports: Sequence[ProcessReport], entities: Mapping[str, int]) -> None:
        self._reports = reports
        self._entities = entities

    def collect(self) -> Iterator[Metric]:
        """Every family with at least one sample."""
        for family in FAMILIES:
            labels = ["worker", *family.labels]
            metric: CounterMetricFamily | GaugeMetricFamily
            if family.kind == "counter":
                metric = CounterMetricFamily(family.name, family.meaning, labels=labels)
            else:
                metric = GaugeMetricFamily(family.name, family.meaning, labels=labels)
            for report in self._reports:
                worker = str(report.worker)
                for values, number in family.read(report):
                    metric.add_metric([worker, *values], number)
            if metric.samples:
                yield metric
        if self._entities:
            known = GaugeMetricFamily(ENTITIES, ENTITIES_MEANING, labels=["type"])
            for name, count in self._entities.items():
                known.add_metric([name], count)
            yield known


def exposition(
    reports: Sequence[ProcessReport], entities: Mapping[str, int], accept: str
) -> tuple[bytes, str]:
    """Encode the metrics in a format that the scraper accepts; also returns its media type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Snapshot(reports, entities))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type
