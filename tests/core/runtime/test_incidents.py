"""Incidents and refusals: counted, and logged once per burst."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from atriz_realtime.api import NotAuthorized, UnknownEntityType
from atriz_realtime.core.runtime.incidents import (
    MAX_CODES,
    MAX_KINDS,
    MAX_REASONS,
    PLUGIN_PROBLEM,
    QUIET_SECONDS,
    REFUSED,
    SHOWN_REASONS,
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


def test_another_cause_is_no_repetition(
    incidents: Incidents, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for cause in ("refused", "refused", "no password", "refused", "no password"):
        incidents.report("redis disconnected", f"url: {cause}", cause=cause)
    clock.advance(QUIET_SECONDS)
    incidents.report("redis disconnected", "url: refused", cause="refused")
    assert caplog.messages == [
        "redis disconnected: url: refused",
        "redis disconnected: url: no password",
        "redis disconnected: url: refused (2 more since the last such line)",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert incidents.counts == {"redis disconnected": 6}


def test_causes_are_bounded(incidents: Incidents, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(5 * MAX_REASONS):
        incidents.report("kind", f"{number}", cause=f"cause {number}")
    assert len(caplog.records) == MAX_REASONS + 1  # and one for all others together


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
    incidents.refused("track:vehicle", NotAuthorized("not you"), "203.0.113.7")
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
        "refused unauthorized: track:vehicle: not you; client 203.0.113.7",
    ]


def test_what_a_plugin_did_wrong_is_logged_for_each_of_its_functions(
    incidents: Incidents, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for what in ("observer 'a'", "observer 'a'", "authorizer 'b'", "observer 'a'"):
        incidents.plugin_problem("shop", "failed", what, error=KeyError("colour"))
    incidents.failed("endpoint failed", "/api/a", KeyError("colour"), cause="/api/a")
    incidents.failed("endpoint failed", "/api/b", KeyError("colour"), cause="/api/b")
    assert caplog.messages == [
        "plugin shop failed: observer 'a': KeyError: 'colour'",
        "plugin shop failed: authorizer 'b': KeyError: 'colour'",
        "endpoint failed: /api/a: KeyError: 'colour'",
        "endpoint failed: /api/b: KeyError: 'colour'",
    ]
    assert all(record.exc_info for record in caplog.records)
    clock.advance(QUIET_SECONDS)
    incidents.plugin_problem("shop", "failed", "observer 'a'", error=KeyError("colour"))
    assert caplog.messages[-1] == (
        "plugin shop failed: observer 'a': KeyError: 'colour' (2 more since the last such line)"
    )


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


# -- refusals ------------------------------------------------------------------------------


def refuse(incidents: Incidents, *reasons: str) -> None:
    """Refuse credentials, once for each reason."""
    for reason in reasons:
        incidents.report("refused credentials", f"by x: {reason}", reason=reason)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """The level and the message of each line."""
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_the_first_refusal_of_each_reason_is_a_warning(
    incidents: Incidents, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "atriz_realtime")
    refuse(incidents, "expired", "expired", "wrong key", "expired")
    clock.advance(QUIET_SECONDS)
    refuse(incidents, "wrong key")
    assert lines(caplog) == [
        ("WARNING", "refused credentials: by x: expired"),
        (
            "WARNING",
            "refused credentials: by x: wrong key (1 more since the last such line: 1 expired)",
        ),
        (
            "INFO",
            "refused credentials: by x: wrong key (1 more since the last such line: 1 expired)",
        ),
    ]
    assert incidents.counts == {"refused credentials": 5}


def test_a_line_counts_the_refusals_that_were_not_logged_by_reason(
    incidents: Incidents, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "atriz_realtime")
    names = [f"reason {number}" for number in range(SHOWN_REASONS + 2)]
    refuse(incidents, *names, *names, "reason 3", "reason 3")
    clock.advance(QUIET_SECONDS)
    refuse(incidents, "reason 3")
    counted = "3 reason 3, 1 reason 0, 1 reason 1, 1 reason 2, 1 reason 4, 2 for other reasons"
    assert caplog.messages[-1].endswith(f" (9 more since the last such line: {counted})")
    clock.advance(QUIET_SECONDS)
    refuse(incidents, "reason 3")
    assert caplog.messages[-1] == "refused credentials: by x: reason 3"


def test_the_first_warning_says_where_the_others_are_unless_they_are_shown(
    incidents: Incidents, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    where = "; later ones are INFO lines of the logger 'atriz_realtime'"
    caplog.set_level(logging.WARNING, "atriz_realtime")
    incidents.refused("track:vehicle", NotAuthorized("not you"), "203.0.113.7")
    clock.advance(QUIET_SECONDS)
    incidents.refused("track:vehicle", NotAuthorized("not you"), "203.0.113.7")
    assert lines(caplog) == [
        ("WARNING", f"refused unauthorized: track:vehicle: not you; client 203.0.113.7{where}"),
    ]
    caplog.set_level(logging.INFO, "atriz_realtime")
    incidents.refused("track:boat", UnknownEntityType(), None)
    assert where not in caplog.messages[-1]


def test_no_client_can_have_a_warning_for_each_of_its_refusals(
    incidents: Incidents, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(incidents, *(f"key {number}" for number in range(5 * MAX_REASONS)))
    assert len(caplog.records) == MAX_REASONS + 1  # and one for all others together
    assert incidents.counts == {"refused credentials": 5 * MAX_REASONS}


def test_a_reason_cannot_break_a_line(
    incidents: Incidents, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "atriz_realtime")
    refuse(incidents, "a\nb", "a\nb")
    clock.advance(QUIET_SECONDS)
    refuse(incidents, "a\nb" + "x" * 10_000)
    assert all(message.isprintable() for message in caplog.messages)
    assert max(len(message) for message in caplog.messages) < 1_200
