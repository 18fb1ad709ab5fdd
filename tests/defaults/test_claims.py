"""The patterns of a claim, and malformed claims."""

from __future__ import annotations

from typing import Any

import pytest

from atriz_realtime.api import EntityRef
from atriz_realtime.defaults.claims import MAX_RULES, MAX_STARS, allows, matches


@pytest.mark.parametrize(
    ("pattern", "text", "matched"),
    [
        ("v1", "v1", True),
        ("v1", "v10", False),
        ("*", "", True),
        ("own-*", "own-", True),
        ("own-*", "x-own-1", False),
        ("a*b*c", "a1b2c", True),
        ("a*b*c", "ac", False),
        ("ab*ba", "aba", False),
        ("a**b", "ab", True),
        ("v?", "v1", False),
        ("[a-z]", "a", False),
        ("*b*b*", "ab", False),
    ],
)
def test_patterns(pattern: str, text: str, matched: bool) -> None:
    assert matches(pattern, text) is matched


@pytest.mark.parametrize(
    "claim",
    [
        None,
        "*",
        ["v1"],
        {},
        {"delivery": "*"},
        {"vehicle": None},
        {"vehicle": {"v1": True}},
        {"vehicle": ["v1", 7]},
        {"vehicle": ["v1", ""]},
        {"vehicle": ["v1", "x" * 257]},
        {"vehicle": ["v1", "*" * (MAX_STARS + 1)]},
        {"vehicle": ["v1"] * (MAX_RULES + 1)},
    ],
)
def test_a_malformed_claim_allows_nothing(claim: Any) -> None:
    assert not allows(claim, EntityRef("vehicle", "v1"))
