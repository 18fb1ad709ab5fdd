"""Houses along the streets of the town."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
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

EDGE = 4_500.0
"""Metres of a road from the centre of the town, beyond which there are no houses."""

FREE = 5.5
"""Metres around the middle of a road in which no house stands."""

APART = 15.0
"""Smallest distance in metres between the middles of two houses."""


class _Near:
    """Points, to find out whether one is near.

    :param distance: what counts as near, in metres.
    """

    def __init__(self, distance: float) -> None:
        self._distance = distance
        self._cells: dict[tuple[int, int], list[Point]] = defaultdict(list)

    def add(self, place: Point) -> None:
        self._cells[self._cell(place)].append(place)

    def has(self, place: Point) -> bool:
        """Whether a point is near."""
        column, row = self._cell(place)
        return any(
            math.dist(place, other) < self._distance
            for dx in (-1, 0, 1)
            for dy in (-1, 0, 1)
            for other in self._cells.get((column + dx, row + dy), ())
        )

    def _cell(self, place: Point) -> tuple[int, int]:
        return math.floor(place[0] / self._distance), math.floor(place[1] / self._distance)


def houses(
    streets: Streets, seed: int, green: Sequence[Sequence[Point]], roads: Iterable[Street]
) -> Iterator[tuple[Point, ...]]:
    """The outlines of the houses.

    :param green: areas that stay free.
    :param roads: other roads, which begin in the town and stay free too.
    """
    random = Random(seed)  # noqa: S311  # a map, not a secret
    once = [
        street
        for leaving in streets.leaving.values()
        for street in leaving
        if street.start < street.end
    ]
    roadway, built = _Near(FREE), _Near(APART)
    for street in (*once, *roads):
        for step in range(int(min(street.length, EDGE) / 5.0) + 1):
            roadway.add(street.at(min(street.length, step * 5.0))[0])
    parks = [(_box(area), area) for area in green]
    for street in once:
        if street.limit == town.LIMIT_RING:
            continue
        for side in (-1, 1):
            for middle, outline in _along(random, street, side):
                if (
                    random.random() < BUILT
                    and not any(roadway.has(corner) for corner in outline)
                    and not built.has(middle)
                    and _from_river(middle) > RIVERSIDE
                    and not any(_is_within(middle, box, area) for box, area in parks)
                ):
                    built.add(middle)
                    yield outline


def _along(random: Random, street: Street, side: int) -> Iterator[tuple[Point, tuple[Point, ...]]]:
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
            along: float,
            away: float,
            x: float = x,
            y: float = y,
            ahead: Point = ahead,
            aside: Point = aside,
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
    for (ax, ay), (bx, by) in itertools.pairwise(town.RIVER):
        dx, dy = bx - ax, by - ay
        part = ((place[0] - ax) * dx + (place[1] - ay) * dy) / (dx * dx + dy * dy)
        part = max(0.0, min(1.0, part))
        nearest = min(nearest, math.dist(place, (ax + part * dx, ay + part * dy)))
    return nearest


def _box(area: Sequence[Point]) -> tuple[float, float, float, float]:
    """The smallest and largest coordinates of an area."""
    xs, ys = [x for x, _ in area], [y for _, y in area]
    return min(xs), min(ys), max(xs), max(ys)


def _is_within(place: Point, box: tuple[float, float, float, float], area: Sequence[Point]) -> bool:
    """Whether a place lies in an area (ray casting), of which the box is known."""
    x, y = place
    if not (box[0] <= x <= box[2] and box[1] <= y <= box[3]):
        return False
    inside = False
    for (x0, y0), (x1, y1) in zip(area, [*area[1:], area[0]], strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            inside = not inside
    return inside
