"""Incidents and refusals: counted, and logged once per burst."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from atriz_realtime.api import NotAuthorized
from atriz_realtime.core.runtime.incidents import (
    MAX_CODES,
    MAX_KINDS,
    PLUGIN_PROBLEM,
    QUIET_SECONDS,
    REFUSED,
    Incidents,
    Refusals,
)
from atriz_realtime.testing import FakeClock


def test_each_incident_is_counted_and_a_burst_is_logged_once(
    incidents: Incidents, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        incidents.report("redis disconnected", f"attempt {number}")
    incidents.report("other kind", "once")
    assert dict(incidents.counts) == {"redis disconnected": 5, "other kind": 1}
    assert caplog.messages == ["redis disconnected: attempt 0", "other kind: once"]


def test_the_next_burst_is_logged_with_the_number_of_suppressed_lines(
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


def test_the_caller_chooses_the_level(
    incidents: Incidents, caplog: pytest.LogCaptureFixture
) -> None:
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


def test_labels_fill_in_the_kind_and_are_counted_apart_from_it(
    incidents: Incidents, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    incidents.plugin_problem("shop", "failed", "filter 'x'")
    incidents.plugin_problem("shop", "timed out", "filter 'x'")
    incidents.plugin_problem("shop", "failed", "filter 'x'")
    incidents.refused("track:vehicle", NotAuthorized("not you"))
    assert incidents.counts == {
        "plugin shop failed": 2,
        "plugin shop timed out": 1,
        "refused unauthorized": 1,
    }
    assert incidents.labelled_counts() == [
        (PLUGIN_PROBLEM, {"plugin": "shop", "problem": "failed"}, 2),
        (PLUGIN_PROBLEM, {"plugin": "shop", "problem": "timed out"}, 1),
        (REFUSED, {"code": "unauthorized"}, 1),
    ]
    assert incidents.refusals.statistics() == {"unauthorized": 1}
    assert caplog.messages == [
        "plugin shop failed: filter 'x'",
        "plugin shop timed out: filter 'x'",
        "refused unauthorized: track:vehicle: not you",
    ]


def test_a_kind_without_labels_is_no_template(
    incidents: Incidents, caplog: pytest.LogCaptureFixture
) -> None:
    incidents.report("odd {0} {name} {", "message")
    incidents.plugin_problem("{problem}", "failed", "message")
    assert incidents.counts == {"odd {0} {name} {": 1, "plugin {problem} failed": 1}
    assert caplog.messages == ["odd {0} {name} {: message", "plugin {problem} failed: message"]


def test_kinds_that_read_the_same_are_added_up(incidents: Incidents) -> None:
    incidents.plugin_problem("shop", "failed", "message")
    incidents.report("plugin shop failed", "message")
    assert incidents.counts == {"plugin shop failed": 2}


def test_labels_are_bounded_as_kinds_are(incidents: Incidents) -> None:
    for number in range(MAX_KINDS + 50):
        incidents.report(REFUSED, "message", labels={"code": f"{number}"})
    assert len(incidents.labelled_counts()) == MAX_KINDS + 1
    assert incidents.counts["other"] == 50


def test_error_codes_are_bounded() -> None:
    refusals = Refusals()
    for number in range(2 * MAX_CODES):
        refusals.count(f"code {number}")
    refusals.count("code 0")
    counts = refusals.statistics()
    assert len(counts) == MAX_CODES + 1
    assert counts["code 0"] == 2
    assert counts["other"] == MAX_CODES


def test_the_counts_are_read_only(incidents: Incidents) -> None:
    counts: Any = incidents.counts
    with pytest.raises(TypeError):
        counts["kind"] = 1
