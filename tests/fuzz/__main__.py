"""``python -m tests.fuzz``: atheris tries what reads strangers' bytes.

A finding is printed with its input, and the exit status is not 0. ``--keep`` makes the smallest set
of inputs that reaches as much the new corpus.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.corpus import CORPUS, MAX_INPUT
from tests.fuzz.targets import TARGETS


def fuzz(target: str, seconds: int, keep: bool) -> int:
    """Fuzz one target in a process of its own; returns the fuzzer's exit status."""
    corpus = CORPUS / target
    corpus.mkdir(parents=True, exist_ok=True)
    run = [sys.executable, "-m", "tests.fuzz.worker", target, f"-max_len={MAX_INPUT}"]
    with tempfile.TemporaryDirectory() as folder:
        found, smallest = Path(folder) / "found", Path(folder) / "smallest"
        found.mkdir()
        smallest.mkdir()
        bounds = [f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=2048"]
        status = subprocess.run([*run, *bounds, found, corpus], check=False).returncode
        if keep and status == 0:
            subprocess.run([*run, "-merge=1", smallest, corpus, found], check=True)
            for old in corpus.iterdir():
                old.unlink()
            for path in smallest.iterdir():
                (corpus / path.name[:12]).write_bytes(path.read_bytes())
    return status


def main() -> int:
    """Fuzz each target in turn."""
    command = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    command.add_argument("targets", nargs="*", default=list(TARGETS), help=", ".join(TARGETS))
    command.add_argument("--seconds", type=int, default=200, help="for each target")
    command.add_argument("--keep", action="store_true", help="bring the corpus up to date")
    options = command.parse_args()
    if unknown := set(options.targets) - TARGETS.keys():
        command.error(f"there is no target {', '.join(sorted(unknown))}")
    statuses = [fuzz(target, options.seconds, options.keep) for target in options.targets]
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
