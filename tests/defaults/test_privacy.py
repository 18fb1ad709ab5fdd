"""The rules of the plugin ``privacy``: the watchers they apply to, and coarse positions."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atriz_realtime.api import ConfigurationError, EntityRef, Identity, LocationEvent
from atriz_realtime.defaults.privacy import METRES_PER_DEGREE, PrivacyRule, Rule, coarse
from atriz_realtime.testing import location

VEHICLE = EntityRef("vehicle", "v1")

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
precisions = st.floats(1, 1_000_000)


@given(latitudes, longitudes, precisions)
def test_a_coarse_position_is_a_fixed_point(
    latitude: float, longitude: float, metres: float
) -> None:
    row, column = coarse(latitude, longitude, metres)
    assert -90 <= row <= 90
    assert -180 <= column <= 180
    half = metres / METRES_PER_DEGREE / 2 + 1e-6
    assert abs(row - latitude) <= half


@given(st.floats(-80, 80), longitudes, st.floats(1, 10_000))
def test_it_is_within_half_a_cell(latitude: float, longitude: float, metres: float) -> None:
    row, column = coarse(latitude, longitude, metres)
    width = math.cos(math.radians(row)) * METRES_PER_DEGREE
    assert abs(column - longitude) * width <= metres / 2 + 1


@given(st.floats(-45, 45), st.floats(0, 0.9), longitudes)
def test_the_points_of_a_row_do_not_depend_on_the_latitude_within(
    row: float, within: float, longitude: float
) -> None:
    step = 1_000 / METRES_PER_DEGREE
    south = (math.floor(row / step) - 0.45) * step
    assert coarse(south, longitude, 1_000) == coarse(south + within * step, longitude, 1_000)


def test_a_coarse_position_does_not_reveal_the_exact_one() -> None:
    event = LocationEvent(
        VEHICLE, location(latitude=52.66341, longitude=-8.62675, speed=1, heading=2, altitude=3)
    )
    seen = Rule(PrivacyRule(precision=100, hide=("userId",), keep=("speed",))).apply(event)
    assert seen.entity == event.entity
    assert seen.location.to_wire() == {
        "deviceId": event.location.device_id,
        "userId": "hidden",
        "latitude": 52.663734,
        "longitude": -8.626313,
        "speed": 1,
        "timestamp": event.to_wire()["location"]["timestamp"],
    }
    hidden = Rule(PrivacyRule(hide=("heading", "deviceId"))).apply(event).location
    assert (hidden.heading, hidden.device_id, hidden.altitude) == (None, "hidden", 3)
    assert hidden.latitude == event.location.latitude


@pytest.mark.parametrize(
    ("rule", "claims", "applies"),
    [
        ({}, {}, True),
        ({"claim": "role", "values": ("a", "b")}, {"role": "b"}, True),
        ({"claim": "role", "values": ("a", "b")}, {"role": "c"}, False),
        ({"claim": "role", "values": ("a", "b")}, {"role": ["c", "a"]}, True),
        ({"claim": "role", "values": ("None", "null")}, {}, False),
        ({"claim": "guest", "values": ("true",)}, {"guest": True}, True),
        ({"claim": "level", "values": ("1",)}, {"level": 1}, True),
        ({"claim": "level", "values": ("1",)}, {"level": {"n": 1}}, False),
        ({"claim": "role", "except_values": ("a",)}, {"role": "a"}, False),
        ({"claim": "role", "except_values": ("a",)}, {"role": ["b", "a"]}, False),
        ({"claim": "role", "except_values": ("a",)}, {"role": "b"}, True),
        ({"claim": "role", "except_values": ("a",)}, {}, True),
        ({"entity_types": ("vehicle",)}, {}, True),
        ({"entity_types": ("delivery",)}, {}, False),
    ],
)
async def test_the_watchers_that_a_rule_applies_to(
    rule: dict[str, Any], claims: dict[str, Any], applies: bool
) -> None:
    made = Rule(PrivacyRule(precision=100, **rule))
    assert await made.applies(Identity(user_id="u1", claims=claims), VEHICLE) is applies


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({}, "precision or hide"),
        ({"keep": ("speed",)}, "precision or hide"),
        ({"precision": 0.5}, "1 m and more"),
        ({"precision": 9, "values": ("a",)}, "need a claim"),
        ({"precision": 9, "claim": "role"}, "either values or except_values"),
        ({"hide": ("speed",), "claim": "r", "values": ("a",), "except_values": ("b",)}, "either"),
        ({"hide": ("latitude",)}, "'latitude' cannot be named here"),
        ({"hide": ("sped",)}, "'sped' is no field"),
        ({"precision": 9, "keep": ("userId",)}, "'userId' cannot be named here"),
    ],
)
def test_an_invalid_rule_is_refused(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        PrivacyRule(**rule)
