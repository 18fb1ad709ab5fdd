"""A made-up street network in the place of Limerick, the same for equal seeds.

Junctions lie in an irregular pattern, closer together in the centre.  Streets join
neighbours (a Gabriel graph, with some left out), bend a little, and cross the river only
over bridges.  A ring road goes around; arterial roads lead from it to the centre.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable
from random import Random

from atriz_realtime.demo.streets import Point, Street, Streets

SEED = 304

RING_RADIUS = 3_000.0
RING_JUNCTIONS = 28

CENTRE_RADIUS = 800.0
"""Metres; inside, streets are slow."""

LIMIT_CENTRE = 30.0
LIMIT_STREET = 50.0
LIMIT_ARTERIAL = 60.0
LIMIT_RING = 100.0
"""km/h."""

SPACING_CENTRE = 110.0
SPACING_RING = 300.0
"""Least metres between two junctions; in between, in between."""

TRIALS = 4_000
"""Places tried for a junction: nearly as many as make no difference."""

NEIGHBOURHOOD = 900.0
"""Most metres between two junctions that a street joins."""

LEFT_OUT = 0.15
"""The part of the streets that is left out, so that blocks differ."""

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
"""The Shannon, roughly, downstream."""

BRIDGES = ((1_500.0, 2_300.0), (150.0, 950.0), (-60.0, 500.0), (-800.0, -250.0))
"""Where streets cross it, about; the ring crosses it too."""

BANK = 110.0
"""Metres from the middle of the river to the nearest junction."""

GATES = (25.0, 75.0, 130.0, 190.0, 255.0, 320.0)
"""Bearings, in degrees, at which arterial roads meet the ring."""

EXIT_EVERY = 2
"""One in so many junctions of the ring has a road inside."""

CURVE_STEP = 25.0
"""Metres between two points of a bend."""

Pair = tuple[int, int]
"""Two junctions that a street joins, the lower one first."""


def build(seed: int = SEED) -> Streets:
    """Make the network."""
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
    kept = exits | bridges | ring_pairs
    pairs = _thinned(random, pairs, kept) | kept
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
        streets.append(Street(end, start, points[::-1], limit))
    joined = _component(pairs)
    return Streets(
        {junction: places[junction] for junction in sorted(joined)},
        [street for street in streets if street.start in joined],
    )


# -- junctions -------------------------------------------------------------------------------


def _on_ring(bearing: float) -> Point:
    """The ring road's point at a bearing from the centre: a circle that is none."""
    angle = math.radians(bearing)
    radius = RING_RADIUS * (1 + 0.08 * math.sin(2 * angle + 0.6) + 0.04 * math.sin(3 * angle))
    return radius * math.sin(angle), radius * math.cos(angle)


def _scatter(random: Random) -> list[Point]:
    """Junctions inside the ring, off the river, none too close to another."""
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


# -- which junctions a street joins ----------------------------------------------------------


def _pair(a: int, b: int) -> Pair:
    return (a, b) if a < b else (b, a)


def _gabriel(places: list[Point], among: Iterable[int]) -> set[Pair]:
    """Pairs of neighbours: those whose circle, the pair as its diameter, holds no third."""
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
    """The junctions nearest to a place in the river, one on each bank."""
    one, *others = sorted(among, key=lambda i: math.dist(places[i], middle))
    return _pair(one, next(i for i in others if _crosses(places, (one, i))))


def _thinned(random: Random, pairs: set[Pair], kept: set[Pair]) -> set[Pair]:
    """Leave some out, but no junction alone or at a dead end."""
    left = sorted(pairs)
    for pair in random.sample(left, round(LEFT_OUT * len(left))):
        rest = (pairs | kept) - {pair}
        degrees = [sum(end in other for other in rest) for end in pair]
        if min(degrees) >= 2 and _component(rest) == _component(pairs | kept):
            pairs = pairs - {pair}
    return pairs


def _component(pairs: Iterable[Pair]) -> set[int]:
    """Every junction that can be reached from the ring."""
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
    """The shortest ways from the centre to the ring's gates."""
    straight = [
        Street(a, b, (places[a], places[b]), LIMIT_STREET)
        for one, other in sorted(pairs)
        for a, b in ((one, other), (other, one))
    ]
    network = Streets(dict(enumerate(places)), straight)
    middle = min(inner, key=lambda i: math.hypot(*places[i]))
    return {
        _pair(street.start, street.end)
        for bearing in GATES
        for street in network.route(middle, round(bearing / 360 * RING_JUNCTIONS))
        if street.end >= RING_JUNCTIONS or street.start >= RING_JUNCTIONS
    }


# -- the course of a street ------------------------------------------------------------------


def _arc(start: int, end: int) -> tuple[Point, ...]:
    """A piece of the ring."""
    step = 360 / RING_JUNCTIONS
    first, last = (start, end) if end - start == 1 else (end, end + 1)
    bends = [first + (last - first) * i / 20 for i in range(21)]
    points = tuple(_on_ring(step * bend) for bend in bends)
    return points if first == start else points[::-1]


def _bent(a: Point, b: Point, bend: float) -> tuple[Point, ...]:
    """A quadratic Bézier curve, its control point ``bend`` times the length off the middle."""
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
