"""The vehicles of the demo move like real ones."""

from __future__ import annotations

import asyncio
import itertools
import math
from random import Random

import pytest

from atriz_realtime.api import Location, parse_timestamp
from atriz_realtime.demo import names, town
from atriz_realtime.demo.driver import ACCELERATION, BRAKING, KMH_PER_MPS, Driver
from atriz_realtime.demo.fleet import SHARED, Entity, Fleet
from atriz_realtime.demo.streets import CENTRE, EARTH_RADIUS, Point, Streets

MINUTES = 5


@pytest.fixture(scope="module")
def streets() -> Streets:
    return town.build()


def plane(location: Location) -> Point:
    scale = math.radians(1) * EARTH_RADIUS
    east = (location.longitude - CENTRE[1]) * scale * math.cos(math.radians(CENTRE[0]))
    return east, (location.latitude - CENTRE[0]) * scale


def speed(location: Location) -> float:
    assert location.speed is not None
    return location.speed / KMH_PER_MPS


@pytest.fixture(scope="module")
def journeys(streets: Streets) -> list[list[Location]]:
    """The reports of twenty entities, once a second."""
    fleet = Fleet(20, streets, seed=1)
    return [[entity.report(1.0) for _ in range(60 * MINUTES)] for entity in fleet.entities]


def test_speeds_match_the_movement(journeys: list[list[Location]]) -> None:
    for journey in journeys:
        for before, after in itertools.pairwise(journey):
            way = math.dist(plane(before), plane(after))
            low, high = sorted((speed(before), speed(after)))
            # the speed changes within the second, corners are cut, and the receiver errs
            assert way < high + ACCELERATION + 3
            assert way > min(low - 1.5 * BRAKING, 0.6 * low) - 3


def test_headings_match_the_movement(journeys: list[list[Location]]) -> None:
    errors = []
    for journey in journeys:
        for before, after in itertools.pairwise(journey):
            (x0, y0), (x1, y1) = plane(before), plane(after)
            assert before.heading is not None
            assert after.heading is not None
            turned = abs((after.heading - before.heading + 180) % 360 - 180)
            if speed(after) > 5 and turned < 10:
                bearing = math.degrees(math.atan2(x1 - x0, y1 - y0))
                errors.append(abs((bearing - after.heading + 180) % 360 - 180))
    assert len(errors) > 1_000
    assert max(errors) < 30
    assert sum(errors) / len(errors) < 5


def test_speed_changes_as_brakes_and_engines_allow(journeys: list[list[Location]]) -> None:
    for journey in journeys:
        for before, after in itertools.pairwise(journey):
            change = speed(after) - speed(before)
            # the last metres before a stop are driven at walking pace, and end abruptly
            assert -1.5 * BRAKING - 1.5 - 0.1 < change < ACCELERATION + 0.1


def test_entities_drive_stop_and_drive_on(journeys: list[list[Location]]) -> None:
    speeds = [[speed(location) for location in journey] for journey in journeys]
    assert all(max(each) > 5 for each in speeds)
    assert sum(min(each) == 0 for each in speeds) > len(speeds) / 2
    assert max(map(max, speeds)) < 100 / KMH_PER_MPS


def test_drivers_stay_on_the_streets_and_under_the_limit(streets: Streets) -> None:
    driver = Driver(streets, Random(3), stay=(1.0, 2.0))
    everything = [street for leaving in streets.leaving.values() for street in leaving]
    for _ in range(60 * MINUTES):
        driver.drive(1.0)
        place, heading = driver.position()
        assert 0 <= heading < 360
        street = min(
            everything,
            key=lambda street: min(math.dist(place, point) for point in street.points),
        )
        nearest = min(math.dist(place, point) for point in street.points)
        assert nearest < 20  # half the way between two points of a bend
        assert driver.speed * KMH_PER_MPS <= 100
    assert driver.arrivals > 0


def test_a_driver_is_slow_in_sharp_corners(streets: Streets) -> None:
    driver = Driver(streets, Random(4), stay=(1.0, 2.0))
    sharp = 0
    (_, before), previous = driver.position(), driver.speed
    for _ in range(10 * 60 * MINUTES):
        driver.drive(0.2)
        _, heading = driver.position()
        turned = abs((heading - before + 180) % 360 - 180)
        if turned > 60 and driver.speed > 0:
            sharp += 1
            assert previous < 8, turned
        before, previous = heading, driver.speed
    assert sharp > 2


def test_deliveries_report_what_customers_see(streets: Streets) -> None:
    delivery = Entity(4, streets, Random(1), names.places(streets, town.SEED))
    assert (delivery.type, delivery.id) == ("delivery", "d1")
    reports = [delivery.report(1.0) for _ in range(1_200)]
    said = [report.metadata for report in reports if report.metadata is not None]
    assert len(said) == len(reports)
    assert set(SHARED) <= said[0].keys()
    assert said[0]["status"] == "on_the_way"
    statuses = [status for status, _ in itertools.groupby(each["status"] for each in said)]
    assert statuses[:4] == ["on_the_way", "arriving", "delivered", "on_the_way"]
    orders = [order for order, _ in itertools.groupby(each["name"] for each in said)]
    assert orders[:2] == ["Order 1004-1", "Order 1004-2"]

    first = said[: [each["status"] for each in said].index("delivered")]
    (place,) = {(each["destination"]["label"], each["destination"]["latitude"]) for each in first}
    assert place[0] in set(names.places(streets, town.SEED).values())
    arrived = reports[len(first)]
    assert speed(arrived) == 0
    assert arrived.latitude == pytest.approx(place[1], abs=1e-4)
    etas = [parse_timestamp(each["eta"]) for each in first]
    assert abs((etas[0] - reports[0].timestamp).total_seconds() - len(first)) < 0.5 * len(first)


def test_names_are_unique_and_most_are_vehicles(streets: Streets) -> None:
    entities = Fleet(23, streets, seed=1).entities
    names = [(entity.type, entity.id) for entity in entities]
    assert len(set(names)) == 23
    assert names[:6] == [
        *(("vehicle", f"v{number}") for number in range(1, 5)),
        ("delivery", "d1"),
        ("vehicle", "v5"),
    ]


def test_equal_seeds_give_equal_fleets(streets: Streets) -> None:
    def positions(seed: int) -> list[tuple[float, float]]:
        reports = [entity.report(10.0) for entity in Fleet(5, streets, seed).entities]
        return [(report.latitude, report.longitude) for report in reports]

    assert positions(1) == positions(1) != positions(2)


async def test_all_entities_report_in_turn_about_once_a_second(streets: Streets) -> None:
    fleet = Fleet(60, streets, seed=1)
    published: list[tuple[float, str, str]] = []
    enough = asyncio.Event()
    clock = asyncio.get_running_loop().time

    async def publish(kind: str, entity_id: str, location: Location) -> None:
        assert location.device_id == entity_id
        published.append((clock(), kind, entity_id))
        if len(published) == 3 * 60:
            enough.set()

    running = asyncio.create_task(fleet.run(publish))
    await enough.wait()
    running.cancel()
    order = [(entity.type, entity.id) for entity in fleet.entities]
    assert [(kind, entity_id) for _, kind, entity_id in published[: 3 * 60]] == order * 3
    first, third = published[0][0], published[2 * 60][0]
    assert third - first > 0.9  # two periods, the first of which may start late
