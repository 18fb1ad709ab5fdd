"""Durations such as ``1h30m``."""

from __future__ import annotations

import pytest

from atriz_realtime.api import InvalidRequest, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("30s", 30), ("15m", 900), ("1h30m", 5_400), ("2d", 172_800)]
)
def test_a_duration_is_read_in_seconds(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "1 h", "1w", "1H", "1.5h", "1234567890s"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="no duration"):
        parse_duration(text)
