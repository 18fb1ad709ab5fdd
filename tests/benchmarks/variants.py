"""Runs servers of this package that differ in one thing, in turns, and shows them in a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

import attrs

import atriz_realtime.cli.main
from tests.benchmarks.__main__ import run
from tests.benchmarks.contestants import CONTESTANTS, Contestant
from tests.benchmarks.page import write_section
from tests.benchmarks.results import Results
from tests.benchmarks.scenario import FULL, SHORT, Scenario

SERVE = "--serve"


@attrs.frozen
class Variants:
    """Servers that are compared under one load.

    :param module: the module that runs them.
    :param section: the part of docs/benchmarks.md that shows them.
    :param scenario: the load.
    :param titles: the servers' titles by name.
    :param change: makes this process, which runs ``serve`` afterwards, one of the servers.
    :param summary: the table.
    :param others: servers that run besides.
    """

    module: str
    section: str
    scenario: Scenario
    titles: Mapping[str, str]
    change: Callable[[str], None]
    summary: Callable[[Results], str]
    others: Sequence[Contestant] = ()

    @property
    def contestants(self) -> Sequence[Contestant]:
        """The servers."""
        ours = CONTESTANTS[0].environment
        command = (sys.executable, "-m", self.module, SERVE)
        made = (
            Contestant(name, title, (*command, name), ours) for name, title in self.titles.items()
        )
        return (*made, *self.others)

    def main(self, description: str | None, arguments: Sequence[str] | None = None) -> None:
        """Run every server in turns, and print a table; or run one of the servers."""
        parser = argparse.ArgumentParser(f"python -m {self.module}", description=description)
        parser.add_argument("--runs", type=int, default=5, help="default: 5")
        parser.add_argument("--short", action="store_true", help="seconds instead of minutes")
        parser.add_argument(
            "--write", action="store_true", help="bring docs/benchmarks.md up to date"
        )
        parser.add_argument(SERVE, choices=self.titles, help=argparse.SUPPRESS)
        options = parser.parse_args(arguments)
        if options.serve:
            self.change(options.serve)
            sys.argv[1:] = ["serve"]
            atriz_realtime.cli.main.main()
            return
        length = SHORT if options.short else FULL
        results = run([self.scenario], self.contestants, options.runs, length)
        shown = self.summary(results)
        if options.write:
            made = f"{options.runs} {'short ' if results.short else ''}runs"
            write_section(
                self.section, f"Medians of {made} on {results.machine['Date']}:\n\n{shown}"
            )
        print(shown)
