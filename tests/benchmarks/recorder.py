"""What a recorder costs: ``python -m tests.benchmarks.recorder``.

The ingest load on three servers in turns: without a recorder, with one that writes to nothing, and
with one that writes to the SQLite files of the plugin ``history``.  Fixes go through the journal in
Redis, and are read and confirmed by the same server.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from atriz_realtime.api import RecordedFix, Recorder, hookimpl
from tests.benchmarks.results import Results, shown
from tests.benchmarks.scenarios import SCENARIOS
from tests.benchmarks.variants import Variants
from tests.support.docs.tables import table

TITLES = {
    "without": "without a recorder",
    "recorder": "a recorder that writes to nothing",
    "history": "history in SQLite files",
}
"""The servers."""

HISTORY = Path(__file__).parents[2] / "plugins" / "atriz-realtime-history" / "src"

FOLDER = "BENCHMARK_HISTORY"
"""The variable that tells the third server where its files are."""

(INGEST,) = (each for each in SCENARIOS if each.name == "ingest")


@hookimpl
def register_recorders() -> Recorder:
    """Register the recorder; this module is a plugin of all servers but the first."""
    if FOLDER in os.environ:
        sys.path.append(str(HISTORY))
        sqlite = importlib.import_module("atriz_realtime_history.sqlite")
        store = sqlite.SqliteHistory(Path(os.environ[FOLDER]))
        return Recorder("history", store.append, aclose=store.aclose)

    async def record(fixes: Sequence[RecordedFix]) -> None:
        """Write nothing."""

    return Recorder("nothing", record)


def change(name: str) -> None:
    """Make this process one of the servers."""
    if name == "history":
        os.environ[FOLDER] = tempfile.mkdtemp()
    if name != "without":
        os.environ["ATRIZ_REALTIME_EXTRA_PLUGINS"] = "tests.benchmarks.recorder"


def summary(results: Results) -> str:
    """The medians, and the CPU of each server as a multiple of the first's."""
    median = partial(results.median, INGEST.name)
    rows: list[tuple[str, ...]] = []
    first = median("without", "cpu")
    for name, title in TITLES.items():
        cpu = median(name, "cpu")
        ratio = f"{cpu / first:.2f}" if cpu and first else ""
        rates = [shown(median(name, key)) for key in ("rate", "waited")]
        rows.append((title, shown(cpu), ratio, *rates))
    titles = [figure.title for figure in INGEST.figures if figure.key in ("cpu", "rate", "waited")]
    return table(("", titles[0], "times the first", *titles[1:]), rows)


VARIANTS = Variants("tests.benchmarks.recorder", "recorder", INGEST, TITLES, change, summary)

if __name__ == "__main__":
    VARIANTS.main(__doc__)
