"""What a page weighs before its map: each byte is one that a customer's phone waits for."""

from __future__ import annotations

import gzip
import itertools
import json

import pytest

from atriz_realtime.defaults.shared.pages import DIST
from atriz_realtime.demo.tiles import to_square

KB = 1_000

FIRST = {
    "share": (
        *("share.html", "share.css", "share.js"),
        *("share-connection.js", "share-place.js", "share-map.css"),
    ),
    "console": ("console.html", "console.css", "console.js"),
}
"""The files that a page loads whatever its map shows."""

LIMITS = {"share": (150 * KB, 450 * KB), "console": (150 * KB, 500 * KB)}
"""Most bytes of these files: as transferred, with gzip, and raw."""


def sizes(*names: str) -> tuple[int, int]:
    """Bytes of files, as the server sends them with gzip, and raw."""
    contents = [(DIST / name).read_bytes() for name in names]
    packed = sum(len(gzip.compress(content, 6, mtime=0)) for content in contents)
    return packed, sum(map(len, contents))


@pytest.mark.parametrize("page", FIRST)
def test_a_page_is_small_before_its_map(page: str) -> None:
    packed, raw = sizes(*FIRST[page])
    assert (packed < LIMITS[page][0], raw < LIMITS[page][1]) == (True, True), (packed, raw)


@pytest.mark.parametrize(
    ("name", "limit"),
    [("streets.js", 60 * KB), ("names.json", 60 * KB), ("world-50m.json", 240 * KB)],
)
def test_what_a_map_loads_later_is_small_too(name: str, limit: int) -> None:
    assert sizes(name)[0] < limit


def test_names_that_are_shown_from_a_zoom_on_are_apart() -> None:
    """Cities are chosen so that on each zoom all of them fit; the page drops what overlaps."""
    rows = json.loads((DIST / "names.json").read_bytes())
    assert {kind for *_, kind in rows} == {0, 1}
    assert {"Ireland", "Dublin", "Limerick", "Nairobi", "São Paulo"} <= {row[0] for row in rows}
    places = [
        (name, to_square(latitude, longitude), zoom)
        for name, longitude, latitude, zoom, kind in rows
        if kind
    ]
    for zoom in (3, 4, 5):
        scale = 256 * 2**zoom
        shown = [(name, (x * scale, y * scale)) for name, (x, y), least in places if least <= zoom]
        for (one, (x0, y0)), (other, (x1, y1)) in itertools.combinations(shown, 2):
            assert abs(x0 - x1) > 100 or abs(y0 - y1) > 35, (one, other)
