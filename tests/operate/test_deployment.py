"""The files that ``deployment`` writes: every metric in them exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from atriz_realtime.defaults.metrics.families import ENTITIES, FAMILIES
from tests.cli.processes import finished

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "atriz_realtime" / "deployment"
DASHBOARD = SHIPPED / "grafana-dashboard.json"
NAMES = {ENTITIES, *(family.name for family in FAMILIES)}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def queries() -> list[str]:
    """All queries of the dashboard."""
    return [target["expr"] for panel in panels() for target in panel.get("targets", ())]


async def test_existing_files_are_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "ops"
    done = await finished("deployment", str(folder))
    shipped = {path.name: path.read_bytes() for path in SHIPPED.iterdir()}
    assert (done.status, done.err) == (0, "")
    assert {Path(line).name for line in done.out.splitlines()} == shipped.keys()
    assert {path.name: path.read_bytes() for path in contents(folder)} == shipped
    (folder / "environment").write_text("JWT_SECRET=ours")
    done = await finished("deployment", str(folder))
    assert done.status == 0
    assert done.err.count("exists already") == len(shipped)
    assert (folder / "environment").read_text() == "JWT_SECRET=ours"


def contents(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.mark.parametrize(
    "file",
    [DASHBOARD, SHIPPED / "alerts.yml", ROOT / "docs" / "operate" / "metrics.md"],
    ids=lambda path: path.name,
)
def test_every_queried_metric_exists(file: Path) -> None:
    asked = set(re.findall(r"\batriz_realtime_\w+", file.read_text()))
    assert asked
    assert asked - NAMES == set()


def test_the_dashboard_shows_every_common_metric() -> None:
    shown = DASHBOARD.read_text()
    assert {name.removeprefix("atriz_realtime_") for name in NAMES if name not in shown} == {
        "cache_dropped_total",
        "cache_entries",
        "redis_cluster_primaries",
        "statistic",
    }


def test_only_counters_are_queried_as_rates() -> None:
    kinds = {family.name: family.kind for family in FAMILIES}
    for query in queries():
        for function, name in re.findall(r"(\w+)\((atriz_realtime_\w+)", query):
            is_rate = function in ("rate", "increase")
            assert is_rate == (kinds.get(name) == "counter"), query


def test_panels_do_not_overlap_and_have_descriptions() -> None:
    places: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    for panel in panels():
        place = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & places, panel["title"]
        assert place["x"] + place["w"] <= 24
        places |= taken
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"]["uid"] == "${datasource}"
