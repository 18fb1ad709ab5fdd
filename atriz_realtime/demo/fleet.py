"""Vehicles and deliveries on the streets, each reporting once a second."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

from atriz_realtime.api.model import Location
from atriz_realtime.demo.driver import KMH_PER_MPS, Driver
from atriz_realtime.demo.streets import Streets, to_degrees

PERIOD = 1.0
"""Seconds between two reports of one entity."""

SLOTS = 50
"""Parts of the period that the entities are spread over."""

ONE_DELIVERY_IN = 5
"""Entities, of which the others are vehicles."""

IN_TOWN = (3, 7, 9)
"""Entities that stay in the town, of each ten in turn; the others drive from town to town."""

VEHICLE_STAY = (2.0, 15.0)
DELIVERY_STAY = (15.0, 60.0)
"""Seconds at a place."""

LONGEST_LAPSE = 5.0
"""Seconds that are driven at once at most: a machine that slept does not wake up elsewhere."""

USER = "demo"

Publish = Callable[[str, str, Location], Awaitable[Any]]
"""Takes a type, an id and a location."""


class Entity:
    """One vehicle or delivery, with a receiver that is never quite right."""

    def __init__(self, number: int, streets: Streets, random: Random) -> None:
        delivery = number % ONE_DELIVERY_IN == ONE_DELIVERY_IN - 1
        self.type = "delivery" if delivery else "vehicle"
        self.id = (
            f"d{number // ONE_DELIVERY_IN + 1}"
            if delivery
            else f"v{number - number // ONE_DELIVERY_IN + 1}"
        )
        self._random = random
        self._driver = Driver(streets, random, DELIVERY_STAY if delivery else VEHICLE_STAY)
        self._accuracy = random.uniform(3.0, 8.0)
        self._error = (random.gauss(0.0, 1.5), random.gauss(0.0, 1.5))

    def report(self, lapse: float) -> Location:
        """Drive on for so many seconds, and say where that leads."""
        driver = self._driver
        driver.drive(min(lapse, LONGEST_LAPSE))
        (east, north), heading = driver.where()
        # errors of a receiver drift: they change slowly against the movement
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
            metadata=self._status(),
        )

    def _drifted(self, error: float) -> float:
        return 0.98 * error + self._random.gauss(0.0, 0.3)

    def _status(self) -> dict[str, Any] | None:
        if self.type != "delivery":
            return None
        status = "at the door" if self._driver.at_place else "on the way"
        return {"status": status, "delivered": self._driver.arrivals}


class Fleet:
    """All entities.

    :param seed: equal seeds give equal fleets.
    :param roads: for those that do not stay in the town; none: all do.
    """

    def __init__(
        self, size: int, streets: Streets, seed: int, roads: Streets | None = None
    ) -> None:
        random = Random(seed)  # noqa: S311  # a game, not a secret
        self.entities = [
            Entity(number, streets if roads is None or number % 10 in IN_TOWN else roads, random)
            for number in range(size)
        ]

    async def run(self, publish: Publish) -> None:
        """Report until cancelled, the entities spread evenly over each second."""
        clock = asyncio.get_running_loop().time
        start = clock()
        size = len(self.entities)
        last = [start] * size
        for slot in itertools.count():
            late = clock() - (start + slot * PERIOD / SLOTS)
            if late > PERIOD:
                start += late  # do not make up for what could not be
            await asyncio.sleep(max(0.0, -late))
            part = slot % SLOTS
            for number in range(part * size // SLOTS, (part + 1) * size // SLOTS):
                entity, now = self.entities[number], clock()
                location = entity.report(now - last[number])
                last[number] = now
                await publish(entity.type, entity.id, location)
