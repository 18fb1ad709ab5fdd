"""The roads of the demo."""

from __future__ import annotations

import itertools
import math

import pytest

from atriz_realtime.demo import country
from atriz_realtime.demo.streets import CENTRE, Street, Streets, to_degrees, to_plane


@pytest.fixture(scope="module")
def roads() -> Streets:
    return country.build(304)


def every(roads: Streets) -> list[Street]:
    return [road for leaving in roads.leaving.values() for road in leaving]


def test_equal_seeds_give_equal_roads(roads: Streets) -> None:
    again, other = (country.build(seed) for seed in (304, 305))
    assert [road.points for road in every(again)] == [road.points for road in every(roads)]
    assert [road.points for road in every(other)] != [road.points for road in every(roads)]


def test_every_town_can_be_reached_from_every_other(roads: Streets) -> None:
    assert len(roads.junctions) == len(country.TOWNS)
    for start, end in itertools.pairwise([*roads.junctions, 0]):
        assert roads.route(start, end)


def test_roads_lead_from_town_to_town_with_bends_and_back(roads: Streets) -> None:
    for road in every(roads):
        assert road.points[0] == roads.junctions[road.start]
        assert road.points[-1] == roads.junctions[road.end]
        straight = math.dist(road.points[0], road.points[-1])
        assert 1.0 < road.length / straight < 1.1
        assert any(back.points == road.points[::-1] for back in roads.leaving[road.end])


def test_the_projection_can_be_reversed() -> None:
    assert to_plane(*CENTRE) == (0, 0)
    assert to_degrees(to_plane(52.06, -9.504)) == pytest.approx((52.06, -9.504))
