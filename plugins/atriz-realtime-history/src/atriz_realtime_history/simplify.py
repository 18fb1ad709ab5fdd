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
        place = slice(start, min(start + PIECE, count - 1) + 1)
        # the widest degree of longitude: what is far enough on this map is so on the surface
        shrink = np.cos(np.radians(north[place])).max()
        x = east[place] * (METRES_PER_DEGREE * shrink)
        y = north[place] * METRES_PER_DEGREE
        _mark(x - x[0], y - y[0], keep[place], metres)
    found: list[int] = np.flatnonzero(keep).tolist()
    return found


def _mark(
    x: NDArray[np.float64], y: NDArray[np.float64], keep: NDArray[np.bool_], metres: float
) -> None:
    """Mark the points of a piece to keep, its first among them."""
    keep[0] = True
    pieces = [(0, len(x) - 1)]
    while pieces:
        start, end = pieces.pop()
        if end - start < 2:
            continue
        across, up = x[start + 1 : end] - x[start], y[start + 1 : end] - y[start]
        dx, dy = float(x[end] - x[start]), float(y[end] - y[start])
        length = dx * dx + dy * dy
        if length:  # the nearest point of the line between, which may be one of its ends
            along = (across * (dx / length) + up * (dy / length)).clip(0.0, 1.0)
            across -= along * dx
            up -= along * dy
        distance = across * across + up * up
        farthest = int(distance.argmax())
        if distance[farthest] > metres * metres:
            middle = start + 1 + farthest
            keep[middle] = True
            pieces += ((start, middle), (middle, end))
