"""Everything end to end, once more in another way that sockets reach a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.servers.transports import Transport

E2E = Path(__file__).parents[2] / "e2e"


def end_to_end(transport: Transport) -> None:
    """Run it on the memory backends; which Redis makes no difference to how frames come and go."""
    result = subprocess.run(
        [
            *[sys.executable, "-m", "pytest", "-q", "-x", "--tb=short"],
            *["-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile"],
            *["--transport", transport, "-k", "not redis", str(E2E)],
        ],
        cwd=E2E.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8_000:]
    assert " passed" in result.stdout
