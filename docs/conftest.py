"""Runs the code blocks of these documents, and of README.md, as tests."""

import pytest

from tests.support import nodejs
from tests.support.checks import loop_errors
from tests.support.docs import documents


def pytest_configure(config: pytest.Config) -> None:
    """Register for the whole run: README.md lies outside this directory."""
    config.pluginmanager.register(documents, "documents")
    nodejs.put_on_path()
    loop_errors.watch(config)
