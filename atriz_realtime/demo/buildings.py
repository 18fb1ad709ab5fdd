"""Houses along the streets of the town."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from random import Random

from atriz_realtime.demo import town
from atriz_realtime.demo.streets import Point, Street, Streets

SETBACK = 8.0
"""Metres from the middle of a street to the front of a house."""

GAP = 3.0
"""Smallest distance in metres between two houses of a street."""

WIDTH = (10.0, 19.0)
DEPTH = (9.0, 15.0)
"""Smallest and largest size of a house, in metres."""

BUILT = 0.9
"""The share of plots that have a house."""

RIVERSIDE = 95.0
"""Smallest distance in metres of a house from the middle of the river."""

LARGEST = 1_500.0
"""Metres across an area that stays free, at most."""

CELL = 24.0
"""Metres of a cell of the grid in which neighbours are looked up."""


class _Near:
    """Points on a grid of cells."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], list[Point]] = defaultdict(list)

    def add(self, place: Point) -> None:
        self._cells[self._cell(place)].append(place)

    def has(self, place: Point, distance: float) -> bool:
        """Whether there is a point within a distance, which is at most that of a cell."""
        column, row = self._cell(place)
        return any(
            math.dist(place, other) < distance
            for dx in (-1, 0, 1)
            for dy in (-1, 0, 1)
            for other in self._cells.get((column + dx, row + dy), ())
        )

    def _cell(self, place: Point) -> tuple[int, int]:
        return math.floor(place[0] / CELL), math.floor(place[1] / CELL)


def houses(
    streets: Streets, seed: int, green: Sequence[Sequence[Point]]
) -> Iterator[tuple[Point, ...]]:
    """The outlines of the houses.

    :param green: areas that stay free.
    """
    random = Random(seed)  # noqa: S311  # a map, not a secret
    once = [
        street
        for leaving in streets.leaving.values()
        for street in leaving
        if street.start < street.end
    ]
    roadway, houses_near = _Near(), _Near()
    for street in once:
        for step in range(int(street.length / 5.0) + 1):
            roadway.add(street.at(min(street.length, step * 5.0))[0])
    for street in once:
        if street.limit == town.LIMIT_RING:
            continue
        for side in (-1, 1):
            for middle, outline in _along(random, street, side):
                if (
                    random.random() < BUILT
                    and not any(roadway.has(corner, SETBACK - 2.5) for corner in outline)
                    and not houses_near.has(middle, 15.0)
                    and _from_river(middle) > RIVERSIDE
                    and not any(_is_within(middle, area) for area in green)
                ):
                    houses_near.add(middle)
                    yield outline


def _along(
    random: Random, street: Street, side: int
) -> Iterator[tuple[Point, tuple[Point, ...]]]:
    """Plots on a side of a street: the middle and the outline of each."""
    at = SETBACK
    while True:
        width, depth = random.uniform(*WIDTH), random.uniform(*DEPTH)
        if at + width > street.length - SETBACK:
            return
        (x, y), heading = street.at(at + width / 2)
        angle = math.radians(heading)
        ahead = (math.sin(angle), math.cos(angle))
        aside = (side * ahead[1], -side * ahead[0])

        def corner(
            along: float, away: float, x: float = x, y: float = y,
            ahead: Point = ahead, aside: Point = aside,
        ) -> Point:
            return (
                x + along * ahead[0] + away * aside[0],
                y + along * ahead[1] + away * aside[1],
            )

        half, far = width / 2, SETBACK + depth
        outline = (
            corner(-half, SETBACK),
            corner(half, SETBACK),
            corner(half, far),
            corner(-half, far),
        )
        yield corner(0.0, SETBACK + depth / 2), outline
        at += width + random.uniform(GAP, 3 * GAP)


def _from_river(place: Point) -> float:
    """Metres to the middle of the river."""
    nearest = math.inf
    for (ax, ay), (bx, by) in zip(town.RIVER, town.RIVER[1:], strict=False):
        dx, dy = bx - ax, by - ay
        part = ((place[0] - ax) * dx + (place[1] - ay) * dy) / (dx * dx + dy * dy)
        part = max(0.0, min(1.0, part))
        nearest = min(nearest, math.dist(place, (ax + part * dx, ay + part * dy)))
    return nearest


def _is_within(place: Point, area: Sequence[Point]) -> bool:
    """Whether a place lies in an area (ray casting)."""
    x, y = place
    if math.dist(place, area[0]) > LARGEST:
        return False
    inside = False
    for (x0, y0), (x1, y1) in zip(area, [*area[1:], area[0]], strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            inside = not inside
    return inside
