"""Simulated vehicles and deliveries, which report their positions once a second."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from atriz_realtime.api import format_timestamp
from atriz_realtime.api.model import Location
from atriz_realtime.demo import names
from atriz_realtime.demo.driver import KMH_PER_MPS, Driver
from atriz_realtime.demo.streets import Point, Streets, to_degrees

PERIOD = 1.0
"""Seconds between two reports of an entity."""

SLOTS = 50
"""Parts of the period over which the reports are spread."""

ONE_DELIVERY_IN = 5
"""One entity in this many is a delivery; the others are vehicles."""

IN_TOWN = (3, 4, 7)
"""The entities of each ten that stay in the town; the others drive from town to town."""

VEHICLE_STAY = (2.0, 15.0)
DELIVERY_STAY = (15.0, 60.0)
"""Shortest and longest stay at a place, in seconds."""

DRIVERS = ("Aoife", "Cian", "Niamh", "Oisín", "Saoirse", "Fionn", "Caoimhe", "Darragh", "Róisín")

DEPOTS = ("Docks", "Raheen", "Castletroy")

SHARED = ("name", "status", "driver", "plate", "eta", "destination")
"""The keys of a delivery's ``metadata`` that its customer may see."""

ARRIVING = 60.0
"""Seconds before its place in which a delivery is arriving."""

MAX_LAPSE = 5.0
"""Most seconds driven at once, so that entities do not jump after the machine was suspended."""

USER = "demo"
"""The user of all reported positions, and of the printed token."""

Publish = Callable[[str, str, Location], Awaitable[Any]]
"""Takes a type, an id and a location."""


class Entity:
    """A vehicle or a delivery, with a GPS receiver that is slightly off.

    :param places: what places are called.
    """

    def __init__(
        self, number: int, streets: Streets, random: Random, places: Mapping[Point, str]
    ) -> None:
        deliveries_before, index = divmod(number, ONE_DELIVERY_IN)
        delivery = index == ONE_DELIVERY_IN - 1
        own = deliveries_before if delivery else number - deliveries_before
        self.type = "delivery" if delivery else "vehicle"
        self.id = f"{self.type[0]}{own + 1}"
        self._number = number
        self._details = {
            "name": f"Van {own + 1}",
            "plate": f"262-L-{1_000 + 37 * number % 9_000}",
            "driver": DRIVERS[number % len(DRIVERS)],
            "group": DEPOTS[number % len(DEPOTS)],
        }
        self._places = places
        self._random = random
        self._driver = Driver(streets, random, DELIVERY_STAY if delivery else VEHICLE_STAY)
        self._accuracy = random.uniform(3.0, 8.0)
        self._error = (random.gauss(0.0, 1.5), random.gauss(0.0, 1.5))

    def report(self, lapse: float) -> Location:
        """Drive for some seconds, and report the new position."""
        driver = self._driver
        driver.drive(min(lapse, MAX_LAPSE))
        (east, north), heading = driver.position()
        # the error of a receiver drifts: it changes slowly compared with the movement
        self._error = (self._drifted(self._error[0]), self._drifted(self._error[1]))
        latitude, longitude = to_degrees((east + self._error[0], north + self._error[1]))
        return Location(
            device_id=self.id,
            user_id=USER,
            latitude=round(latitude, 6),
            longitude=round(longitude, 6),
            speed=round(driver.speed * KMH_PER_MPS, 1),
            heading=round(heading, 1) % 360,
            accuracy=round(self._accuracy * self._random.uniform(0.8, 1.25), 1),
            timestamp=datetime.now(UTC),
            metadata=self._metadata(),
        )

    def _drifted(self, error: float) -> float:
        return 0.98 * error + self._random.gauss(0.0, 0.3)

    def _metadata(self) -> dict[str, Any]:
        if self.type != "delivery":
            return self._details
        driver = self._driver
        order = driver.arrivals - driver.at_place
        latitude, longitude = to_degrees(driver.place)
        details = self._details | {
            "name": f"Order {1_000 + self._number}-{order + 1}",
            "destination": {
                "latitude": round(latitude, 6),
                "longitude": round(longitude, 6),
                "label": self._places.get(driver.place, "Crossroads"),
            },
        }
        if driver.at_place:
            return details | {"status": "delivered"}
        left = driver.seconds_left
        at = datetime.now(UTC) + timedelta(seconds=left)
        return details | {
            "status": "arriving" if left < ARRIVING else "on_the_way",
            "eta": format_timestamp(at.replace(second=0, microsecond=0)),
        }


class Fleet:
    """All entities of the demo.

    :param seed: equal seeds give equal fleets.
    :param roads: the roads for entities that leave the town; ``None``: all stay.
    """

    def __init__(
        self, size: int, streets: Streets, seed: int, roads: Streets | None = None
    ) -> None:
        random = Random(seed)  # noqa: S311  # a simulation, not a secret
        places = names.places(streets, seed)
        self.entities = [
            Entity(
                number,
                streets if roads is None or number % 10 in IN_TOWN else roads,
                random,
                places,
            )
            for number in range(size)
        ]

    async def run(self, publish: Publish) -> None:
        """Report until cancelled; the reports are spread evenly over each second."""
        clock = asyncio.get_running_loop().time
        start = clock()
        size = len(self.entities)
        last = [start] * size
        for slot in itertools.count():
            late = clock() - (start + slot * PERIOD / SLOTS)
            if late > PERIOD:
                start += late  # skip the reports that were missed
            await asyncio.sleep(max(0.0, -late))
            part = slot % SLOTS
            for number in range(part * size // SLOTS, (part + 1) * size // SLOTS):
                entity, now = self.entities[number], clock()
                location = entity.report(now - last[number])
                last[number] = now
                await publish(entity.type, entity.id, location)
