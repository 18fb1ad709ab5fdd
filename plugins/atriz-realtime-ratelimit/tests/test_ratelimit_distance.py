"""``distance`` in one process, with a fake clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atriz_realtime.api import Resources
from atriz_realtime.testing import FakeClock, location
from atriz_realtime_ratelimit.distance import EARTH_RADIUS, Distance, DistanceOptions, great_circle
from atriz_realtime_ratelimit.memory import MAX_ENTITIES

DEGREE = math.radians(1) * EARTH_RADIUS
"""Metres of one degree along a great circle."""

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)
POINTS = st.tuples(LATITUDES, LONGITUDES)
METRES = st.floats(0.1, 5_000_000)

Point = tuple[float, float]


def by_vectors(one: Point, other: Point) -> float:
    """The same distance from another formula: the angle between two vectors in space."""

    def vector(point: Point) -> tuple[float, float, float]:
        latitude, longitude = map(math.radians, point)
        return (
            math.cos(latitude) * math.cos(longitude),
            math.cos(latitude) * math.sin(longitude),
            math.sin(latitude),
        )

    a, b = vector(one), vector(other)
    cross = math.hypot(
        a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    )
    return EARTH_RADIUS * math.atan2(cross, sum(x * y for x, y in zip(a, b, strict=True)))


class Vehicle:
    """Reports positions."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.reported: list[str] = []
        resources = Resources(clock=self.clock, redis=None, settings={}, report=self._report)
        self.limit = Distance(DistanceOptions(**options), resources)

    def _report(self, kind: str, message: str, *, labels: Mapping[str, str] | None = None) -> None:
        self.reported.append(kind.format(**labels or {}))

    def report(
        self, latitude: float, longitude: float, after: float = 0.0, entity_id: str = "v1"
    ) -> bool:
        """Report a position a number of seconds after the last one."""
        self.clock.advance(after)
        return self.limit.admit(entity_id, location(latitude=latitude, longitude=longitude))


# -- the distance ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "metres"),
    [
        ((0, 0), (0, 0), 0),
        ((0, 0), (1, 0), DEGREE),
        ((0, 0), (0, 1), DEGREE),
        ((60, 0), (60, 1), 2 * EARTH_RADIUS * math.asin(0.5 * math.sin(math.radians(0.5)))),
        ((0, 179.5), (0, -179.5), DEGREE),
        ((90, 0), (90, 137), 0),
        ((0, 0), (0, 180), math.pi * EARTH_RADIUS),
        ((90, 0), (-90, 0), math.pi * EARTH_RADIUS),
    ],
)
def test_known_distances(one: Point, other: Point, metres: float) -> None:
    assert great_circle(*one, *other) == pytest.approx(metres, abs=1e-6)


def test_a_surveyed_line_is_met_within_the_error_of_a_sphere() -> None:
    """Flinders Peak to Buninyong, the test line of Australia's GDA2020 Technical Manual."""
    flinders_peak = (-37.951033417, 144.424867889)
    buninyong = (-37.652821139, 143.926495528)
    assert great_circle(*flinders_peak, *buninyong) == pytest.approx(54_972.271, rel=6e-3)


@given(one=POINTS, other=POINTS)
def test_the_distance_is_that_of_the_angle_between_two_vectors(one: Point, other: Point) -> None:
    expected = by_vectors(one, other)
    near_the_antipode = expected > 0.999 * math.pi * EARTH_RADIUS  # where haversine is coarse
    assert great_circle(*one, *other) == pytest.approx(
        expected, rel=1e-9, abs=1.0 if near_the_antipode else 1e-6
    )


@given(one=POINTS, other=POINTS)
def test_the_distance_is_symmetric(one: Point, other: Point) -> None:
    assert great_circle(*one, *other) == great_circle(*other, *one)


# -- the policy -----------------------------------------------------------------------------


@given(start=POINTS, metres=METRES, ends=st.lists(POINTS, min_size=2, max_size=2))
def test_a_longer_move_passes_if_a_shorter_one_does(
    start: Point, metres: float, ends: list[Point]
) -> None:
    nearer, farther = sorted(ends, key=lambda end: great_circle(*start, *end))
    passes = []
    for end in (nearer, farther):
        vehicle = Vehicle(metres=metres)
        assert vehicle.report(*start)
        passes.append(vehicle.report(*end))
    assert passes == sorted(passes)


