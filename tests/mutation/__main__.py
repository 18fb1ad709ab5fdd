"""``python -m tests.mutation``: which small changes to the package no test notices."""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from tests.mutation.equivalent import explained
from tests.mutation.operators import Mutant, mutants
from tests.mutation.run import Outcome, run
from tests.mutation.scope import SCOPES, files, stages

ROOT = Path(__file__).parents[2]


def sample(names: list[str], seed: int, size: int) -> list[tuple[str, Mutant]]:
    """Mutants of some scopes, drawn from all there are; the same ones for the same seed."""
    all_mutants = [
        (name, mutant)
        for name in names
        for path in files(SCOPES[name], ROOT)
        for mutant in mutants(ROOT, path)
    ]
    return random.Random(seed).sample(all_mutants, min(size, len(all_mutants)))


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="chooses the mutants")
    parser.add_argument("--sample", type=int, default=60, help="how many mutants")
    parser.add_argument(
        "--module", action="append", choices=[*SCOPES], help="one part only; may be repeated"
    )
    parser.add_argument("--workers", type=int, default=2, help="copies of the tree to test in")
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    options = parser.parse_args()
    chosen = sample(options.module or [*SCOPES], options.seed, options.sample)
    if options.list:
        print(*(mutant for _, mutant in chosen), sep="\n\n")
        return 0
    began = time.monotonic()
    work = [
        (mutant, stages(SCOPES[name], mutant.path, ROOT))
        for name, mutant in chosen
        if explained(mutant) is None
    ]
    equivalent = len(chosen) - len(work)
    survivors: list[Mutant] = []
    for number, outcome in enumerate(run(ROOT, work, options.workers), start=1):
        print(f"{number}/{len(work)}  {_line(outcome)}", flush=True)
        if outcome.noticed_by is None:
            survivors.append(outcome.mutant)
    print(f"\n{len(work) - len(survivors)} of {len(work)} mutants were noticed, in", end=" ")
    print(f"{time.monotonic() - began:.0f} s; {equivalent} more change nothing.")
    for mutant in survivors:
        print(f"\nsurvived: {mutant}")
    return 1 if survivors else 0


def _line(outcome: Outcome) -> str:
    mutant = outcome.mutant
    where = f"{mutant.path}:{mutant.line}: {mutant.operator}"
    return f"{outcome.seconds:5.1f} s  {where}  {outcome.noticed_by or 'SURVIVED'}"


sys.exit(main())
