"""An invented street network at the location of Limerick, the same for equal seeds.

Junctions are scattered irregularly, and denser in the centre.  Streets connect neighbours (a
Gabriel graph without some of its edges), bend a little, and cross the river only on bridges.
A ring road encloses the town; arterial roads lead from it to the centre.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable
from random import Random

from atriz_realtime.demo.streets import Point, Street, Streets

SEED = 304
"""The seed of the town that the demo shows."""

RING_RADIUS = 3_000.0
"""Metres, on average."""
RING_JUNCTIONS = 28

CENTRE_RADIUS = 800.0
"""Metres; streets inside have the lowest limit."""

LIMIT_CENTRE = 30.0
LIMIT_STREET = 50.0
LIMIT_ARTERIAL = 60.0
LIMIT_RING = 100.0
"""km/h."""

SPACING_CENTRE = 110.0
SPACING_RING = 300.0
"""Smallest distance between two junctions in metres, interpolated between the two."""

TRIALS = 4_000
"""Random places tried for junctions; more would add hardly any."""

NEIGHBOURHOOD = 900.0
"""Longest distance in metres between two junctions that a street connects."""

REMOVED = 0.15
"""The share of streets that is removed, so that blocks differ in shape."""

RIVER = (
    (4_600.0, 5_000.0),
    (2_300.0, 2_700.0),
    (1_500.0, 2_300.0),
    (900.0, 1_500.0),
    (150.0, 950.0),
    (-150.0, 300.0),
    (-800.0, -250.0),
    (-2_200.0, -450.0),
    (-5_000.0, -1_400.0),
)
"""The rough course of the Shannon, downstream."""

BRIDGES = ((1_500.0, 2_300.0), (150.0, 950.0), (-60.0, 500.0), (-800.0, -250.0))
"""The approximate places of bridges; the ring road crosses the river too."""

BANK = 110.0
"""Smallest distance in metres between a junction and the middle of the river."""

GATES = (25.0, 75.0, 130.0, 190.0, 255.0, 320.0)
"""Bearings in degrees at which arterial roads meet the ring road."""

EXIT_EVERY = 2
"""One of so many junctions of the ring road has a street into the town."""

CURVE_STEP = 25.0
"""Metres between two points of a bent street."""

Pair = tuple[int, int]
"""Two junctions that a street connects, the lower number first."""


def build(seed: int = SEED) -> Streets:
    """Make the street network."""
    random = Random(seed)  # noqa: S311  # a map, not a secret
    ring = [_on_ring(360 * i / RING_JUNCTIONS) for i in range(RING_JUNCTIONS)]
    places = ring + _scatter(random)
    inner = range(RING_JUNCTIONS, len(places))
    ring_pairs = {_pair(i, (i + 1) % RING_JUNCTIONS) for i in range(RING_JUNCTIONS)}
    pairs = {pair for pair in _gabriel(places, inner) if not _crosses(places, pair)}
    exits = {
        _pair(i, _nearest(places, places[i], inner, same_bank_as=i))
        for i in range(0, RING_JUNCTIONS, EXIT_EVERY)
    }
    bridges = {_bridge(places, inner, middle) for middle in BRIDGES}
    fixed = exits | bridges | ring_pairs
    pairs = _thinned(random, pairs, fixed) | fixed
    arterial = _arterials(places, pairs, inner) | bridges
    streets: list[Street] = []
    for pair in sorted(pairs):
        start, end = pair
        if pair in ring_pairs:
            points, limit = _arc(start, end), LIMIT_RING
        else:
            bend = 0.0 if pair in bridges else random.gauss(0.0, 0.06)
            points = _bent(places[start], places[end], max(-0.15, min(0.15, bend)))
            slow = max(math.hypot(*places[start]), math.hypot(*places[end])) < CENTRE_RADIUS
            limit = LIMIT_CENTRE if slow else LIMIT_STREET
            limit = LIMIT_ARTERIAL if pair in arterial else limit
        streets.append(Street(start, end, points, limit))
    joined = _component(pairs)
    return Streets(
        {junction: places[junction] for junction in sorted(joined)},
        [street for street in streets if street.start in joined],
    )


def _on_ring(bearing: float) -> Point:
    """The point of the ring road at a bearing from the centre; the ring is a distorted circle."""
    angle = math.radians(bearing)
    radius = RING_RADIUS * (1 + 0.08 * math.sin(2 * angle + 0.6) + 0.04 * math.sin(3 * angle))
    return radius * math.sin(angle), radius * math.cos(angle)


def _scatter(random: Random) -> list[Point]:
    """Junctions inside the ring road, away from the river and from each other."""
    found: list[Point] = []
    for _ in range(TRIALS):
        bearing, part = random.uniform(0, 360), math.sqrt(random.random())
        x, y = _on_ring(bearing)
        place = (0.9 * part * x, 0.9 * part * y)
        spacing = SPACING_CENTRE + (SPACING_RING - SPACING_CENTRE) * part
        if _to_river(place) > BANK and all(math.dist(place, other) > spacing for other in found):
            found.append(place)
    return found


def _to_river(place: Point) -> float:
    return min(_to_segment(place, a, b) for a, b in itertools.pairwise(RIVER))


def _to_segment(place: Point, a: Point, b: Point) -> float:
    (x, y), (dx, dy) = (place[0] - a[0], place[1] - a[1]), (b[0] - a[0], b[1] - a[1])
    part = max(0.0, min(1.0, (x * dx + y * dy) / (dx * dx + dy * dy)))
    return math.hypot(x - part * dx, y - part * dy)


def _pair(a: int, b: int) -> Pair:
    return (a, b) if a < b else (b, a)


def _gabriel(places: list[Point], among: Iterable[int]) -> set[Pair]:
    """Pairs of neighbours: no third junction lies in the circle with the pair as its diameter."""
    near: dict[int, list[int]] = defaultdict(list)
    for a, b in itertools.combinations(among, 2):
        if math.dist(places[a], places[b]) < NEIGHBOURHOOD:
            near[a].append(b)
            near[b].append(a)
    pairs: set[Pair] = set()
    for a, others in near.items():
        for b in others:
            (ax, ay), (bx, by) = places[a], places[b]
            middle, radius = ((ax + bx) / 2, (ay + by) / 2), math.dist((ax, ay), (bx, by)) / 2
            if a < b and not any(math.dist(places[c], middle) < radius for c in others if c != b):
                pairs.add((a, b))
    return pairs


def _crosses(places: list[Point], pair: Pair) -> bool:
    """Whether the straight line between two junctions crosses the river."""
    a, b = places[pair[0]], places[pair[1]]
    return any(_intersect(a, b, c, d) for c, d in itertools.pairwise(RIVER))


def _intersect(a: Point, b: Point, c: Point, d: Point) -> bool:
    return _left(a, b, c) != _left(a, b, d) and _left(c, d, a) != _left(c, d, b)


def _left(a: Point, b: Point, c: Point) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) > (b[1] - a[1]) * (c[0] - a[0])


def _nearest(places: list[Point], place: Point, among: Iterable[int], same_bank_as: int) -> int:
    return min(
        (i for i in among if not _crosses(places, (same_bank_as, i))),
        key=lambda i: math.dist(places[i], place),
    )


def _bridge(places: list[Point], among: Iterable[int], middle: Point) -> Pair:
    """The junctions on each bank that are nearest to a place in the river."""
    one, *others = sorted(among, key=lambda i: math.dist(places[i], middle))
    return _pair(one, next(i for i in others if _crosses(places, (one, i))))


def _thinned(random: Random, pairs: set[Pair], fixed: set[Pair]) -> set[Pair]:
    """Remove some streets, without disconnecting a junction or leaving a dead end."""
    candidates = sorted(pairs)
    for pair in random.sample(candidates, round(REMOVED * len(candidates))):
        rest = (pairs | fixed) - {pair}
        degrees = [sum(end in other for other in rest) for end in pair]
        if min(degrees) >= 2 and _component(rest) == _component(pairs | fixed):
            pairs = pairs - {pair}
    return pairs


def _component(pairs: Iterable[Pair]) -> set[int]:
    """All junctions that can be reached from the ring road."""
    joined: dict[int, list[int]] = defaultdict(list)
    for a, b in pairs:
        joined[a].append(b)
        joined[b].append(a)
    found, waiting = {0}, [0]
    while waiting:
        for other in joined[waiting.pop()]:
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def _arterials(places: list[Point], pairs: set[Pair], inner: Iterable[int]) -> set[Pair]:
    """The shortest routes from the centre to the gates of the ring road."""
    straight = [Street(a, b, (places[a], places[b]), LIMIT_STREET) for a, b in sorted(pairs)]
    network = Streets(dict(enumerate(places)), straight)
    middle = min(inner, key=lambda i: math.hypot(*places[i]))
    return {
        _pair(street.start, street.end)
        for bearing in GATES
        for street in network.route(middle, round(bearing / 360 * RING_JUNCTIONS))
        if street.end >= RING_JUNCTIONS or street.start >= RING_JUNCTIONS
    }


def _arc(start: int, end: int) -> tuple[Point, ...]:
    """A segment of the ring road."""
    step = 360 / RING_JUNCTIONS
    first, last = (start, end) if end - start == 1 else (end, end + 1)
    bends = [first + (last - first) * i / 20 for i in range(21)]
    points = tuple(_on_ring(step * bend) for bend in bends)
    return points if first == start else points[::-1]


def _bent(a: Point, b: Point, bend: float) -> tuple[Point, ...]:
    """A quadratic Bézier curve; ``bend`` displaces its control point, in lengths of the street."""
    (ax, ay), (bx, by) = a, b
    cx, cy = (ax + bx) / 2 - bend * (by - ay), (ay + by) / 2 + bend * (bx - ax)
    steps = max(1, round(math.dist(a, b) / CURVE_STEP))
    return tuple(
        (
            (1 - t) ** 2 * ax + 2 * (1 - t) * t * cx + t * t * bx,
            (1 - t) ** 2 * ay + 2 * (1 - t) * t * cy + t * t * by,
        )
        for t in (i / steps for i in range(steps + 1))
    )
