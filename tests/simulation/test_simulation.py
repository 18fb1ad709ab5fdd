"""A few hundred seeds, and that what is found can be replayed and made small."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.known import KNOWN

SEEDS = 240


def simulation(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.simulation", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.timeout(300)
def test_no_promise_is_broken_that_is_not_known_to_be() -> None:
    done = simulation("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(120)
def test_what_is_known_to_be_broken_still_is() -> None:
    done = simulation("--known")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_replays_exactly() -> None:
    first, second = (simulation("--seed", "34", "--whole") for _ in range(2))
    assert len(first.stdout.splitlines()) > 100
    assert first.stdout == second.stdout


@pytest.mark.skipif(not KNOWN, reason="no run is known to break a promise")
@pytest.mark.timeout(120)
def test_a_failing_seed_prints_a_minimal_history() -> None:
    known = KNOWN[0]
    done = simulation("--seed", str(known.seeds[0]), "--kind", known.kind)
    assert done.returncode == 1
    assert f"VIOLATED  {known.kind}" in done.stdout
    actions = done.stdout.partition("\n\n")[0].splitlines()[1:]
    assert 0 < len(actions) < 20
