"""Fixtures for tests of the command line."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.processes import configures
from tests.support.servers.serving import SECRET


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """Restore logging, which commands that run in this process configure."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment that configures nothing but the secret."""
    for name in filter(configures, list(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
