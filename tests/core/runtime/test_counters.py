"""What the server counts of its own work."""

from __future__ import annotations

from atriz_realtime.core.runtime.counters import MAX_CODES, Refusals


def test_codes_that_a_plugin_makes_up_are_bounded() -> None:
    refusals = Refusals()
    for number in range(2 * MAX_CODES):
        refusals.count(f"code {number}")
    refusals.count("code 0")
    counts = refusals.statistics()
    assert len(counts) == MAX_CODES + 1
    assert counts["code 0"] == 2
    assert counts["other"] == MAX_CODES
