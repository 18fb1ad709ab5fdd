"""Roads between the towns around Limerick: the towns are real, the roads are invented.

Roads bend like country roads: the middle of each is displaced to the side, then the middles
of its halves, and so on (midpoint displacement).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from random import Random
from types import MappingProxyType

from atriz_realtime.demo.streets import Point, Street, Streets, to_plane

LIMIT_MAIN = 100.0
LIMIT_ROAD = 80.0
"""km/h."""

BEND = 0.05
"""The largest displacement of a middle, as a fraction of the length."""

HALVINGS = 5
"""How often a road is halved: it ends up with 32 straight segments."""

TOWNS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "Limerick": (52.660, -8.630),
        "Shannon": (52.715, -8.870),
        "Ennis": (52.844, -8.986),
        "Gort": (53.066, -8.819),
        "Ennistymon": (52.942, -9.292),
        "Kilrush": (52.655, -9.470),
        "Killaloe": (52.807, -8.440),
        "Nenagh": (52.862, -8.197),
        "Roscrea": (52.953, -7.797),
        "Portumna": (53.089, -8.219),
        "Thurles": (52.681, -7.810),
        "Tipperary": (52.474, -8.162),
        "Cashel": (52.515, -7.888),
        "Cahir": (52.376, -7.925),
        "Mitchelstown": (52.266, -8.268),
        "Mallow": (52.135, -8.645),
        "Charleville": (52.355, -8.684),
        "Adare": (52.564, -8.790),
        "Newcastle West": (52.449, -9.061),
        "Foynes": (52.590, -9.105),
        "Listowel": (52.446, -9.485),
        "Abbeyfeale": (52.382, -9.301),
        "Castleisland": (52.233, -9.466),
        "Tralee": (52.268, -9.690),
        "Killarney": (52.060, -9.504),
        "Kanturk": (52.178, -8.903),
    }
)
"""Latitude and longitude in degrees."""

MAIN_ROADS = (
    ("Limerick", "Shannon", "Ennis", "Gort"),
    ("Limerick", "Nenagh", "Roscrea"),
    ("Limerick", "Charleville", "Mallow"),
    ("Limerick", "Adare", "Newcastle West", "Abbeyfeale", "Castleisland", "Tralee"),
    ("Limerick", "Tipperary", "Cahir"),
)
ROADS = (
    ("Ennis", "Ennistymon"),
    ("Ennis", "Kilrush", "Ennistymon"),
    ("Limerick", "Killaloe", "Nenagh", "Portumna", "Gort"),
    ("Roscrea", "Thurles", "Cashel", "Cahir", "Mitchelstown", "Mallow"),
    ("Thurles", "Nenagh"),
    ("Cashel", "Tipperary", "Mitchelstown", "Charleville", "Newcastle West"),
    ("Adare", "Foynes", "Listowel", "Tralee", "Killarney", "Castleisland"),
    ("Listowel", "Abbeyfeale"),
    ("Mallow", "Kanturk", "Killarney"),
    ("Kanturk", "Newcastle West"),
)
"""The towns along each road, in order."""


def build(seed: int) -> Streets:
    """Make the road network, the same for equal seeds."""
    random = Random(seed)  # noqa: S311  # a map, not a secret
    number = {name: index for index, name in enumerate(TOWNS)}
    places = {number[name]: to_plane(*position) for name, position in TOWNS.items()}
    streets: list[Street] = []
    for limit, roads in ((LIMIT_MAIN, MAIN_ROADS), (LIMIT_ROAD, ROADS)):
        for start, end in itertools.chain.from_iterable(map(itertools.pairwise, roads)):
            one, other = number[start], number[end]
            points = _course(random, places[one], places[other], HALVINGS)
            streets.append(Street(one, other, points, limit))
    return Streets(places, streets)


def _course(random: Random, a: Point, b: Point, halvings: int) -> tuple[Point, ...]:
    if halvings == 0:
        return a, b
    shift = random.uniform(-BEND, BEND)
    middle = ((a[0] + b[0]) / 2 - shift * (b[1] - a[1]), (a[1] + b[1]) / 2 + shift * (b[0] - a[0]))
    first = _course(random, a, middle, halvings - 1)
    return first + _course(random, middle, b, halvings - 1)[1:]
