"""Programs that operators have, installed from Debian if necessary."""

from __future__ import annotations

import shutil
import subprocess

import pytest

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def installed(program: str, package: str) -> str:
    """The path of a program."""
    found = shutil.which(program, path=PATH)
    if found is None:
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package],
        ):
            subprocess.run(command, check=True, capture_output=True)
        found = shutil.which(program, path=PATH)
    assert found is not None
    return found


@pytest.fixture(scope="session")
def nginx() -> str:
    """The path of nginx."""
    return installed("nginx", "nginx-light")


@pytest.fixture(scope="session")
def logrotate() -> str:
    """The path of logrotate."""
    return installed("logrotate", "logrotate")
