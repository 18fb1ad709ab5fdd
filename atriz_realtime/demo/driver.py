"""Simulates a vehicle that accelerates, slows for corners, and stops at lights and places."""

from __future__ import annotations

import math
from random import Random

import attrs

from atriz_realtime.demo.streets import Point, Street, Streets

STEP = 0.2
"""Seconds of driving in one simulation step."""

ACCELERATION = 1.6
BRAKING = 2.2
"""m/s², as passengers find normal."""

WALKING_PACE = 1.5
"""m/s: the lowest speed on the last metres before a stop."""

CORNER_SPEED = 4.0
"""m/s in a turn of 90 degrees."""

STRAIGHT_ON = 25.0
"""Degrees of a turn for which no driver slows down."""

LIGHTS = 0.12
"""The share of junctions where a driver must wait."""

KMH_PER_MPS = 3.6


@attrs.define
class _Leg:
    """A street of the route, and how to drive it."""

    street: Street
    limit: float
    """m/s that this driver does not exceed there."""
    exit_speed: float
    """Highest m/s at the end of the street that still lets the driver brake in time."""
    wait: float
    """Seconds to wait at the end of the street."""


class Driver:
    """Drives from place to place without end.

    :param stay: shortest and longest stay at a place, in seconds.
    """

    def __init__(self, streets: Streets, random: Random, stay: tuple[float, float]) -> None:
        self._streets = streets
        self._random = random
        self._stay = stay
        self._pace = random.uniform(0.8, 1.0)  # of the speed limit
        self._places = sorted(streets.junctions)
        self._legs: list[_Leg] = []
        self._wait = 0.0
        self._plan(random.choice(self._places))
        self._along = random.uniform(0.0, self._legs[0].street.length)
        self.speed = 0.0
        """m/s."""
        self.arrivals = 0
        """The number of places reached so far."""

    @property
    def at_place(self) -> bool:
        """Whether the vehicle stands at a place."""
        return self._wait > 0.0 and len(self._legs) == 1

    @property
    def place(self) -> Point:
        """The place that the vehicle drives to, or stands at."""
        return self._streets.junctions[self._legs[-1].street.end]

    @property
    def seconds_left(self) -> float:
        """About how long it takes to reach the place."""
        way = sum(leg.street.length / leg.limit for leg in self._legs)
        stops = sum(leg.wait for leg in self._legs[:-1])
        return way + stops - self._along / self._legs[0].limit

    def position(self) -> tuple[Point, float]:
        """The position, and the heading in degrees."""
        return self._legs[0].street.at(self._along)

    def drive(self, seconds: float) -> None:
        """Drive for some seconds."""
        while seconds > 0.0:
            step = min(STEP, seconds)
            seconds -= step
            if self._wait > 0.0:
                self._wait -= step
                if self._wait <= 0.0:
                    self._next_street(0.0)
            else:
                self._move(step)

    def _move(self, step: float) -> None:
        leg = self._legs[0]
        ahead = leg.street.length - self._along
        allowed = math.sqrt(leg.exit_speed**2 + 2 * BRAKING * ahead)
        target = max(min(leg.limit, allowed), WALKING_PACE)
        if target >= self.speed:
            self.speed = min(target, self.speed + ACCELERATION * step)
        else:
            self.speed = max(target, self.speed - 1.5 * BRAKING * step)
        self._along += self.speed * step
        beyond = self._along - leg.street.length
        if beyond < 0.0:
            return
        if leg.wait:
            self._along, self._wait, self.speed = leg.street.length, leg.wait, 0.0
            self.arrivals += len(self._legs) == 1
        else:
            self._next_street(beyond)

    def _next_street(self, along: float) -> None:
        done = self._legs.pop(0)
        if not self._legs:
            self._plan(done.street.end)
        self._along = along

    def _plan(self, start: int) -> None:
        """Choose the next place, a route, and the speed at each junction of it."""
        end = start
        while end == start:
            end = self._random.choice(self._places)
        route = self._streets.route(start, end)
        exit_speed, wait = 0.0, self._random.uniform(*self._stay)
        next_leg: _Leg | None = None
        for street in reversed(route):
            limit = street.limit / KMH_PER_MPS * self._pace
            if next_leg is not None:
                wait = self._random.uniform(3.0, 20.0) * (self._random.random() < LIGHTS)
                comfortable = _turning_speed(street.turn_into(next_leg.street), limit)
                entry = math.sqrt(next_leg.exit_speed**2 + 2 * BRAKING * next_leg.street.length)
                exit_speed = 0.0 if wait else min(comfortable, next_leg.limit, entry)
            next_leg = _Leg(street, limit, exit_speed, wait)
            self._legs.insert(0, next_leg)


def _turning_speed(turn: float, limit: float) -> float:
    """The speed in m/s at which to take a turn, given in degrees."""
    if turn <= STRAIGHT_ON:
        return limit
    return min(limit, CORNER_SPEED * (90.0 / turn))
