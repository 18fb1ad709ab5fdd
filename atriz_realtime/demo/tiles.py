"""Cuts features into vector tiles, each zoom from the one before, and writes them to a file."""

from __future__ import annotations

import gzip
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from atriz_realtime.demo.vector_tile import (
    EXTENT,
    LINE,
    POINT,
    POLYGON,
    TileFeature,
    Value,
    encode,
)

Place = tuple[float, float]
"""A place on the Web Mercator square: 0 to 1, eastwards and southwards."""

Box = tuple[float, float, float, float]
"""West, north, east and south, on the square."""

BUFFER = 80 / EXTENT
"""How far features reach beyond a tile, in tiles, so that its edge shows no ends of lines."""

COARSENESS = 3
"""Units of a tile; points that are nearer to the one before are left out."""


@attrs.frozen
class Feature:
    """Something on the map, from a zoom on."""

    layer: str
    kind: int
    parts: Sequence[Sequence[Place]]
    """Points, lines, or rings, whose last point is not the first."""
    properties: Mapping[str, Value]
    min_zoom: int = 0
    box: Box = attrs.field(init=False)

    @box.default
    def _measure(self) -> Box:
        xs = [x for part in self.parts for x, _ in part]
        ys = [y for part in self.parts for _, y in part]
        return min(xs), min(ys), max(xs), max(ys)


def to_square(latitude: float, longitude: float) -> Place:
    """The place of a position in degrees."""
    south = 0.5 - math.asinh(math.tan(math.radians(latitude))) / (2 * math.pi)
    return longitude / 360 + 0.5, south


def write(
    path: Path,
    features: Sequence[Feature],
    bounds: tuple[float, float, float, float],
    zooms: tuple[int, int],
    metadata: Mapping[str, object],
) -> None:
    """Write a PMTiles file.

    :param bounds: west, south, east and north in degrees; tiles outside are left out.
    """
    from pmtiles.tile import Compression, TileType, zxy_to_tileid  # noqa: PLC0415
    from pmtiles.writer import Writer  # noqa: PLC0415

    west, south, east, north = bounds
    within = (*to_square(north, west), *to_square(south, east))
    tiles = {
        zxy_to_tileid(*tile): gzip.compress(encode(layers), 6, mtime=0)
        for tile, layers in cut(features, within, zooms)
    }
    layers = sorted({feature.layer for feature in features})
    with path.open("wb") as file:
        writer = Writer(file)
        for number in sorted(tiles):
            writer.write_tile(number, tiles[number])
        writer.finalize(
            {
                "tile_type": TileType.MVT,
                "tile_compression": Compression.GZIP,
                "min_lon_e7": round(west * 1e7),
                "min_lat_e7": round(south * 1e7),
                "max_lon_e7": round(east * 1e7),
                "max_lat_e7": round(north * 1e7),
            },
            {**metadata, "vector_layers": [{"id": layer, "fields": {}} for layer in layers]},
        )


def cut(
    features: Sequence[Feature], within: Box, zooms: tuple[int, int]
) -> Iterator[tuple[tuple[int, int, int], Mapping[str, list[TileFeature]]]]:
    """The tiles that have something, each as zoom, x and y with the features of its layers."""
    waiting = [((0, 0, 0), features)]
    while waiting:
        (zoom, x, y), inherited = waiting.pop()
        size = 1 / 2**zoom
        west, north = x * size, y * size
        if not _overlap((west, north, west + size, north + size), within):
            continue
        margin = BUFFER * size
        box = (west - margin, north - margin, west + size + margin, north + size + margin)
        here = [clipped for each in inherited if (clipped := _clipped(each, box))]
        if not here:
            continue
        if zoom >= zooms[0] and (layers := _layers(here, zoom, (west, north), size)):
            yield (zoom, x, y), layers
        if zoom < zooms[1]:
            waiting += (
                ((zoom + 1, 2 * x + dx, 2 * y + dy), here) for dx in (0, 1) for dy in (0, 1)
            )


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _layers(
    features: Iterable[Feature], zoom: int, corner: Place, size: float
) -> Mapping[str, list[TileFeature]]:
    layers: dict[str, list[TileFeature]] = defaultdict(list)
    for feature in features:
        if feature.min_zoom > zoom:
            continue
        least = {POINT: 1, LINE: 2, POLYGON: 3}[feature.kind]
        rounded = (_rounded(part, corner, size) for part in feature.parts)
        parts = [part for part in rounded if len(part) >= least]
        if feature.kind == POINT:  # in one tile only, so that no name is placed twice
            parts = [part for part in parts if all(0 <= each < EXTENT for each in part[0])]
        if parts:
            layers[feature.layer].append(TileFeature(feature.kind, parts, feature.properties))
    return layers


