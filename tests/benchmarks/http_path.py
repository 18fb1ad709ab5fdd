"""What the fast HTTP path saves: ``python -m tests.benchmarks.http_path``.

The ingest load on three servers in turns: with uvicorn's own HTTP protocol, with endpoints
answered without ASGI, and with their request heads cached as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import atriz_realtime.cli.main
from atriz_realtime import RealtimeServer
from atriz_realtime.http import connection
from tests.benchmarks.__main__ import run
from tests.benchmarks.contestants import CONTESTANTS, Contestant
from tests.benchmarks.page import PAGE
from tests.benchmarks.results import Results, shown
from tests.benchmarks.scenario import FULL, SHORT
from tests.benchmarks.scenarios import SCENARIOS
from tests.support.docs.reference import table

BEGIN, END = "<!-- begin: http path -->\n", "<!-- end: http path -->"

SERVE = "--serve"

WITHOUT = {
    "uvicorn": "uvicorn's own HTTP protocol",
    "endpoints": "endpoints without ASGI",
    "cached": "and their heads cached",
}
"""The servers by name, each with what the one before lacks."""

(INGEST,) = (each for each in SCENARIOS if each.name == "ingest")

VARIANTS = tuple(
    Contestant(
        name,
        title,
        (sys.executable, "-m", "tests.benchmarks.http_path", SERVE, name),
        CONTESTANTS[0].environment,
    )
    for name, title in WITHOUT.items()
)


def serve(variant: str) -> None:
    """Run ``atriz-realtime serve`` as one of the servers."""
    if variant == "uvicorn":
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

        setattr(RealtimeServer, "http_protocol", lambda *_: HttpToolsProtocol)  # noqa: B010
    elif variant == "endpoints":
        connection.MAX_HEAD_MISSES = 0
    sys.argv[1:] = ["serve"]
    atriz_realtime.cli.main.main()


def summary(results: Results) -> str:
    """The medians, and what each server saves of the CPU of the one before."""
    median = partial(results.median, INGEST.name)
    rows: list[tuple[str, ...]] = []
    before: float | None = None
    for each in VARIANTS:
        cpu = median(each.name, "cpu")
        saved = shown((1 - cpu / before) * 100) if cpu and before else ""
        rates = [shown(median(each.name, key)) for key in ("rate", "waited")]
        rows.append((each.title, shown(cpu), saved, *rates))
        before = cpu
    titles = [figure.title for figure in INGEST.figures if figure.key in ("cpu", "rate", "waited")]
    return table(("", titles[0], "% saved of the row above", *titles[1:]), rows)


def write(results: Results, runs: int) -> None:
    """Bring the table in docs/benchmarks.md up to date."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    length = "short " if results.short else ""
    made = f"Medians of {runs} {length}runs on {results.machine['Date']}:\n\n{summary(results)}"
    PAGE.write_text(f"{head}{BEGIN}\n{made}\n\n{END}{tail}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every server in turns, and print a table."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.http_path", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="default: 5")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--write", action="store_true", help="bring docs/benchmarks.md up to date")
    parser.add_argument(SERVE, choices=WITHOUT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve)
        return
    results = run([INGEST], VARIANTS, options.runs, SHORT if options.short else FULL)
    if options.write:
        write(results, options.runs)
    print(summary(results))


if __name__ == "__main__":
    main()
