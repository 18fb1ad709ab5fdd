"""A test fails if an exception ends in an event loop, where no caller sees it.

Such are an exception in a callback, and that of a task or future which nobody has retrieved.
asyncio reports both to its log; every loop counts, also those that a test makes itself.
pytest itself reports exceptions in ``__del__`` and in threads as warnings, which are errors here.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
from collections.abc import Generator

import pytest


class LoopErrors(logging.Handler):
    """A pytest plugin that collects what event loops report, and asks for it after each test."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.reports: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note a report."""
        if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
            return  # Python's streams do not expect a handler that is cancelled, as Hypercorn's is
        cause = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        self.reports.append(f"{record.getMessage()}\n{cause}")

    def take(self) -> list[str]:
        """Take what was reported, for a test that expects it."""
        reports, self.reports = self.reports, []
        return reports

    def pytest_configure(self) -> None:
        """Listen until the run has ended."""
        logging.getLogger("asyncio").addHandler(self)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, nextitem: pytest.Item | None) -> Generator[None]:
        """Fail the test that has ended, with its fixtures."""
        yield
        # what a test has made is young; after the last test, everything counts
        gc.collect(1 if nextitem else 2)
        if reports := self.take():
            pytest.fail("an exception ended in the event loop:\n" + "\n".join(reports))


LOOP_ERRORS = LoopErrors()


def watch(config: pytest.Config) -> None:
    """Watch the loops of this run, whichever ``conftest.py`` asks first."""
    if not config.pluginmanager.is_registered(LOOP_ERRORS):
        config.pluginmanager.register(LOOP_ERRORS, "loop errors")
