"""``python -m tests.fuzz``: fuzz with atheris everything that parses bytes from clients.

A finding is printed with its input, and the exit status is not 0.  ``--keep`` adds inputs that
reached new code to the corpus.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.corpus import CORPUS, MAX_INPUT, MAX_SIZE
from tests.fuzz.targets import TARGETS


def fuzz(target: str, seconds: int, keep: bool) -> int:
    """Fuzz one target in a process; returns the fuzzer's exit status."""
    run = [sys.executable, "-m", "tests.fuzz.worker", target, f"-max_len={MAX_INPUT}"]
    with tempfile.TemporaryDirectory() as folder:
        bounds = [f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=2048"]
        status = subprocess.run([*run, *bounds, folder, CORPUS / target], check=False).returncode
        if keep and status == 0:
            adopt(Path(folder), CORPUS / target)
    return status


def adopt(found: Path, corpus: Path) -> None:
    """Add new inputs to a corpus, the smallest first, until it is full."""
    size = sum(path.stat().st_size for path in corpus.iterdir())
    for path in sorted(found.iterdir(), key=lambda path: path.stat().st_size):
        size += path.stat().st_size
        if size > MAX_SIZE:
            return
        shutil.copy(path, corpus / path.name[:12])


def main() -> int:
    """Fuzz each target in turn."""
    command = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    command.add_argument("targets", nargs="*", default=list(TARGETS), help=", ".join(TARGETS))
    command.add_argument("--seconds", type=int, default=200, help="for each target")
    command.add_argument("--keep", action="store_true", help="add to the corpus")
    options = command.parse_args()
    if unknown := set(options.targets) - TARGETS.keys():
        command.error(f"no target {', '.join(sorted(unknown))}")
    statuses = [fuzz(target, options.seconds, options.keep) for target in options.targets]
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
