"""What a PMTiles file holds, and whether the pages can draw it."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from atriz_realtime.api import ConfigurationError
from atriz_realtime.defaults.shared.extras import extra

HEADER = 127
"""Bytes of the header of a PMTiles file, version 3."""

MAX_METADATA = 8_388_608
"""Bytes of a file's metadata, compressed, that are read."""

MAX_ROOT = 16_384
"""Bytes of a file's root directory: readers fetch it and the header with one request."""

NEEDED = frozenset({"earth", "roads", "water"})
"""The layers without which a map of the Protomaps schema is empty."""

DRAWN = frozenset({*NEEDED, "boundaries", "buildings", "landcover", "landuse", "places", "pois"})
"""The layers that the pages draw."""


@attrs.frozen(kw_only=True)
class Archive:
    """A PMTiles file."""

    path: str
    size: int
    """Bytes."""
    kind: str
    """What its tiles are: ``mvt`` for vector tiles, ``png`` and the like for images."""
    bounds: tuple[float, float, float, float]
    """West, south, east and north, in degrees."""
    zooms: tuple[int, int]
    tiles: int
    layers: tuple[str, ...]
    attribution: str
    """As its makers wrote it, possibly with HTML."""
    problems: tuple[str, ...]
    """Why the pages cannot draw it, each as the end of a sentence about the file."""


def require_drawable(path: str) -> None:
    """Check that the pages can draw a file.

    :raises ConfigurationError: when they cannot, saying why.
    """
    found = read_archive(path)
    for problem in found.problems:
        raise ConfigurationError(f"{path} {problem}")


def read_archive(path: str) -> Archive:
    """Read the header and the metadata of a PMTiles file.

    :raises ConfigurationError: when it cannot be read, or is no PMTiles file of version 3.
    """
    try:
        with Path(path).open("rb") as file:
            return _read(path, file)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error


def _read(path: str, file: BinaryIO) -> Archive:
    with extra("basemap", "the setting basemap"):
        from pmtiles.tile import Compression, TileType, deserialize_directory, deserialize_header  # noqa: PLC0415
    start = file.read(HEADER)
    if not start.startswith(b"PMTiles"):
        raise ConfigurationError(f"{path} is no PMTiles file")
    if len(start) < HEADER:
        raise ConfigurationError(f"{path} is a PMTiles file that ends in its header")
    if start[7] != 3:
        raise ConfigurationError(
            f"{path} is a PMTiles file of version {start[7]}; "
            "`pmtiles convert` makes one of version 3"
        )
    try:
        header: Mapping[str, Any] = deserialize_header(start)
    except ValueError as error:
        raise ConfigurationError(f"{path} is a PMTiles file with a bad header: {error}") from error
    size = file.seek(0, 2)
    problems = []
    end = header["tile_data_offset"] + header["tile_data_length"]
    if end > size:
        problems.append(f"is incomplete: it has {size:,} of {end:,} bytes")
    kind = header["tile_type"]
    compression = header["tile_compression"]
    metadata: Mapping[str, Any] = {}
    if kind is not TileType.MVT:
        problems.append(f"has {kind.name.lower()} tiles; the pages draw vector tiles (mvt)")
    elif compression not in (Compression.NONE, Compression.GZIP):
        name = compression.name.lower()
        problems.append(f"has tiles that are compressed with {name}; browsers read gzip")
    gzipped = header["internal_compression"] is Compression.GZIP
    try:
        metadata = _metadata(_part(file, header, "metadata", MAX_METADATA, size), gzipped)
    except _MALFORMED as error:
        problems.append(f"has metadata that cannot be read: {error}")
    try:
        root = _part(file, header, "root", MAX_ROOT, size)
        if not deserialize_directory(root if gzipped else gzip.compress(root)):
            raise ValueError("it is empty")
    except _MALFORMED as error:
        problems.append(f"has a root directory that cannot be read: {error}")
    layers = _layers(metadata)
    if not problems and not layers >= NEEDED:
        problems.append(
            f"has the layers {', '.join(sorted(layers)) or 'of an unknown schema'}; the pages draw "
            f"the Protomaps schema, with {', '.join(sorted(NEEDED))}"
        )
    return Archive(
        path=path,
        size=size,
        kind=kind.name.lower(),
        bounds=tuple(header[f"{each}_e7"] / 1e7 for each in _SIDES),
        zooms=(header["min_zoom"], header["max_zoom"]),
        tiles=header["addressed_tiles_count"],
        layers=tuple(sorted(layers)),
        attribution=str(metadata.get("attribution") or ""),
        problems=tuple(problems),
    )


_SIDES = ("min_lon", "min_lat", "max_lon", "max_lat")


_MALFORMED = (OSError, EOFError, ValueError, TypeError, RecursionError, zlib.error)
"""What gzip, JSON and the directory of a damaged file raise."""


def _part(file: BinaryIO, header: Mapping[str, Any], name: str, most: int, size: int) -> bytes:
    """A part of the file that the header names."""
    offset, length = header[f"{name}_offset"], header[f"{name}_length"]
    if length > most:
        raise ValueError(f"it has {length:,} bytes")
    if offset + length > size:
        raise ValueError("it lies beyond the end of the file")
    file.seek(offset)
    return file.read(length)


def _metadata(text: bytes, gzipped: bool) -> Mapping[str, Any]:
    found = json.loads(gzip.decompress(text) if gzipped else text)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def _layers(metadata: Mapping[str, Any]) -> frozenset[str]:
    """The names of the layers, if the metadata lists them."""
    listed = metadata.get("vector_layers")
    entries = listed if isinstance(listed, list) else []
    return frozenset(str(each["id"]) for each in entries if isinstance(each, dict) and "id" in each)
