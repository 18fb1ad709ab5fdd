"""The limit on open files is noticed, counted and shown."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator

import pytest

from atriz_realtime.core.runtime import open_files
from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.testing import until

KIND = "open files exhausted"


def take_all(taken: list[int]) -> None:
    while True:
        taken.append(os.dup(0))


@pytest.fixture
def few_files() -> Iterator[int]:
    """This process may open a few files more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    most = free + 50
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    yield most
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_the_limit_is_reported_for_as_long_as_it_is_reached(
    few_files: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(open_files, "INTERVAL", 0.01)
    incidents = Incidents(SystemClock())
    stop = open_files.watch(incidents.report)
    taken: list[int] = []
    try:
        with pytest.raises(OSError, match="Too many open files"):
            take_all(taken)
        await until(lambda: incidents.counts.get(KIND, 0) >= 2)
        assert open_files.count() == open_files.limit() == few_files
    finally:
        for each in taken:
            os.close(each)
    assert f"open files exhausted: Too many open files ({few_files} " in caplog.text
    before = incidents.counts[KIND]
    assert 0 < open_files.count() < few_files
    stop()
    await asyncio.sleep(0.03)
    assert incidents.counts[KIND] == before


def test_a_server_may_have_as_many_open_as_the_system_allows(few_files: int) -> None:
    assert open_files.limit() == few_files
    open_files.raise_limit()
    assert open_files.limit() == open_files.most() > few_files


async def test_no_more_is_reported_when_files_can_be_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_files, "INTERVAL", 0.001)
    incidents = Incidents(SystemClock())
    stop = open_files.watch(incidents.report)
    await asyncio.sleep(0.01)
    stop()
    assert not incidents.counts
