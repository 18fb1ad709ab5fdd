"""Fixtures of the command line's tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.processes import configures
from tests.support.serving import SECRET


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing around the test configures a server, but for the secret."""
    for name in filter(configures, list(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
