"""What the fast HTTP path saves: ``python -m tests.benchmarks.http_path``.

The ingest load on three servers in turns: with uvicorn's own HTTP protocol, with endpoints
answered without ASGI, and with their request heads cached as well.
"""

from __future__ import annotations

from functools import partial

from atriz_realtime import RealtimeServer
from atriz_realtime.http import connection
from tests.benchmarks.results import Results, shown
from tests.benchmarks.scenarios import SCENARIOS
from tests.benchmarks.variants import Variants
from tests.support.docs.tables import table

TITLES = {
    "uvicorn": "uvicorn's own HTTP protocol",
    "endpoints": "endpoints without ASGI",
    "cached": "and their heads cached",
}
"""The servers, each with what the one before lacks."""

(INGEST,) = (each for each in SCENARIOS if each.name == "ingest")


def change(name: str) -> None:
    """Make this process one of the servers."""
    if name == "uvicorn":
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

        setattr(RealtimeServer, "http_protocol", lambda *_: HttpToolsProtocol)  # noqa: B010
    elif name == "endpoints":
        connection.MAX_HEAD_MISSES = 0


def summary(results: Results) -> str:
    """The medians, and what each server saves of the CPU of the one before."""
    median = partial(results.median, INGEST.name)
    rows: list[tuple[str, ...]] = []
    before: float | None = None
    for name, title in TITLES.items():
        cpu = median(name, "cpu")
        saved = shown((1 - cpu / before) * 100) if cpu and before else ""
        rates = [shown(median(name, key)) for key in ("rate", "waited")]
        rows.append((title, shown(cpu), saved, *rates))
        before = cpu
    titles = [figure.title for figure in INGEST.figures if figure.key in ("cpu", "rate", "waited")]
    return table(("", titles[0], "% saved of the row above", *titles[1:]), rows)


VARIANTS = Variants("tests.benchmarks.http_path", "http path", INGEST, TITLES, change, summary)

if __name__ == "__main__":
    VARIANTS.main(__doc__)
