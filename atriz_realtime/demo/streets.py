"""A street network: junctions, the streets between them, and routes."""

from __future__ import annotations

import bisect
import heapq
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import attrs

CENTRE = (52.66, -8.63)
"""Latitude and longitude, in degrees, of the origin of the plane: Limerick, Ireland."""

EARTH_RADIUS = 6_371_008.8
"""Mean radius in metres (IUGG)."""

Point = tuple[float, float]
"""Metres east and north of the origin."""


def to_degrees(point: Point) -> tuple[float, float]:
    """The latitude and longitude of a point of the plane.

    The projection is equirectangular: 60 km from the origin, distances to the east are off by
    1 to 2 %.
    """
    east, north = point
    latitude = CENTRE[0] + math.degrees(north / EARTH_RADIUS)
    longitude = CENTRE[1] + math.degrees(east / EARTH_RADIUS / math.cos(math.radians(CENTRE[0])))
    return latitude, longitude


def to_plane(latitude: float, longitude: float) -> Point:
    """The point of the plane at a latitude and a longitude."""
    north = math.radians(latitude - CENTRE[0]) * EARTH_RADIUS
    east = math.radians(longitude - CENTRE[1]) * EARTH_RADIUS * math.cos(math.radians(CENTRE[0]))
    return east, north


@attrs.frozen(eq=False)
class Street:
    """One direction of a street between two junctions."""

    start: int
    end: int
    points: tuple[Point, ...]
    """The course from junction to junction, at least two points."""
    limit: float
    """km/h."""
    distances: Sequence[float] = attrs.field(init=False)
    """Metres from the start to each point."""

    @distances.default
    def _measure(self) -> Sequence[float]:
        return list(itertools.accumulate(map(math.dist, self.points, self.points[1:]), initial=0.0))

    @property
    def length(self) -> float:
        """Metres."""
        return self.distances[-1]

    def at(self, distance: float) -> tuple[Point, float]:
        """The point at a distance from the start in metres, and the heading there in degrees."""
        index = bisect.bisect_right(self.distances, distance)
        index = min(max(index, 1), len(self.points) - 1)
        (x0, y0), (x1, y1) = self.points[index - 1], self.points[index]
        span = self.distances[index] - self.distances[index - 1]
        fraction = min(1.0, max(0.0, (distance - self.distances[index - 1]) / span))
        heading = math.degrees(math.atan2(x1 - x0, y1 - y0)) % 360
        return (x0 + (x1 - x0) * fraction, y0 + (y1 - y0) * fraction), heading

    def turn_into(self, other: Street) -> float:
        """The angle of the turn from the end of this street into another, 0 to 180 degrees."""
        turn = abs(other.at(0.0)[1] - self.at(self.length)[1])
        return min(turn, 360 - turn)


class Streets:
    """Junctions, and the streets that leave each.

    :param streets: one direction of each; together they connect all junctions.
    """

    def __init__(self, junctions: Mapping[int, Point], streets: Iterable[Street]) -> None:
        self.junctions = junctions
        self.leaving: dict[int, list[Street]] = {junction: [] for junction in junctions}
        for street in streets:
            back = Street(street.end, street.start, street.points[::-1], street.limit)
            self.leaving[street.start].append(street)
            self.leaving[street.end].append(back)

    def route(self, start: int, end: int) -> list[Street]:
        """The fastest route by the speed limits (Dijkstra)."""
        fastest: dict[int, Street] = {}
        costs = {start: 0.0}
        waiting = [(0.0, start)]
        while waiting:
            cost, junction = heapq.heappop(waiting)
            if junction == end:
                break
            if cost > costs[junction]:
                continue
            for street in self.leaving[junction]:
                beyond = cost + street.length / street.limit
                if beyond < costs.get(street.end, math.inf):
                    costs[street.end], fastest[street.end] = beyond, street
                    heapq.heappush(waiting, (beyond, street.end))
        route: list[Street] = []
        while end != start:
            route.append(fastest[end])
            end = fastest[end].start
        return route[::-1]
