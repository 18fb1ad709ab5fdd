"""Writes small PMTiles files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pmtiles.tile import Compression, TileType, deserialize_header, serialize_header

from atriz_realtime.demo.tiles import Feature, to_square, write
from atriz_realtime.demo.vector_tile import LINE, POINT, POLYGON

BOUNDS = (-9.0, 52.0, -8.0, 53.0)
"""West, south, east and north of the map, in degrees."""

CORNERS = ((52.0, -9.0), (53.0, -9.0), (53.0, -8.0), (52.0, -8.0))

STREET = ((52.66, -8.70), (52.66, -8.56))
"""The ends of the only street, which runs from west to east."""


def small_map(path: Path, attribution: str = "© <b>OpenStreetMap</b>") -> Path:
    """Write a map with land, a lake, a town and one street."""
    lake = ((52.67, -8.66), (52.69, -8.66), (52.69, -8.62), (52.67, -8.62))
    features = [
        Feature("earth", POLYGON, [[to_square(*each) for each in CORNERS]], {"kind": "earth"}),
        Feature("water", POLYGON, [[to_square(*each) for each in lake]], {"kind": "lake"}),
        Feature(
            "roads",
            LINE,
            [[to_square(*each) for each in STREET]],
            {"kind": "major_road", "name": "Long Street"},
        ),
        Feature(
            "places",
            POINT,
            [[to_square(52.65, -8.63)]],
            {"kind": "locality", "name": "Smalltown", "population_rank": 8},
        ),
    ]
    write(path, features, BOUNDS, (6, 13), {"name": "small", "attribution": attribution})
    return path


def with_header(path: Path, **changes: Any) -> Path:
    """Change fields of a file's header."""
    content = path.read_bytes()
    header = deserialize_header(content[:127])
    changed: Any = {**header, **changes}
    path.write_bytes(serialize_header(changed) + content[127:])
    return path


def png_tiles(path: Path) -> Path:
    """Say of a file that its tiles are images."""
    return with_header(path, tile_type=TileType.PNG)


def brotli_tiles(path: Path) -> Path:
    """Say of a file that its tiles are compressed with brotli."""
    return with_header(path, tile_compression=Compression.BROTLI)


def copied(path: Path, target: Path) -> Path:
    """Copy a file."""
    target.write_bytes(path.read_bytes())
    return target


def removed(path: Path) -> None:
    """Remove a file."""
    path.unlink()


def content_of(path: Path) -> bytes:
    """Read a file."""
    return path.read_bytes()