def _rounded(part: Sequence[Place], corner: Place, size: float) -> list[tuple[int, int]]:
    """The points in units of the tile, without those that are next to the one before."""
    found: list[tuple[int, int]] = []
    for index, (x, y) in enumerate(part):
        place = (round((x - corner[0]) / size * EXTENT), round((y - corner[1]) / size * EXTENT))
        if found:
            step = max(abs(place[0] - found[-1][0]), abs(place[1] - found[-1][1]))
            if step == 0 or (step < COARSENESS and index != len(part) - 1):
                continue
        found.append(place)
    return found


def _clipped(feature: Feature, box: Box) -> Feature | None:
    """The part of a feature inside a box; ``None``: there is none."""
    west, north, east, south = feature.box
    if west > box[2] or east < box[0] or north > box[3] or south < box[1]:
        return None
    if box[0] <= west and east <= box[2] and box[1] <= north and south <= box[3]:
        return feature
    parts: list[Sequence[Place]] = []
    for part in feature.parts:
        if feature.kind == LINE:
            parts += _line_within(part, box)
        elif feature.kind == POLYGON and len(ring := _ring_within(part, box)) >= 3:
            parts.append(ring)
    if not parts:
        return None
    return Feature(feature.layer, feature.kind, parts, feature.properties, feature.min_zoom)


def _line_within(line: Sequence[Place], box: Box) -> Iterator[Sequence[Place]]:
    """The pieces of a line inside a box (Liang and Barsky)."""
    piece: list[Place] = []
    for (x0, y0), (x1, y1) in itertools.pairwise(line):
        dx, dy = x1 - x0, y1 - y0
        first, last = 0.0, 1.0
        for delta, inside in (
            (-dx, x0 - box[0]),
            (dx, box[2] - x0),
            (-dy, y0 - box[1]),
            (dy, box[3] - y0),
        ):
            if delta < 0:
                first = max(first, inside / delta)
            elif delta > 0:
                last = min(last, inside / delta)
            elif inside < 0:
                last = -1.0
        if first > last:
            if piece:
                yield piece
                piece = []
            continue
        if not piece:
            piece = [(x0 + dx * first, y0 + dy * first)]
        piece.append((x0 + dx * last, y0 + dy * last))
        if last < 1.0:
            yield piece
            piece = []
    if piece:
        yield piece


def _ring_within(ring: Sequence[Place], box: Box) -> list[Place]:
    """The part of an area inside a box (Sutherland and Hodgman)."""
    points = list(ring)
    for axis, limit, sign in ((0, box[0], 1), (0, box[2], -1), (1, box[1], 1), (1, box[3], -1)):
        result: list[Place] = []
        for index, end in enumerate(points):
            start = points[index - 1]
            depth_start, depth_end = sign * (start[axis] - limit), sign * (end[axis] - limit)
            if (depth_start < 0) != (depth_end < 0):
                part = depth_start / (depth_start - depth_end)
                result.append(
                    (start[0] + (end[0] - start[0]) * part, start[1] + (end[1] - start[1]) * part)
                )
            if depth_end >= 0:
                result.append(end)
        points = result
        if not points:
            break
    return points
