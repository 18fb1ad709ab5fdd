"""A few hundred seeds, and that what is found can be replayed and made small."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SEEDS = 240

DEFECT = """
from atriz_realtime.core.publish.delivery import Delivery
from tests.simulation.__main__ import main

Delivery._fan_out_late = Delivery._fan_out  # a held fix is published without a comparison
raise SystemExit(main(["--seed", "2"]))
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def simulation(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return python("-m", "tests.simulation", *arguments)


@pytest.mark.timeout(300)
def test_no_promise_is_broken() -> None:
    done = simulation("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_replays_exactly() -> None:
    first, second = (simulation("--seed", "34", "--whole") for _ in range(2))
    assert len(first.stdout.splitlines()) > 100
    assert first.stdout == second.stdout


@pytest.mark.timeout(120)
def test_a_failing_seed_prints_a_minimal_history() -> None:
    done = python("-c", DEFECT)
    assert done.returncode == 1
    assert "VIOLATED  older after newer" in done.stdout
    actions = done.stdout.partition("\n\n")[0].splitlines()[1:]
    assert 0 < len(actions) < 20
