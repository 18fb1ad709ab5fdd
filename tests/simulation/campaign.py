"""Many runs, in processes of their own: what each seed violates."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator

from tests.simulation.oracle import judge
from tests.simulation.plan import make_plan
from tests.simulation.world import run

HASH_SEED = "0"

Found = tuple[int, dict[str, str]]
"""A seed, and what its run violated: a line for each kind."""


def is_deterministic() -> bool:
    """Whether strings hash the same in every process, on which the order of sets depends."""
    return os.environ.get("PYTHONHASHSEED") == HASH_SEED


def deterministically(arguments: list[str]) -> None:
    """Begin this program again so that they do."""
    os.environ["PYTHONHASHSEED"] = HASH_SEED
    os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *arguments])


def violations_of(seed: int) -> Found:
    """Make one run."""
    plan = make_plan(seed)
    try:
        found = judge(plan, run(plan))
    except Exception as error:
        return seed, {"the simulation failed": f"{type(error).__name__}: {error}"}
    return seed, {violation.kind: str(violation) for violation in found}


def campaign(seeds: Iterable[int], jobs: int) -> Iterator[Found]:
    """Make many runs; what they violate comes in the order of the seeds."""
    if jobs == 1:
        yield from map(violations_of, seeds)
        return
    context = multiprocessing.get_context("fork")
    with context.Pool(jobs, maxtasksperchild=200) as pool:
        yield from pool.imap(violations_of, seeds, chunksize=10)
