"""Encodes reports in the formats that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from atriz_realtime.api import ProcessReport
from atriz_realtime.defaults.metrics.families import ENTITIES, ENTITIES_MEANING, FAMILIES, Family


class Snapshot(Collector):
    """The metrics of one scrape."""

    def __init__(self, reports: Sequence[ProcessReport], entities: Mapping[str, int]) -> None:
        self._reports = reports
        self._entities = entities

    def collect(self) -> Iterator[Metric]:
        """Every family with at least one sample."""
        for family in FAMILIES:
            metric = _metric(family)
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


def _metric(family: Family) -> CounterMetricFamily | GaugeMetricFamily:
    labels = ["worker", *family.labels]
    if family.kind == "counter":
        return CounterMetricFamily(family.name, family.meaning, labels=labels)
    return GaugeMetricFamily(family.name, family.meaning, labels=labels)


def exposition(
    reports: Sequence[ProcessReport], entities: Mapping[str, int], accept: str
) -> tuple[bytes, str]:
    """Encode the metrics in a format that the scraper accepts; also returns its media type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Snapshot(reports, entities))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type
