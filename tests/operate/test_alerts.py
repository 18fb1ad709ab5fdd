"""Alerts over series as Prometheus records them, evaluated by promtool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from itertools import chain, repeat
from pathlib import Path

import pytest

SHIPPED = Path(__file__).parents[2] / "atriz_realtime" / "deployment"

SERVER = "realtime-1:3001"

DEATHS = "atriz_realtime_worker_deaths_total"
STARTED = "atriz_realtime_start_time_seconds"

MINUTE = 4
"""Scrapes."""

Values = list[str]
Series = Mapping[tuple[str, int], Values]
"""The values of a metric of a worker, by name and number, one for each scrape of half an hour."""


def recorded(*steps: tuple[int, object]) -> Values:
    """A value and the number of minutes that it holds, for each; ``_`` stands for no sample."""
    values: Iterable[str] = chain.from_iterable(
        repeat(str(value), minutes * MINUTE) for minutes, value in steps
    )
    return list(values)


def of_workers(deaths: Mapping[int, Values], starts: Mapping[int, Values]) -> Series:
    """The series of a server."""
    return {
        **{(DEATHS, worker): values for worker, values in deaths.items()},
        **{(STARTED, worker): values for worker, values in starts.items()},
    }


def died(minute: int, start: int = 0) -> tuple[Values, Values]:
    """The deaths, and the start time, of a worker that died once in that minute."""
    return (
        recorded((minute, 0), (30 - minute, 1)),
        recorded((minute, start), (30 - minute, start + 60 * minute)),
    )


def dying(*minutes: int, workers: int = 4) -> Series:
    """Each of the first workers dies once, in the minute that is given for it."""
    quiet = recorded((30, 0)), recorded((30, 0))
    each = [died(minute) for minute in minutes] + [quiet] * (workers - len(minutes))
    return of_workers(
        {worker: deaths for worker, (deaths, _) in enumerate(each)},
        {worker: starts for worker, (_, starts) in enumerate(each)},
    )


ONE_DIES_AGAIN_AND_AGAIN = of_workers(
    {0: recorded((30, 0)), 1: recorded((5, 0), (5, 1), (5, 2), (15, 3))},
    {0: recorded((30, 0)), 1: recorded((5, 0), (5, 300), (5, 600), (15, 900))},
)

# the second one brings the first numbers back; one worker had died before each
TWO_ROLLING_RESTARTS = of_workers(
    {
        0: recorded((10, 1), (10, "_"), (10, 0)),
        1: recorded((10, 0), (10, "_"), (10, 0)),
        2: recorded((10, "_"), (5, 0), (5, 1), (10, "_")),
        3: recorded((10, "_"), (10, 0), (10, "_")),
    },
    {
        0: recorded((10, 0), (10, "_"), (10, 1200)),
        1: recorded((10, 0), (10, "_"), (10, 1200)),
        2: recorded((10, "_"), (5, 600), (5, 900), (10, "_")),
        3: recorded((10, "_"), (10, 600), (10, "_")),
    },
)

ONE_FULL_RESTART = of_workers(
    {worker: recorded((10, 1), (20, 0)) for worker in range(4)},
    {worker: recorded((10, 0), (20, 600)) for worker in range(4)},
)

A_PROCESS_RESTARTS = of_workers(
    {0: recorded((30, 0))}, {0: recorded((5, 0), (5, 300), (5, 600), (15, 900))}
)


@pytest.mark.parametrize(
    ("series", "fires"),
    [
        (dying(), False),
        (dying(5, 20), False),
        (dying(5, 10, 20), True),
        (dying(5, 10, 15, 20), True),
        (ONE_DIES_AGAIN_AND_AGAIN, True),
        (TWO_ROLLING_RESTARTS, False),
        (ONE_FULL_RESTART, False),
        (A_PROCESS_RESTARTS, True),
    ],
    ids=[
        "quiet",
        "two die",
        "three die once each",
        "all die once each",
        "one dies again and again",
        "two rolling restarts",
        "one full restart",
        "a process without workers restarts",
    ],
)
def test_deaths_count_whichever_worker_it_is(
    promtool: str, tmp_path: Path, series: Series, fires: bool
) -> None:
    alerts = (SHIPPED / "alerts.yml").read_text()
    (tmp_path / "alerts.yml").write_text(alerts)
    case = {
        "rule_files": ["alerts.yml"],
        "tests": [
            {
                "interval": "15s",
                "input_series": [
                    {
                        "series": f'{name}{{instance="{SERVER}",worker="{worker}"}}',
                        "values": " ".join(values),
                    }
                    for (name, worker), values in series.items()
                ],
                "alert_rule_test": [
                    {
                        "eval_time": "29m45s",
                        "alertname": "RealtimeRestarts",
                        "exp_alerts": [expected(alerts)] if fires else [],
                    }
                ],
            }
        ],
    }
    (tmp_path / "case.yml").write_text(json.dumps(case))
    done = subprocess.run(
        [promtool, "test", "rules", "case.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def expected(alerts: str) -> Mapping[str, Mapping[str, str]]:
    """The alert RealtimeRestarts of the server."""
    rule = alerts.partition("- alert: RealtimeRestarts\n")[2].partition("- alert: ")[0]
    annotations = dict(re.findall(r"^ +(summary|runbook_url): \"(.+)\"$", rule, re.MULTILINE))
    shown = {
        name: text.replace("{{ $labels.instance }}", SERVER) for name, text in annotations.items()
    }
    labels = {"severity": "page", "instance": SERVER}
    return {"exp_labels": labels, "exp_annotations": shown}


def test_prometheus_takes_the_files(promtool: str, tmp_path: Path) -> None:
    for name in ("alerts.yml", "prometheus.yml"):
        shutil.copy(SHIPPED / name, tmp_path)
    done = subprocess.run(
        [promtool, "check", "config", "--syntax-only", "prometheus.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
