"""What a page weighs before its map: each byte is one that a customer's phone waits for."""

from __future__ import annotations

import gzip

import pytest

from atriz_realtime.defaults.shared.pages import DIST

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
