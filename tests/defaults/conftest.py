"""Fixtures that write plugins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plugins.files import Plugins, plugins_in


@pytest.fixture
def plugins(tmp_path: Path) -> Iterator[Plugins]:
    """A directory to put plugins into, on Python's path for the test."""
    with plugins_in(tmp_path) as plugins:
        yield plugins
