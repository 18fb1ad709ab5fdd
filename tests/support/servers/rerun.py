"""Runs the end-to-end tests that depend on the websocket transport, over another transport."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.servers.transports import Transport

E2E = Path(__file__).parents[2] / "e2e"

INDEPENDENT = (
    "test_http_publish.py",
    "test_http_read.py",
    "test_isolation.py",  # what plugins do to each other
    "test_late_fixes.py",
    "test_python_api.py",
    "test_readme_client.py",  # its servers are served over ASGI anyway
    "test_socket_publish.py",  # what an event's handler does; its packets are any event's
    "test_throttle.py",
    "test_tracking_stats.py",
)
"""Tests of what happens before a frame reaches a transport."""


def end_to_end(transport: Transport) -> None:
    """Run the tests; which backend a server has makes no difference to its transport."""
    result = subprocess.run(
        [
            *[sys.executable, "-m", "pytest", "-q", "-x", "--tb=short"],
            *["-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile"],
            *["--transport", transport, "-k", "not redis", str(E2E)],
            *[f"--ignore={E2E / name}" for name in INDEPENDENT],
        ],
        cwd=E2E.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8_000:]
    assert " passed" in result.stdout
