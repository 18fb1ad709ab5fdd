"""Failures the system survives: counted, logged once a burst."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from atriz_realtime.core.runtime.incidents import MAX_KINDS, QUIET_SECONDS, Incidents
from atriz_realtime.testing import FakeClock


def test_each_is_counted_and_a_burst_logged_once(
    incidents: Incidents, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        incidents.report("redis disconnected", f"attempt {number}")
    incidents.report("other kind", "once")
    assert dict(incidents.counts) == {"redis disconnected": 5, "other kind": 1}
    assert caplog.messages == ["redis disconnected: attempt 0", "other kind: once"]


def test_after_a_quiet_time_it_is_logged_again_with_what_was_left_out(
    incidents: Incidents, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        incidents.report("kind", "first burst")
    clock.advance(QUIET_SECONDS - 1)
    incidents.report("kind", "still quiet")
    clock.advance(1)
    incidents.report("kind", "second burst")
    clock.advance(QUIET_SECONDS)
    incidents.report("kind", "third burst")
    assert caplog.messages == [
        "kind: first burst",
        "kind: second burst (3 more since the last such line)",
        "kind: third burst",
    ]
    assert incidents.counts["kind"] == 6


def test_the_level_is_the_caller_s(incidents: Incidents, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    incidents.report("refused", "as it should be", level=logging.INFO)
    incidents.report("kind", "message")
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.WARNING]


def test_kinds_are_bounded(incidents: Incidents) -> None:
    for number in range(MAX_KINDS + 50):
        incidents.report(f"kind {number}", "message")
    incidents.report("kind 1", "message")
    assert len(incidents.counts) == MAX_KINDS + 1
    assert incidents.counts["other"] == 50
    assert incidents.counts["kind 1"] == 2


def test_the_counts_are_read_only(incidents: Incidents) -> None:
    counts: Any = incidents.counts
    with pytest.raises(TypeError):
        counts["kind"] = 1
