"""A front-end project that has installed the client."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.clients.frontend_project import frontend_project
from tests.support.clients.node import JS


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the project, with the scripts of the tests."""
    folder = frontend_project(tmp_path_factory.mktemp("project"))
    for script in ("tracker.mjs", "tracked.mjs"):
        shutil.copy(JS / script, folder)
    return folder
