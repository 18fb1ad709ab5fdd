"""The patterns of a claim, malformed claims, and what a check costs."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import weakref
from collections.abc import Mapping
from typing import Any

import pytest

from atriz_realtime.api import EntityRef, Identity, Resources
from atriz_realtime.defaults import claims
from atriz_realtime.defaults.claims import GLOBS_PER_TURN, MAX_RULES, MAX_STARS, Rules, matches
from atriz_realtime.defaults.jwt_auth import MAX_TOKEN_LENGTH
from atriz_realtime.testing import FakeClock

V1 = EntityRef("vehicle", "v1")


@pytest.fixture
def reported() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def may_track(reported: list[tuple[str, str]]) -> Any:
    """The authorizer's rule for tracking, by the claim ``see``."""

    def report(kind: str, message: str, *, labels: Mapping[str, str] | None = None) -> None:
        reported.append((kind, message))

    resources = Resources(clock=FakeClock(), redis=None, settings={}, report=report)
    return claims.rule_of("see", resources)


def bearer(see: Any) -> Identity:
    return Identity(user_id="u1", claims={"see": see})


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
async def test_a_malformed_claim_allows_nothing(claim: Any, may_track: Any) -> None:
    assert not await may_track(bearer(claim), V1)


async def test_a_claim_with_too_many_rules_is_reported(
    may_track: Any, reported: list[tuple[str, str]]
) -> None:
    whole, larger = bearer({"vehicle": ["v1"] * MAX_RULES}), bearer({"vehicle": ["v1"] * 1_001})
    assert await may_track(whole, V1)
    assert reported == []
    assert not await may_track(larger, V1)
    assert not await may_track(larger, V1)
    assert reported == [
        ("claim ignored", "see, vehicle: malformed, or more than 1,000 ids and patterns")
    ]


@pytest.mark.parametrize("claim", ["v1", ["v1"], 7, None])
async def test_a_claim_that_is_not_an_object_is_reported_once_for_a_token(
    claim: Any, may_track: Any, reported: list[tuple[str, str]]
) -> None:
    identity = bearer(claim)
    assert not await may_track(identity, V1)
    assert not await may_track(identity, EntityRef("delivery", "d1"))
    shape = 'not an object that maps types to ids, such as {"vehicle": ["v1", "v2"]}'
    assert reported == [("claim ignored", f"see: {shape}")]


async def test_a_claim_that_is_missing_is_not_reported(
    may_track: Any, reported: list[tuple[str, str]]
) -> None:
    assert not await may_track(Identity(user_id="u1"), V1)
    assert reported == []


@pytest.mark.parametrize("seed", range(20))
def test_the_index_allows_what_some_rule_matches(seed: int) -> None:
    chance = random.Random(seed)

    def text(letters: str) -> str:
        return "".join(chance.choices(letters, k=chance.randint(1, 5)))

    rules = [text("ab*") for _ in range(chance.randint(1, 12))]
    rules = [rule for rule in rules if rule.count("*") <= MAX_STARS]
    index = Rules(rules)
    for _ in range(300):
        entity_id = text("ab")
        assert index.allow(entity_id) is any(matches(rule, entity_id) for rule in rules)


@pytest.mark.parametrize(("head", "tail"), [("", ""), ("own-", "*"), ("*", "-own")])
async def test_a_check_costs_the_same_however_many_rules_there_are(
    head: str, tail: str, may_track: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules are read once for each identity and type, and no rule is tried on its own."""
    tried: list[str] = []

    def seen(rule: str, *_: str) -> bool:
        tried.append(rule)
        return True

    monkeypatch.setattr(claims, "matches", seen)
    monkeypatch.setattr(claims, "is_rule", seen)
    rules = [f"{head}{number:03}{tail}" for number in range(MAX_RULES)]
    identity = bearer({"vehicle": rules})
    for number in range(100):
        own = EntityRef("vehicle", f"{head}{number:03}{tail}".replace("*", "x"))
        assert await may_track(identity, own)
        assert not await may_track(identity, EntityRef("vehicle", f"nothing-{number}"))
    assert tried == rules


async def test_many_patterns_that_have_to_be_tried_let_others_run(may_track: Any) -> None:
    """So the loop is never kept for longer than one check takes."""
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(turn)

    loop = asyncio.get_running_loop()
    loop.call_soon(turn)
    few = bearer({"vehicle": ["a*b"] * GLOBS_PER_TURN})
    for _ in range(100):
        assert not await may_track(few, V1)
    assert turns == 0
    many = bearer({"vehicle": ["a*b"] * (GLOBS_PER_TURN + 1)})
    for _ in range(100):
        assert not await may_track(many, V1)
    assert turns >= 100


async def test_an_index_is_freed_with_its_identity(may_track: Any) -> None:
    identity = bearer({"vehicle": ["v1"], "delivery": "*"})
    assert await may_track(identity, V1)
    assert not await may_track(identity, EntityRef("drone", "v1"))  # no index for this one
    (index,) = identity.memo.values()
    freed = weakref.ref(index)
    gc.disable()  # it must not take the collector
    try:
        del identity, index
        assert freed() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("rule", ["{:x}", "{:x}*", "*{:x}", "{:x}*a"])
def test_an_index_costs_no_more_than_the_claim_that_it_is_made_of(rule: str) -> None:
    """What a token may hold bounds the index as well; a claim's strings are not copied."""
    rules = [rule.format(number) for number in range(MAX_RULES)]
    assert len(str(rules)) < MAX_TOKEN_LENGTH * 2
    index = Rules(rules)
    kept = [index._ids, index._prefixes._sorted, index._suffixes._sorted, index.globs]
    made = {id(each): each for part in kept for each in part if each not in rules}
    size = sum(map(sys.getsizeof, [*kept, *made.values()]))
    assert size <= 1.2 * (sys.getsizeof(rules) + sum(map(sys.getsizeof, rules)))
