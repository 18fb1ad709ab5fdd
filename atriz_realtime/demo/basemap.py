"""The map of the town and the country around it, as a file for the setting ``basemap``.

The layers and their properties are those of the Protomaps schema, which the pages draw.  Streets,
parks and the course of the river are invented like the network; coasts are Natural Earth's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

from atriz_realtime.api.wire import decode_json
from atriz_realtime.demo import buildings, country, names, tiles, town
from atriz_realtime.demo.streets import (
    CENTRE,
    Point,
    Street,
    Streets,
    to_degrees,
    to_plane,
)
from atriz_realtime.demo.vector_tile import LINE, POINT, POLYGON, Value

BOUNDS = (-9.9, 51.95, -7.6, 53.2)
"""West, south, east and north of the map, in degrees."""

ZOOMS = (7, 13)
"""The lowest zoom shows the country; the highest one has every detail."""

ATTRIBUTION = "An invented town"

RIVER = (
    ((33_000.0, 60_000.0), 80.0),
    ((29_500.0, 52_000.0), 90.0),
    ((27_700.0, 47_600.0), 300.0),
    ((25_500.0, 43_000.0), 1_500.0),
    ((20_500.0, 35_000.0), 1_900.0),
    ((17_000.0, 27_000.0), 1_400.0),
    ((14_800.0, 20_500.0), 700.0),
    ((12_900.0, 16_400.0), 120.0),
    ((10_300.0, 12_200.0), 80.0),
    ((6_900.0, 7_600.0), 75.0),
    *((place, 75.0) for place in town.RIVER[:-1]),
    (town.RIVER[-1], 130.0),
    ((-8_500.0, -2_600.0), 260.0),
    ((-13_000.0, -2_900.0), 500.0),
    ((-19_000.0, -2_000.0), 1_100.0),
    ((-26_000.0, -3_000.0), 1_500.0),
)
"""The course of the Shannon through Lough Derg to its estuary, with half its width in metres."""

LAKE = (20_000.0, 34_000.0)
"""The middle of Lough Derg."""

ISLANDS = 15.0
"""Degrees from the town within which all islands begin that the map shows."""

PARK_AREA = (25_000.0, 160_000.0)
"""Smallest and largest area of a park, in square metres."""
PARKS = 14

QUARTERS = ("Northgate", "Riverside", "Abbeyfields", "Castletown", "Millbrook", "Dockland")

INHABITANTS = {"Limerick": 10, "Ennis": 8, "Tralee": 8, "Killarney": 8, "Shannon": 7}
"""Towns that are larger than the others: their rank in the Protomaps schema."""


def write(path: Path, streets: Streets, roads: Streets, seed: int) -> None:
    """Write the map as a PMTiles file.

    :param streets: the town's.
    :param roads: the country's.
    """
    features = [
        *_land(),
        *_water(),
        *_blocks(streets, roads, seed),
        *_country(roads),
        *_town(streets),
    ]
    tiles.write(
        path,
        features,
        BOUNDS,
        ZOOMS,
        {"name": "Demo", "attribution": ATTRIBUTION, "type": "baselayer"},
    )


def _feature(
    layer: str,
    shape: int,
    parts: Iterable[Iterable[Point]],
    min_zoom: int = 0,
    /,
    **properties: Value,
) -> tiles.Feature:
    """A feature with the points of its parts on the plane."""
    placed = [[tiles.to_square(*to_degrees(point)) for point in part] for part in parts]
    return tiles.Feature(layer, shape, placed, properties, min_zoom)


def _area(
    layer: str, rings: Iterable[Sequence[Point]], min_zoom: int = 0, /, **properties: Value
) -> tiles.Feature:
    """An area, of rings on the plane."""
    turned = [_clockwise(ring)[::-1] for ring in rings]  # north is up on the plane
    return _feature(layer, POLYGON, turned, min_zoom, **properties)


# -- land and water ------------------------------------------------------------------------


def _land() -> Iterator[tiles.Feature]:
    """The land around the map, from the offline map of the pages."""
    source = files("atriz_realtime") / "pages" / "dist" / "world-10m.json"
    atlas: Any = decode_json(source.read_bytes())
    (scale_x, scale_y), (west, south) = (
        atlas["transform"][each] for each in ("scale", "translate")
    )
    arcs: dict[int, list[tuple[float, float]]] = {}

    def start(number: int) -> tuple[float, float]:
        x, y = atlas["arcs"][max(number, ~number)][0]
        return x * scale_x + west, y * scale_y + south

    def arc(number: int) -> list[tuple[float, float]]:
        if number < 0:
            return arc(~number)[::-1]
        if number not in arcs:
            x, y = 0, 0
            arcs[number] = []
            for dx, dy in atlas["arcs"][number]:
                x, y = x + dx, y + dy
                arcs[number].append((x * scale_x + west, y * scale_y + south))
        return arcs[number]

    margin = 360 / 2 ** ZOOMS[0]  # a tile of the lowest zoom
    box = (BOUNDS[0] - margin, BOUNDS[1] - margin, BOUNDS[2] + margin, BOUNDS[3] + margin)
    (land,) = atlas["objects"]["land"]["geometries"]
    for polygon in land["arcs"]:
        if math.dist(start(polygon[0][0]), CENTRE[::-1]) > ISLANDS:
            continue
        ring = list(itertools.chain.from_iterable(arc(number)[:-1] for number in polygon[0]))
        xs, ys = zip(*ring, strict=True)
        if min(xs) < box[2] and box[0] < max(xs) and min(ys) < box[3] and box[1] < max(ys):
            placed = [tiles.to_square(latitude, longitude) for longitude, latitude in ring]
            yield tiles.Feature("earth", POLYGON, [_clockwise(placed)], {"kind": "earth"})


def _clockwise(ring: Sequence[Point]) -> list[Point]:
    """A ring that is clockwise where the second coordinate points down."""
    return list(ring) if _size(ring) > 0 else list(ring)[::-1]


def _water() -> Iterator[tiles.Feature]:
    """The river, and the lake on its way."""
    course = [(*place, width) for place, width in RIVER]
    for _ in range(3):  # rounds the bends (Chaikin)
        course = [
            tuple(a + (b - a) * part for a, b in zip(one, other, strict=True))  # type: ignore[misc]
            for one, other in itertools.pairwise(course)
            for part in (0.25, 0.75)
        ]
    banks: tuple[list[Point], list[Point]] = ([], [])
    for index, (x, y, width) in enumerate(course):
        before, after = course[max(0, index - 1)], course[min(len(course) - 1, index + 1)]
        dx, dy = after[0] - before[0], after[1] - before[1]
        length = math.hypot(dx, dy)
        for side, bank in zip((1, -1), banks, strict=True):
            bank.append((x - side * dy / length * width, y + side * dx / length * width))
    # in stretches, so that no ring crosses itself in a bend; they overlap, so that no seam is seen
    for index in range(0, len(course) - 1, 2):
        ring = [*banks[0][index : index + 4], *banks[1][index : index + 4][::-1]]
        yield _area("water", [ring], kind="river")
    middle = [(x, y) for x, y, _ in course]
    name: dict[str, Value] = {"kind": "river", "name": "River Shannon"}
    yield _feature("water", LINE, [middle], 9, **name)
    yield _feature("water", POINT, [[LAKE]], 8, kind="lake", name="Lough Derg")


# -- the town ------------------------------------------------------------------------------


def _blocks(streets: Streets, roads: Streets, seed: int) -> Iterator[tiles.Feature]:
    """The built-up area, and parks, each a block between streets."""
    random = Random(seed)  # noqa: S311  # a map, not a secret
    blocks = [(abs(_size(block)), block) for block in _faces(streets)]
    outline = max(blocks)[1]
    yield _area("landuse", [outline], 8, kind="residential")
    fitting = [block for area, block in blocks if PARK_AREA[0] < area < PARK_AREA[1]]
    parks = random.sample(fitting, PARKS)
    for block, name in zip(parks, names.PARKS, strict=True):
        yield _area("landuse", [block], 10, kind="park")
        middle = (sum(x for x, _ in block) / len(block), sum(y for _, y in block) / len(block))
        yield _feature("pois", POINT, [[middle]], 13, kind="park", name=name)
    for house in buildings.houses(streets, seed, parks, _once(roads)):
        yield _area("buildings", [house], ZOOMS[1], kind="building")


def _size(ring: Sequence[Point]) -> float:
    """The area of a ring; positive if it is clockwise where the second coordinate points down."""
    pairs = zip(ring, [*ring[1:], ring[0]], strict=True)
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs) / 2


def _faces(streets: Streets) -> Iterator[list[Point]]:
    """The areas that streets enclose; one of them is the outside of the town."""
    around = {
        junction: sorted(leaving, key=lambda street: street.at(0.0)[1])
        for junction, leaving in streets.leaving.items()
    }
    place = {
        (street.start, street.end): index
        for leaving in around.values()
        for index, street in enumerate(leaving)
    }
    waiting = {(street.start, street.end): street for each in around.values() for street in each}
    while waiting:
        _, street = waiting.popitem()
        ring = list(street.points[:-1])
        while True:
            leaving = around[street.end]
            street = leaving[place[street.end, street.start] - 1]
            if (street.start, street.end) not in waiting:
                break
            del waiting[street.start, street.end]
            ring += street.points[:-1]
        yield ring


def _town(streets: Streets) -> Iterator[tiles.Feature]:
    """The streets, and the names of the quarters."""
    for name, line, limit in names.named(streets, town.SEED):
        match limit:
            case town.LIMIT_RING:
                road: dict[str, Value] = {"kind": "highway", "kind_detail": "trunk"}
                zoom = 8
            case town.LIMIT_ARTERIAL:
                road, zoom = {"kind": "major_road", "kind_detail": "secondary"}, 9
            case town.LIMIT_CENTRE:
                road, zoom = {"kind": "minor_road", "kind_detail": "residential"}, 11
            case _:
                road, zoom = {"kind": "minor_road", "kind_detail": "unclassified"}, 11
        yield _feature("roads", LINE, [line], zoom, **road, name=name)
    for index, name in enumerate(QUARTERS):
        angle = math.radians(20 + 360 * index / len(QUARTERS))
        place = (1_900 * math.sin(angle), 1_900 * math.cos(angle))
        yield _feature("places", POINT, [[place]], 11, kind="neighbourhood", name=name)


# -- the country ---------------------------------------------------------------------------


def _country(roads: Streets) -> Iterator[tiles.Feature]:
    """The roads between towns, and the towns."""
    towns = list(country.TOWNS)
    for street in _once(roads):
        main = street.limit == country.LIMIT_MAIN
        yield _feature(
            "roads",
            LINE,
            [street.points],
            0 if main else 8,
            kind="highway" if main else "major_road",
            kind_detail="trunk" if main else "primary",
            name=f"{towns[street.end]} Road",
        )
    for name, position in country.TOWNS.items():
        rank = INHABITANTS.get(name, 6)
        yield _feature(
            "places",
            POINT,
            [[to_plane(*position)]],
            0 if rank > 7 else 8 if rank > 6 else 9,
            kind="locality",
            kind_detail="city" if rank > 9 else "town",
            population_rank=rank,
            name=name,
        )


def _once(streets: Streets) -> Iterator[Street]:
    """One direction of each street."""
    for leaving in streets.leaving.values():
        yield from (street for street in leaving if street.start < street.end)
