"""Names for the streets of the town: a name is kept straight on across junctions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random

from atriz_realtime.demo import country, town
from atriz_realtime.demo.streets import Point, Street, Streets, to_plane

STRAIGHT = 35.0
"""The largest turn, in degrees, at which a street keeps its name."""

LONGEST = 1_600.0
"""Metres after which a street that is no main road gets another name."""

RING = "Ring Road"

MAIN = (
    "Ennis Road",
    "Dublin Road",
    "Cork Road",
    "Hyde Road",
    "Park Road",
    "Dock Road",
    "Kilkee Road",
    "Bridge Street",
    "Castle Street",
    "Station Road",
    "College Road",
    "Harbour Road",
    "Canal Road",
    "Fair Green Road",
)
"""Names of arterial roads, the longest first."""

FIRST = (
    *("Abbey", "Mill", "Church", "Market", "Orchard", "Chapel", "Garden", "Meadow", "Linden"),
    *("Willow", "Hazel", "Hawthorn", "Heron", "Swan", "King's", "Queen's", "Bishop's", "Glover's"),
    *("Cooper's", "Weaver's", "Mason's", "Saddler's", "Fisher's", "Granary", "Quarry", "Barrack"),
    *("Spring", "Well", "Rose", "Thomas", "William", "Catherine", "Henry", "Nicholas", "Mary"),
    *("Patrick", "Brigid", "Munster", "Shannon", "Clare", "Cornmarket", "Tanner's", "Bell"),
    *("Friar", "Archer's", "Elm", "Rowan", "Alder", "Kestrel", "Lark", "Finch", "Brook", "Ferry"),
)

CENTRE = ("Street", "Lane", "Row", "Place", "Square")
OUTSIDE = ("Avenue", "Drive", "Grove", "Terrace", "Crescent", "Close", "Park", "View")

PARKS = (
    *("People's Park", "Abbey Park", "Castle Gardens", "Mill Meadow", "Bishop's Green"),
    *("Orchard Park", "Riverside Park", "Fair Green", "Linden Park", "Swan Meadow"),
    *("College Green", "Heron Park", "Quarry Park", "Rose Garden"),
)


def named(streets: Streets, seed: int) -> Iterator[tuple[str, list[Point], float]]:
    """The streets with their names, courses and speed limits, each street once."""
    random = Random(seed)  # noqa: S311  # a map, not a secret
    main = iter(MAIN)
    pools = {
        suffixes: random.sample(combined := [*itertools.product(FIRST, suffixes)], len(combined))
        for suffixes in (CENTRE, OUTSIDE)
    }
    for chain in sorted(_chains(streets), key=_length, reverse=True):
        limit = chain[0].limit
        name = RING if limit == town.LIMIT_RING else None
        if limit == town.LIMIT_ARTERIAL:
            name = next(main, None)
        if name is None:
            suffixes = CENTRE if limit == town.LIMIT_CENTRE else OUTSIDE
            name = " ".join(pools[suffixes].pop())
        course = list(chain[0].points)
        for street in chain[1:]:
            course += street.points[1:]
        yield name, course, limit


def places(streets: Streets, seed: int) -> dict[Point, str]:
    """What the junctions are called: those of the town by a street, the others by their town."""
    towns = {to_plane(*position): name for name, position in country.TOWNS.items()}
    junctions = set(streets.junctions.values())
    return towns | {
        point: name
        for name, course, _ in named(streets, seed)
        for point in course
        if point in junctions
    }


def _length(chain: list[Street]) -> float:
    return sum(street.length for street in chain)


def _chains(streets: Streets) -> Iterator[list[Street]]:
    """Streets that follow each other without a bend; each street is in one chain."""
    left = {
        frozenset((street.start, street.end)): street
        for leaving in streets.leaving.values()
        for street in leaving
    }
    while left:
        first = max(left.values(), key=lambda street: (street.limit, street.length, street.start))
        del left[frozenset((first.start, first.end))]
        chain = [first]
        for _ in range(2):  # onwards, then the other way round
            while (street := _onwards(streets, chain, left)) is not None:
                del left[frozenset((street.start, street.end))]
                chain.append(street)
            chain = [_turned(streets, street) for street in reversed(chain)]
        yield chain


def _onwards(
    streets: Streets, chain: list[Street], left: dict[frozenset[int], Street]
) -> Street | None:
    """The street that continues a chain."""
    last = chain[-1]
    if last.limit < town.LIMIT_ARTERIAL and _length(chain) > LONGEST:
        return None
    going = [
        street
        for street in streets.leaving[last.end]
        if frozenset((street.start, street.end)) in left
        and street.limit == last.limit
        and last.turn_into(street) < STRAIGHT
    ]
    return min(going, key=last.turn_into, default=None)


def _turned(streets: Streets, street: Street) -> Street:
    """The other direction of a street."""
    return next(each for each in streets.leaving[street.end] if each.end == street.start)
