"""Runs the tests for each mutant, in copies of the tree: the tree itself is never changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

import attrs

from tests.mutation.operators import Mutant

STAGE_SECONDS = 300
TEST_SECONDS = 40

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "node_modules", "__pycache__", ".hypothesis", ".*_cache", "build", ".locks"
)

Work = tuple[Mutant, list[tuple[str, ...]]]


@attrs.frozen
class Outcome:
    """What became of a mutant.

    :param noticed_by: the test that failed, or ``None``.
    """

    mutant: Mutant
    noticed_by: str | None
    seconds: float


def run(root: Path, work: Sequence[Work], workers: int) -> Iterator[Outcome]:
    """Yield outcomes as they come."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as temporary:
        copies: SimpleQueue[_Copy] = SimpleQueue()
        for number in range(workers):
            copies.put(_Copy(root, Path(temporary) / str(number)))

        def one(mutant: Mutant, stages: list[tuple[str, ...]]) -> Outcome:
            copy = copies.get()
            try:
                return copy.test(mutant, stages)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(workers) as pool:
            for future in as_completed([pool.submit(one, *item) for item in work]):
                yield future.result()


class _Copy:
    def __init__(self, root: Path, folder: Path) -> None:
        self._folder = folder
        shutil.copytree(root, folder, ignore=LEFT_OUT, symlinks=True)
        for packages in root.glob("**/package.json"):
            modules = packages.parent / "node_modules"
            if "node_modules" not in packages.parent.parts and modules.exists():
                (folder / modules.relative_to(root)).symlink_to(modules.resolve())
        self._written = time.time()

    def test(self, mutant: Mutant, stages: list[tuple[str, ...]]) -> Outcome:
        began = time.monotonic()
        file = self._folder / mutant.path
        self._write(file, mutant.source)
        try:
            noticed = next(filter(None, map(self._pytest, stages)), None)
        finally:
            self._write(file, mutant.before)
        return Outcome(mutant, noticed, time.monotonic() - began)

    def _write(self, file: Path, source: str) -> None:
        """Change a file, with a time of its own: compiled files are told apart by whole seconds."""
        file.write_text(source)
        self._written += 1
        os.utime(file, (self._written, self._written))

    def _pytest(self, paths: tuple[str, ...]) -> str | None:
        """The test that fails, or ``None``."""
        options = ["-x", "-q", "--tb=no", "-rfE", f"--timeout={TEST_SECONDS}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, *paths],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(self._folder), "PYTHONHASHSEED": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=STAGE_SECONDS)
        except subprocess.TimeoutExpired:
            return "(time is up)"
        finally:
            _end(process)
        if process.returncode == 0:
            return None
        failed = [line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        return failed[0] if failed else f"(exit {process.returncode})"


def _end(process: subprocess.Popen[str]) -> None:
    """End a run with all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
