"""One vehicle on the streets: it speeds up, slows for corners, waits at lights, stops at doors."""

from __future__ import annotations

import math
from random import Random

import attrs

from atriz_realtime.demo.streets import Point, Street, Streets

STEP = 0.2
"""Seconds of driving worked out at once."""

ACCELERATION = 1.6
BRAKING = 2.2
"""m/s²: what passengers find normal."""

WALKING_PACE = 1.5
"""m/s: as slow as it gets on the last metres before a stop."""

CORNER_SPEED = 4.0
"""m/s in a turn of 90 degrees."""

STRAIGHT_ON = 25.0
"""Degrees of turning that nobody slows down for."""

LIGHTS = 0.12
"""The part of the junctions where one has to wait."""

KMH_PER_MPS = 3.6


@attrs.define
class _Leg:
    """A street of the route, and what awaits at its end."""

    street: Street
    limit: float
    """m/s that this driver drives there."""
    exit_speed: float
    """Most m/s at the end: so as to be slow enough for everything that comes later."""
    wait: float
    """Seconds to stand there."""


class Driver:
    """Drives from one place to another, and on.

    :param stay: least and most seconds to stay at each place.
    """

    def __init__(self, streets: Streets, random: Random, stay: tuple[float, float]) -> None:
        self._streets = streets
        self._random = random
        self._stay = stay
        self._temper = random.uniform(0.8, 1.0)
        self._places = sorted(streets.junctions)
        self._legs: list[_Leg] = []
        self._wait = 0.0
        self._plan(random.choice(self._places))
        self._along = random.uniform(0.0, self._legs[0].street.length)
        self.speed = 0.0
        """m/s."""
        self.arrivals = 0
        """Places it has come to."""

    @property
    def at_place(self) -> bool:
        """Whether it has arrived, and stands where it was going."""
        return self._wait > 0.0 and not self._legs[1:]

    def where(self) -> tuple[Point, float]:
        """Where it is, and its heading in degrees."""
        return self._legs[0].street.at(self._along)

    def drive(self, seconds: float) -> None:
        """Let time pass."""
        while seconds > 0.0:
            step = min(STEP, seconds)
            seconds -= step
            if self._wait > 0.0:
                self._stand(step)
            else:
                self._move(step)

    def _stand(self, step: float) -> None:
        self._wait -= step
        if self._wait <= 0.0:
            self._next_street(0.0)

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
        """Choose where to go, and how fast at each junction on the way."""
        end = start
        while end == start:
            end = self._random.choice(self._places)
        route = self._streets.route(start, end)
        exit_speed, wait = 0.0, self._random.uniform(*self._stay)
        following: _Leg | None = None
        for street in reversed(route):
            limit = street.limit / KMH_PER_MPS * self._temper
            if following is not None:
                wait = self._random.uniform(3.0, 20.0) * (self._random.random() < LIGHTS)
                comfortable = _through(street.turn_into(following.street), limit)
                entry = math.sqrt(following.exit_speed**2 + 2 * BRAKING * following.street.length)
                exit_speed = 0.0 if wait else min(comfortable, following.limit, entry)
            following = _Leg(street, limit, exit_speed, wait)
            self._legs.insert(0, following)


def _through(turn: float, limit: float) -> float:
    """The speed for a turn of so many degrees, in m/s."""
    if turn <= STRAIGHT_ON:
        return limit
    return min(limit, CORNER_SPEED * (90.0 / turn))
