"""The results of the runs: medians, ratios, and their file format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import attrs

from tests.benchmarks.scenario import Figures

OURS = "atriz"


@attrs.frozen
class Results:
    """The figures of every run."""

    machine: dict[str, str]
    short: bool = False
    """Whether the runs were short."""
    runs: dict[str, dict[str, list[Figures]]] = attrs.field(factory=dict)
    """By scenario and contestant; runs with the same index were made one after another.
    A failed run has no figures."""

    def add(self, scenario: str, contestant: str, figures: Figures) -> None:
        """Record one run."""
        self.runs.setdefault(scenario, {}).setdefault(contestant, []).append(figures)

    def median(self, scenario: str, contestant: str, key: str) -> float | None:
        """The median of the runs, or ``None`` without runs."""
        runs = self.runs.get(scenario, {}).get(contestant, [])
        values = [run[key] for run in runs if key in run]
        return median(values) if values else None

    def ratio(self, scenario: str, contestant: str, key: str) -> float | None:
        """The ratio of ours to another's: the median of the ratios within each run."""
        both = self.runs.get(scenario, {})
        pairs = zip(both.get(OURS, []), both.get(contestant, []), strict=False)
        ratios = [
            ours[key] / theirs[key] for ours, theirs in pairs if key in ours and theirs.get(key)
        ]
        return median(ratios) if ratios else None

    def counts(self) -> dict[str, int]:
        """How often each contestant ran a scenario at least."""
        counts: dict[str, int] = {}
        for contestants in self.runs.values():
            for contestant, runs in contestants.items():
                counts[contestant] = min(len(runs), counts.get(contestant, len(runs)))
        return counts

    def save(self, path: Path) -> None:
        """Write the results to a file."""
        path.write_text(json.dumps(attrs.asdict(self), indent=1) + "\n")


def load(paths: Sequence[Path]) -> Results:
    """Read saved results; the figures of later files are added to those of the first."""
    first, *others = (Results(**json.loads(path.read_text())) for path in paths)
    for other in others:
        for scenario, contestants in other.runs.items():
            for contestant, runs in contestants.items():
                for figures in runs:
                    first.add(scenario, contestant, figures)
    return first


def shown(value: float | None) -> str:
    """A figure with three digits, or with all digits of its integer part."""
    if value is None:
        return "–"  # noqa: RUF001
    digits = 0 if abs(value) >= 100 or value == 0 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}".replace("-", "−")  # noqa: RUF001
