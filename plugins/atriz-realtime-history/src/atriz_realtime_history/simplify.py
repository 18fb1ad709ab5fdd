"""Leaves out the points of a line that its shape does not need.

The algorithm is Douglas and Peucker's (Cartographica 10, 1973), on the surface around each piece of
the line.  It is here, in numpy, because libraries do not fit: ``shapely`` returns coordinates, from
which fixes with their times cannot be found again when a vehicle has been at a place twice;
``rdp`` is plain Python, a hundred times slower; ``simplification`` measures in degrees, which are
shorter in one direction than in the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

METRES_PER_DEGREE = 111_194.9
"""Of a meridian, on a sphere of 6,371,009 metres."""

PIECE = 4_096
"""Points of a piece that is simplified by itself.  Its ends are kept.  This bounds the time that a
line takes which turns at every point: it grows with the square of the piece."""


def kept(
    latitudes: Sequence[int], longitudes: Sequence[int], units: int, metres: float
) -> list[int]:
    """The places of the points to keep, in order, the first and the last among them.

    No other is farther than ``metres`` from the line through these.

    :param units: of the coordinates, in a degree.
    """
    count = len(latitudes)
    if count < 3:
        return list(range(count))
    north = np.asarray(latitudes, dtype=np.float64) / units
    east = np.unwrap(np.asarray(longitudes, dtype=np.float64) / units, period=360.0)
    keep = np.zeros(count, dtype=np.bool_)
    keep[-1] = True
    for start in range(0, count - 1, PIECE):
        keep[start] = True
        _mark(north, east, keep, start, min(start + PIECE, count - 1), metres)
    found: list[int] = np.flatnonzero(keep).tolist()
    return found


def _mark(
    north: NDArray[np.float64],
    east: NDArray[np.float64],
    keep: NDArray[np.bool_],
    first: int,
    last: int,
    metres: float,
) -> None:
    """Mark the points to keep between two that are kept."""
    pieces = [(first, last)]
    while pieces:
        start, end = pieces.pop()
        if end - start < 2:
            continue
        place = slice(start + 1, end)
        shrink = np.cos(np.radians((north[place] + north[start]) / 2))
        y = (north[place] - north[start]) * METRES_PER_DEGREE
        x = (east[place] - east[start]) * METRES_PER_DEGREE * shrink
        dy = (north[end] - north[start]) * METRES_PER_DEGREE
        dx = (east[end] - east[start]) * METRES_PER_DEGREE
        dx *= np.cos(np.radians((north[end] + north[start]) / 2))
        length = dx * dx + dy * dy
        if length:  # the nearest point of the piece, which may be one of its ends
            along = np.clip((x * dx + y * dy) / length, 0.0, 1.0)
            x -= along * dx
            y -= along * dy
        distance = x * x + y * y
        farthest = int(distance.argmax())
        if distance[farthest] > metres * metres:
            middle = start + 1 + farthest
            keep[middle] = True
            pieces += ((start, middle), (middle, end))
