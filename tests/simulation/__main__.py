"""``python -m tests.simulation``: many seeds, or one with its history."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict

from tests.simulation.campaign import campaign, deterministically, is_deterministic
from tests.simulation.history import History
from tests.simulation.oracle import judge
from tests.simulation.plan import Plan, make_plan
from tests.simulation.shrink import shrunk
from tests.simulation.world import run


def main(arguments: list[str]) -> int:
    """Simulate; the status is 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many runs to make")
    parser.add_argument("--first", type=int, default=0, help="the first one's seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, help="make one run, and print its history")
    parser.add_argument("--kind", help="shrink that run to what still violates this")
    parser.add_argument("--whole", action="store_true", help="do not shrink it")
    options = parser.parse_args(arguments)
    if not is_deterministic():
        deterministically(arguments)
    if options.seed is not None:
        return _replay(make_plan(options.seed), options.kind, whole=options.whole)
    return _search(range(options.first, options.first + options.seeds), options.jobs)


def _replay(plan: Plan, kind: str | None, *, whole: bool) -> int:
    history = run(plan)
    found = judge(plan, history)
    if found and not whole:
        plan = shrunk(plan, kind or found[0].kind)
        history = run(plan)
        found = judge(plan, history)
    _print(plan, history)
    for violation in found:
        print(f"VIOLATED  {violation}")
    return int(bool(found))


def _print(plan: Plan, history: History) -> None:
    skews = zip(plan.servers, plan.skews, strict=True)
    print(
        f"seed {plan.seed}: servers {', '.join(f'{name} {skew:+g} s' for name, skew in skews)};"
        f" an authorizer takes {plan.latency:g} s, the filter {plan.filtering:g} s;"
        f" a throttle's window is {plan.window:g} s"
    )
    for name, entity, over_socket, resolution, ahead in plan.devices:
        how = "a socket" if over_socket else "HTTP"
        print(
            f"  {name} reports {entity} over {how}; its clock counts {resolution} ms, {ahead:+g} s"
        )
    for action in plan.actions:
        print(f"  {action}")
    print()
    for event in history.events:
        if event.kind != "got" or event["status"] != 404:
            print(event)
    print()


def _search(seeds: range, jobs: int) -> int:
    began = time.monotonic()
    examples: defaultdict[str, list[int]] = defaultdict(list)
    first: dict[str, str] = {}
    for seed, violated in campaign(seeds, jobs):
        for kind, what in violated.items():
            examples[kind].append(seed)
            if first.setdefault(kind, what) is what:
                print(f"seed {seed}: {what}", flush=True)
    seconds = time.monotonic() - began
    print(f"{len(seeds)} runs in {seconds:.0f} s ({len(seeds) / seconds:.0f} a second)")
    for kind, found in sorted(examples.items()):
        print(f"  {kind}: {len(found)} runs, such as {found[:6]}")
    return int(bool(examples))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
