"""Simplified lines keep their shape."""

from __future__ import annotations

import itertools
import math
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atriz_realtime_history.simplify import METRES_PER_DEGREE, PIECE, kept

UNITS = 10_000_000

settings.register_profile("history", deadline=None)
settings.load_profile("history")

STEPS = st.tuples(st.integers(-20_000, 20_000), st.integers(-20_000, 20_000))

Point = tuple[int, int]


def away(point: Point, start: Point, end: Point) -> float:
    """Metres from a point to a piece of a line, on a plane through the point."""
    shrink = math.cos(math.radians(point[0] / UNITS))
    scale = METRES_PER_DEGREE / UNITS

    def flat(other: Point) -> complex:
        return complex((other[1] - point[1]) * shrink, other[0] - point[0]) * scale

    a, b = flat(start), flat(end)
    if a == b:
        return abs(a)
    along = -(a * (b - a).conjugate()).real / abs(b - a) ** 2
    return abs(a + min(1.0, max(0.0, along)) * (b - a))


@given(
    north=st.integers(-60 * UNITS, 60 * UNITS),
    steps=st.lists(STEPS, max_size=80),
    metres=st.sampled_from([0.5, 5.0, 50.0]),
)
def test_no_point_is_farther_than_allowed_from_the_line(
    north: int, steps: list[Point], metres: float
) -> None:
    points = [(north, 0)]
    for up, right in steps:
        points.append((points[-1][0] + up, points[-1][1] + right))
    places = kept([each[0] for each in points], [each[1] for each in points], UNITS, metres)
    assert places[0] == 0
    assert places[-1] == len(points) - 1
    assert places == sorted(set(places))
    for start, end in itertools.pairwise(places):
        for point in points[start:end]:
            assert away(point, points[start], points[end]) <= metres * 1.01 + 0.01


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_short_line_is_kept(count: int) -> None:
    assert kept([0] * count, [0] * count, UNITS, 10) == list(range(count))


def test_a_straight_line_has_two_ends() -> None:
    assert kept([0, 1_000, 2_000, 3_000], [0, 0, 0, 0], UNITS, 1) == [0, 3]


def test_a_line_across_the_antimeridian_does_not_go_round_the_earth() -> None:
    east = [1_799_999_000, 1_799_999_900, -1_799_999_200, -1_799_998_300]
    assert kept([0] * 4, east, UNITS, 1) == [0, 3]


def test_the_turning_point_of_a_road_and_back_is_kept() -> None:
    there = list(range(0, 100_000, 1_000))
    latitudes = [*there, *reversed(there)]
    assert kept(latitudes, [0] * len(latitudes), UNITS, 10)[1] in (99, 100)


def test_a_line_that_turns_at_every_point_takes_no_more_than_a_few_seconds() -> None:
    count = 5 * PIECE
    latitudes = [place * place if place % 2 else 0 for place in range(count)]
    started = time.monotonic()
    assert len(kept(latitudes, list(range(count)), UNITS, 0.001)) > count / 2
    assert time.monotonic() - started < 20


def test_a_random_walk_is_reduced() -> None:
    random.seed(1)
    latitudes, longitudes = [520_000_000], [-80_000_000]
    for _ in range(86_399):
        latitudes.append(latitudes[-1] + random.randrange(-900, 1_000))
        longitudes.append(longitudes[-1] + random.randrange(-900, 1_000))
    assert len(kept(latitudes, longitudes, UNITS, 10)) < 20_000
