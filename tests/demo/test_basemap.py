"""The demo's map, read by other programs than the one that writes it."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pmtiles.reader import MmapSource, Reader, all_tiles

from atriz_realtime.defaults.basemap.archive import read_archive
from atriz_realtime.defaults.shared.pages import DIST
from atriz_realtime.demo import basemap, country, names, tiles, town
from atriz_realtime.demo.streets import to_degrees
from atriz_realtime.demo.vector_tile import LINE, POINT, POLYGON, TileFeature, encode
from tests.support.clients.node import with_packages

PAGES = Path(str(DIST)).parent

DECODE = """
import Pbf from 'pbf';
import { VectorTile } from '@mapbox/vector-tile';
import { readFileSync } from 'node:fs';

const tiles = JSON.parse(readFileSync(0, 'utf8'));
const read = (text) => {
  const { layers } = new VectorTile(new Pbf(Buffer.from(text, 'base64')));
  return Object.fromEntries(Object.entries(layers).map(([name, layer]) => [name,
    Array.from({ length: layer.length }, (_, index) => {
      const { type, properties } = layer.feature(index);
      return { type, properties, parts: layer.feature(index).loadGeometry()
        .map((part) => part.map(({ x, y }) => [x, y])) };
    })]));
};
console.log(JSON.stringify(tiles.map(read)));
"""
"""Decodes vector tiles with the library of their specification's authors."""


def decoded(*encoded: bytes) -> list[dict[str, Any]]:
    """Tiles as an independent library reads them."""
    given = json.dumps([base64.b64encode(each).decode() for each in encoded])
    child = subprocess.run(
        ["node", "--input-type=module", "--eval", DECODE],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        cwd=with_packages(PAGES),
    )
    assert child.returncode == 0, child.stderr
    found: list[dict[str, Any]] = json.loads(child.stdout)
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("map") / "demo.pmtiles"
    basemap.write(path, town.build(), country.build(town.SEED), town.SEED)
    return path


def test_a_tile_is_read_as_it_was_written() -> None:
    line = TileFeature(LINE, [[(0, 0), (4_096, 17), (-80, 300)], [(5, 5), (6, 9)]], {"name": "Ó"})
    area = TileFeature(POLYGON, [[(0, 0), (9, 0), (9, 9)]], {"level": -3, "is_bridge": True})
    point = TileFeature(POINT, [[(1, 2)]], {"name": "Ó", "rank": 300})
    (tile,) = decoded(encode({"roads": [line], "earth": [area, point]}))
    assert tile == {
        "roads": [
            {
                "type": 2,
                "properties": {"name": "Ó"},
                "parts": [[[0, 0], [4_096, 17], [-80, 300]], [[5, 5], [6, 9]]],
            }
        ],
        "earth": [
            {
                "type": 3,
                "properties": {"level": -3, "is_bridge": True},
                "parts": [[[0, 0], [9, 0], [9, 9], [0, 0]]],
            },
            {"type": 1, "properties": {"name": "Ó", "rank": 300}, "parts": [[[1, 2]]]},
        ],
    }


def test_the_pages_can_draw_it(file: Path) -> None:
    found = read_archive(str(file))
    assert found.problems == ()
    assert found.zooms == basemap.ZOOMS
    assert found.bounds == basemap.BOUNDS
    assert found.size < 3_000_000


def test_equal_seeds_give_equal_files(file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.pmtiles"
    basemap.write(again, town.build(), country.build(town.SEED), town.SEED)
    with file.open("rb") as one, again.open("rb") as other:
        assert dict(all_tiles(MmapSource(one))) == dict(all_tiles(MmapSource(other)))


def test_the_centre_has_streets_with_names_water_and_parks(file: Path) -> None:
    with file.open("rb") as opened:
        reader = Reader(MmapSource(opened))
        found = {}
        for zoom in (8, 13):
            x, y = tiles.to_square(*to_degrees((0.0, 0.0)))
            content = reader.get(zoom, int(x * 2**zoom), int(y * 2**zoom))
            assert content is not None
            found[zoom] = content
    far, near = decoded(*(gzip.decompress(content) for content in found.values()))
    assert {"earth", "landuse", "roads", "water", "places"} <= far.keys()
    assert {"Limerick", "Ennis"} & {each["properties"]["name"] for each in far["places"]}
    kinds = {each["properties"]["kind"] for each in near["roads"]}
    assert {"major_road", "minor_road"} <= kinds
    assert all(each["properties"]["name"] for each in near["roads"])
    assert len(near["roads"]) > 30
    for layer in near.values():
        for feature in layer:
            assert len(feature["parts"][0]) >= feature["type"]
            assert all(
                -100 < each < 4_200 for part in feature["parts"] for at in part for each in at
            )


def test_every_street_has_one_name_and_a_name_one_course() -> None:
    streets = town.build()
    found = list(names.named(streets, town.SEED))
    length = sum(each.length for leaving in streets.leaving.values() for each in leaving) / 2
    drawn = sum(
        ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        for _, course, _ in found
        for (x0, y0), (x1, y1) in itertools.pairwise(course)
    )
    assert drawn == pytest.approx(length)
    listed = [name for name, _, _ in found if name != names.RING]
    assert len(listed) == len(set(listed))
