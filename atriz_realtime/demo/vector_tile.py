"""Encodes vector tiles (Mapbox Vector Tile specification 2.1), as far as the demo's map needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

EXTENT = 4_096
"""Units of a tile's side."""

POINT, LINE, POLYGON = 1, 2, 3
"""The kinds of geometry."""

Place = tuple[int, int]
"""Units to the right and downwards of the tile's corner."""

Value = str | int | bool


@attrs.frozen
class TileFeature:
    """A feature of a tile."""

    kind: int
    parts: Sequence[Sequence[Place]]
    """Lines, or rings without their last point; an outer ring is clockwise on the screen."""
    properties: Mapping[str, Value]


def encode(layers: Mapping[str, Iterable[TileFeature]]) -> bytes:
    """Encode a tile from the features of its layers."""
    return b"".join(_field(3, _layer(name, features)) for name, features in layers.items())


def _layer(name: str, features: Iterable[TileFeature]) -> bytes:
    keys: dict[str, int] = {}
    values: dict[tuple[type, Value], int] = {}
    encoded = []
    for feature in features:
        tags: list[int] = []
        for key, value in feature.properties.items():
            tags.append(keys.setdefault(key, len(keys)))
            tags.append(values.setdefault((type(value), value), len(values)))
        encoded.append(
            _field(
                2,
                _field(2, b"".join(map(_varint, tags)))
                + _number(3, feature.kind)
                + _field(4, b"".join(map(_varint, _commands(feature)))),
            )
        )
    return b"".join(
        [
            _number(15, 2),  # the version of the specification
            _field(1, name.encode()),
            *encoded,
            *(_field(3, key.encode()) for key in keys),
            *(_field(4, _value(value)) for _, value in values),
            _number(5, EXTENT),
        ]
    )


def _commands(feature: TileFeature) -> Iterable[int]:
    """The geometry as commands: 1 moves, 2 draws lines, 7 closes a ring."""
    at = (0, 0)
    for part in feature.parts:
        yield 1 | 1 << 3
        for index, place in enumerate(part):
            if index == 1:
                yield 2 | (len(part) - 1) << 3
            yield from (_zigzag(place[0] - at[0]), _zigzag(place[1] - at[1]))
            at = place
        if feature.kind == POLYGON:
            yield 7 | 1 << 3


def _value(value: Value) -> bytes:
    if isinstance(value, str):
        return _field(1, value.encode())
    if isinstance(value, bool):
        return _number(7, int(value))
    return _number(6, _zigzag(value))


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    """A field of bytes with their length (wire type 2 of Protocol Buffers)."""
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
