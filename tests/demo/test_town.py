"""The streets of the demo."""

from __future__ import annotations

import itertools
import math

import pytest

from atriz_realtime.demo import town
from atriz_realtime.demo.streets import CENTRE, EARTH_RADIUS, Street, Streets, to_degrees


@pytest.fixture(scope="module")
def streets() -> Streets:
    return town.build()


def every(streets: Streets) -> list[Street]:
    return [street for leaving in streets.leaving.values() for street in leaving]


def shape(streets: Streets) -> list[tuple[object, ...]]:
    return [(street.start, street.end, street.points, street.limit) for street in every(streets)]


def test_equal_seeds_give_equal_towns(streets: Streets) -> None:
    assert shape(town.build()) == shape(streets)
    assert shape(town.build(town.SEED + 1)) != shape(streets)


@pytest.mark.parametrize("seed", [town.SEED, 1, 2])
def test_all_junctions_are_connected_without_dead_ends(seed: int) -> None:
    streets = town.build(seed)
    assert 200 < len(streets.junctions) < 500
    there, back = next(iter(streets.junctions)), list(streets.junctions)[-1]
    for junction in streets.junctions:
        assert streets.route(there, junction) or junction == there
        assert streets.route(junction, back) or junction == back
        assert len(streets.leaving[junction]) >= 2


def test_streets_lead_from_junction_to_junction_and_back(streets: Streets) -> None:
    for street in every(streets):
        assert street.points[0] == pytest.approx(streets.junctions[street.start])
        assert street.points[-1] == pytest.approx(streets.junctions[street.end])
        assert street.length >= math.dist(street.points[0], street.points[-1]) - 1e-6
        assert any(
            back.end == street.start and back.points == street.points[::-1]
            for back in streets.leaving[street.end]
        )


def test_streets_cross_the_river_only_on_bridges(streets: Streets) -> None:
    crossing = [
        street
        for street in every(streets)
        if any(
            town._intersect(a, b, c, d)
            for a, b in itertools.pairwise(street.points)
            for c, d in itertools.pairwise(town.RIVER)
        )
    ]
    assert len(crossing) == 2 * (len(town.BRIDGES) + 2)  # both directions; the ring has two
    assert {street.limit for street in crossing} == {town.LIMIT_ARTERIAL, town.LIMIT_RING}


def test_it_is_faster_on_the_ring_than_on_arterial_roads_than_in_the_centre(
    streets: Streets,
) -> None:
    limits = {street.limit for street in every(streets)}
    assert limits == {30, 50, 60, 100}
    for street in every(streets):
        if street.limit == town.LIMIT_CENTRE:
            assert all(math.hypot(*point) < town.CENTRE_RADIUS for point in street.points)
        if street.limit == town.LIMIT_RING:
            assert all(math.hypot(*point) > 0.8 * town.RING_RADIUS for point in street.points)


def test_streets_bend(streets: Streets) -> None:
    bent = [
        street
        for street in every(streets)
        if street.length > 1.002 * math.dist(street.points[0], street.points[-1])
    ]
    assert len(bent) > len(every(streets)) / 4


def test_a_route_is_the_fastest(streets: Streets) -> None:
    """No street is a shortcut (Bellman's condition)."""
    start, *others = streets.junctions

    def hours(route: list[Street]) -> float:
        return sum(street.length / street.limit for street in route)

    times = {junction: hours(streets.route(start, junction)) for junction in others}
    times[start] = 0.0
    for street in every(streets):
        assert times[street.end] <= times[street.start] + street.length / street.limit + 1e-9


def test_a_street_gives_positions_and_headings_along_it() -> None:
    street = Street(0, 1, ((0.0, 0.0), (0.0, 100.0), (50.0, 100.0)), 50)
    assert street.length == 150
    assert street.at(25) == ((0, 25), 0)
    assert street.at(125) == ((25, 100), 90)
    assert street.at(-5)[0] == (0, 0)
    assert street.at(999)[0] == (50, 100)
    back = Street(1, 0, street.points[::-1], 50)
    assert street.turn_into(back) == 180


def test_the_plane_is_centred_on_limerick() -> None:
    assert to_degrees((0, 0)) == CENTRE
    north, east = to_degrees((0, 1_000)), to_degrees((1_000, 0))
    degree = math.radians(1) * EARTH_RADIUS
    assert (north[0] - CENTRE[0]) * degree == pytest.approx(1_000)
    assert (east[1] - CENTRE[1]) * degree * math.cos(math.radians(CENTRE[0])) == pytest.approx(1e3)
