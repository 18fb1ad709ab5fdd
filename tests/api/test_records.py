"""The records that registration hooks return."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest

from atriz_realtime import api
from atriz_realtime.api import DEFAULT_ID_PATTERN, EntityType, Observer


async def nothing(*_: Any) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    "name", ["", "Vehicle", "1st", "a b", "a:b", "ä", "x" * 33, "-a", "vehicle\n", "a.b", "a/b"]
)
def test_a_type_s_name_goes_into_rooms_channels_and_paths(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        EntityType(name)


@pytest.mark.parametrize("name", ["a", "vehicle", "e-bike_2", "x" * 32])
def test_names_that_can_be(name: str) -> None:
    assert EntityType(name).name == name


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_a_lifetime_is_some_time_but_not_forever(ttl: float) -> None:
    with pytest.raises(ValueError, match="cache_ttl"):
        EntityType("van", cache_ttl=ttl)


@pytest.mark.parametrize("setting", [{"queue_size": 0}, {"timeout": 0}, {"timeout": -1.0}])
def test_an_observer_s_limits(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Observer("x", nothing, **setting)


@pytest.mark.parametrize(
    ("entity_id", "fits"),
    [
        ("v1", True),
        ("飛行機 🚚", True),
        ("x" * 128, True),
        ("a/b?c#d%20", True),
        ("", False),
        ("x" * 129, False),
        ("a:b", False),
        ("a\tb", False),
        ("a\x85b", False),
        ("\u2029", False),
        ("\udfff", False),
    ],
)
def test_the_default_pattern_of_ids(entity_id: str, fits: bool) -> None:
    assert bool(re.fullmatch(DEFAULT_ID_PATTERN, entity_id)) is fits


RECORDS = [
    record
    for name in api.__all__
    if attrs.has(record := getattr(api, name)) and record.__module__ == "atriz_realtime.api.records"
]


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_is_told_apart_by_being_itself(record: type[Any]) -> None:
    """Records are keys: who registered one is looked up by it."""
    fields: Any = attrs.fields(record)
    assert fields[0].name == "name"
    required = [field for field in fields if field.default is attrs.NOTHING]
    made, twin = (record(*["x" for _ in required]) for _ in range(2))
    assert made != twin
    assert {made: "mine", twin: "other"}[made] == "mine"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.name = "y"
