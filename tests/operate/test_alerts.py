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
    of_server = {
        f'{name}{{instance="{SERVER}",worker="{worker}"}}': values
        for (name, worker), values in series.items()
    }
    check(promtool, tmp_path, of_server, "RealtimeRestarts", {"29m45s": fires}, {})


HANGS = "atriz_realtime_worker_hangs_total"
WORKERS = "atriz_realtime_workers"


@pytest.mark.parametrize(
    ("starts", "fires"),
    [
        ((recorded((30, 0)), recorded((30, 0))), False),
        ((recorded((30, 0)), recorded((10, 0), (20, "_"))), True),
        ((recorded((30, 0)), recorded((28, 0), (1, "_"), (1, 1740))), False),
    ],
    ids=["all answer", "one does not", "one is replaced"],
)
def test_a_worker_that_does_not_answer_is_noticed(
    promtool: str, tmp_path: Path, starts: tuple[Values, Values], fires: bool
) -> None:
    series = {
        f'{STARTED}{{instance="{SERVER}",worker="{worker}"}}': values
        for worker, values in enumerate(starts)
    }
    series[f'{WORKERS}{{instance="{SERVER}",worker="0"}}'] = recorded((30, 2))
    check(promtool, tmp_path, series, "RealtimeWorkerMissing", {"29m45s": fires}, {})


def test_a_worker_that_hung_is_a_ticket_for_an_hour(promtool: str, tmp_path: Path) -> None:
    series = {
        f'{HANGS}{{instance="{SERVER}",worker="0"}}': recorded((140, 0)),
        f'{HANGS}{{instance="{SERVER}",worker="1"}}': recorded((10, 0), (1, "_"), (129, 1)),
    }
    fires = {"9m": False, "12m": True, "65m": True, "80m": False}
    check(promtool, tmp_path, series, "RealtimeWorkerHung", fires, {})


PROBLEMS = "atriz_realtime_plugin_problems_total"
INCIDENTS = "atriz_realtime_incidents_total"
TASKS = "atriz_realtime_plugin_failed_tasks"

FAILED = {"plugin": "crews", "problem": "failed"}
BLOCKED = {"plugin": "crews", "problem": "blocked the loop"}
ENDPOINT = {"kind": "endpoint failed"}
REFUSED = {"kind": "request refused"}
POLL = {"plugin": "crews", "task": "poll"}

ONCE_AT_10 = recorded((10, "_"), (120, 1))
FOURTH_AT_70 = recorded((70, 3), (100, 4))
ONCE_AFTER_A_RESTART = recorded((10, 5), (80, "_"), (20, 1))
ONCE_LONG_AGO_AND_SCRAPES_MISSED = recorded((70, 3), (3, "_"), (90, 3))
EVERY_MINUTE = recorded(*((1, count) for count in range(20)))
"""Each begins with a value that Prometheus has not seen before."""


@pytest.mark.parametrize(
    ("metric", "labels", "values", "alert", "fires"),
    [
        (PROBLEMS, FAILED, ONCE_AT_10, "RealtimePluginFailed",
         {"9m": False, "12m": True, "65m": True, "80m": False}),
        (PROBLEMS, FAILED, ONCE_AT_10, "RealtimePluginFails", {"12m": False, "30m": False}),
        (PROBLEMS, FAILED, FOURTH_AT_70, "RealtimePluginFailed",
         {"69m": False, "72m": True, "125m": True, "135m": False}),
        (PROBLEMS, FAILED, ONCE_AFTER_A_RESTART, "RealtimePluginFailed",
         {"85m": False, "95m": True}),
        (PROBLEMS, FAILED, ONCE_LONG_AGO_AND_SCRAPES_MISSED, "RealtimePluginFailed",
         {"75m": False, "132m": False, "135m": False}),
        (PROBLEMS, BLOCKED, ONCE_AT_10, "RealtimePluginFailed", {"12m": False}),
        (PROBLEMS, FAILED, EVERY_MINUTE, "RealtimePluginFails", {"5m": False, "15m": True}),
        (INCIDENTS, ENDPOINT, ONCE_AT_10, "RealtimeHandlerFailed",
         {"9m": False, "12m": True, "80m": False}),
        (INCIDENTS, ENDPOINT, FOURTH_AT_70, "RealtimeHandlerFailed",
         {"69m": False, "72m": True, "135m": False}),
        (INCIDENTS, REFUSED, ONCE_AT_10, "RealtimeHandlerFailed", {"12m": False}),
        (TASKS, POLL, recorded((10, "_"), (20, 1), (20, "_")), "RealtimePluginTaskFailed",
         {"10m": False, "12m": True, "29m": True, "38m": False}),
    ],
)  # fmt: skip
def test_a_single_failure_is_a_ticket_and_what_stays_broken_a_page(
    promtool: str,
    tmp_path: Path,
    metric: str,
    labels: Mapping[str, str],
    values: Values,
    alert: str,
    fires: Mapping[str, bool],
) -> None:
    shown = ",".join(f'{name}="{value}"' for name, value in labels.items())
    series = {f'{metric}{{instance="{SERVER}",worker="0",{shown}}}': values}
    check(promtool, tmp_path, series, alert, fires, labels)


def check(
    promtool: str,
    tmp_path: Path,
    series: Mapping[str, Values],
    alert: str,
    fires: Mapping[str, bool],
    labels: Mapping[str, str],
) -> None:
    """Check at which times an alert fires.

    :param labels: those of the alert, besides the server and the severity.
    """
    alerts = (SHIPPED / "alerts.yml").read_text()
    (tmp_path / "alerts.yml").write_text(alerts)
    case = {
        "rule_files": ["alerts.yml"],
        "tests": [
            {
                "interval": "15s",
                "input_series": [
                    {"series": name, "values": " ".join(values)} for name, values in series.items()
                ],
                "alert_rule_test": [
                    {
                        "eval_time": time,
                        "alertname": alert,
                        "exp_alerts": [expected(alerts, alert, labels)] if is_firing else [],
                    }
                    for time, is_firing in fires.items()
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


def expected(alerts: str, alert: str, labels: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
    """An alert of the server."""
    rule = alerts.partition(f"- alert: {alert}\n")[2].partition("- alert: ")[0]
    annotations = dict(re.findall(r"^ +(summary|runbook_url): \"(.+)\"$", rule, re.MULTILINE))
    labels = {"instance": SERVER, **labels}
    shown = {
        name: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda label: labels[label[1]], text)
        for name, text in annotations.items()
    }
    severity = "ticket" if "severity: ticket" in rule else "page"
    return {"exp_labels": {"severity": severity, **labels}, "exp_annotations": shown}


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