@given(start=POINTS, end=POINTS, thresholds=st.lists(METRES, min_size=2, max_size=2))
def test_a_fix_that_passes_a_threshold_passes_every_lower_one(
    start: Point, end: Point, thresholds: list[float]
) -> None:
    passes = []
    for metres in sorted(thresholds, reverse=True):
        vehicle = Vehicle(metres=metres)
        assert vehicle.report(*start)
        passes.append(vehicle.report(*end))
    assert passes == sorted(passes)


@given(
    start=POINTS,
    end=POINTS,
    seconds=st.integers(1, 86_400),
    silences=st.lists(st.integers(0, 200_000), min_size=2, max_size=2),
)
def test_a_fix_that_passes_after_a_pause_passes_after_a_longer_one(
    start: Point, end: Point, seconds: int, silences: list[int]
) -> None:
    passes = []
    for silence in sorted(silences):
        vehicle = Vehicle(metres=1_000, seconds=seconds)
        assert vehicle.report(*start)
        passes.append(vehicle.report(*end, after=silence))
        assert passes[-1] or silence < seconds
    assert passes == sorted(passes)


@given(
    track=st.lists(st.tuples(st.floats(-0.01, 0.01), st.floats(-0.01, 0.01), st.integers(0, 9))),
    metres=st.floats(1, 1_000),
)
def test_two_published_fixes_are_far_apart_in_space_or_in_time(
    track: list[tuple[float, float, int]], metres: float
) -> None:
    vehicle = Vehicle(metres=metres, seconds=20)
    last: tuple[Point, int] | None = None
    now = 0
    for north, east, after in track:
        now += after
        where = (52.6 + north, -8.6 + east)
        due = last is None or great_circle(*last[0], *where) >= metres or now - last[1] >= 20
        assert vehicle.report(*where, after=after) is due
        if due:
            last = (where, now)


@given(one=POINTS, other=POINTS)
def test_entities_are_independent(one: Point, other: Point) -> None:
    vehicle = Vehicle(metres=1)
    assert vehicle.report(*one, entity_id="v1")
    assert vehicle.report(*other, entity_id="v2")
    assert not vehicle.report(*one, entity_id="v1")
    assert not vehicle.report(*other, entity_id="v2")


@given(start=POINTS, end=POINTS, metres=METRES)
def test_fixes_published_by_other_servers_count(start: Point, end: Point, metres: float) -> None:
    vehicle = Vehicle(metres=metres)
    vehicle.limit.note("v1", location(latitude=start[0], longitude=start[1]))
    assert vehicle.report(*end) is (great_circle(*start, *end) >= metres)


def test_slow_movement_is_measured_from_the_published_position() -> None:
    vehicle = Vehicle(metres=10, seconds=60)
    step = 4 / DEGREE  # four metres, in degrees
    assert [vehicle.report(52 + step * number, -8) for number in range(8)] == [
        *(True, False, False),
        *(True, False, False),
        *(True, False),
    ]


def test_a_parked_vehicle_shows_that_it_is_alive() -> None:
    vehicle = Vehicle(metres=10, seconds=60)
    reports = [vehicle.report(52, -8, after=20 if number else 0) for number in range(7)]
    assert reports == [True, False, False, True, False, False, True]


def test_memory_is_bounded_and_the_oldest_entity_is_dropped_first() -> None:
    vehicle = Vehicle()
    for number in range(MAX_ENTITIES + 1):
        assert vehicle.report(52, -8, entity_id=f"v{number}")
    assert not vehicle.report(52, -8, entity_id="v1")
    assert vehicle.report(52, -8, entity_id="v0")
    assert vehicle.reported == ["limit atriz_realtime_ratelimit.memory.MAX_ENTITIES reached"] * 2


@pytest.mark.parametrize(
    "options",
    [
        *({"metres": metres} for metres in (0, -1, float("nan"))),
        *({"seconds": seconds} for seconds in (0, -1, 86_401, float("inf"), float("nan"))),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"metres|seconds"):
        DistanceOptions(**options)
