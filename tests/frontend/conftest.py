"""A front-end project that has installed the client."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from atriz_realtime.cli.shipped_files import frontend
from tests.support.clients.node import JS, with_packages

NEEDED = ("react", "react-dom", "scheduler", "socket.io-client", "jsdom")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the project, with the scripts of the tests."""
    folder = tmp_path_factory.mktemp("project")
    packages = folder / "node_modules"
    written = CliRunner().invoke(frontend, [str(packages / "@atriz" / "realtime-client")])
    assert written.exit_code == 0, written.output
    for name in NEEDED:
        (packages / name).symlink_to(with_packages(JS) / "node_modules" / name)
    for script in ("tracker.mjs", "tracked.mjs"):
        shutil.copy(JS / script, folder)
    return folder
