"""``distance``: a fix passes when the entity has moved, or after a time without one."""

from __future__ import annotations

import math
from math import asin, cos, radians, sin, sqrt
from typing import ClassVar

import attrs

from atriz_realtime.api import Location, Resources
from atriz_realtime_ratelimit.memory import Memory, microseconds, report_full
from atriz_realtime_ratelimit.scope import ScopeOptions

EARTH_RADIUS = 6_371_008.8
"""Metres: the mean radius R1 of the ellipsoid (H. Moritz, "Geodetic Reference System 1980",
Journal of Geodesy 74, 2000).  On a sphere of it, distances are off by 0.6 % at most."""

# KEYS[1] holds the last published position as "<latitude> <longitude>", and expires when the
# next fix passes wherever it is.  ARGV: latitude, longitude, metres to move, milliseconds until
# the key expires.  The distance is that of `great_circle` below.
_DECIDE = f"""
local held = redis.call('GET', KEYS[1])
if held then
  local latitude, longitude = string.match(held, '^(%S+) (%S+)$')
  latitude, longitude = tonumber(latitude), tonumber(longitude)
  if latitude and longitude then
    local from, to = math.rad(latitude), math.rad(ARGV[1])
    local east = math.rad(ARGV[2] - longitude)
    local h = math.sin((to - from) / 2) ^ 2
        + math.cos(from) * math.cos(to) * math.sin(east / 2) ^ 2
    if {2 * EARTH_RADIUS} * math.asin(math.min(1, math.sqrt(h))) < tonumber(ARGV[3]) then
      return 0
    end
  end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[4])
return 1
"""


@attrs.frozen(kw_only=True)
class DistanceOptions(ScopeOptions):
    """Options of ``distance``."""

    metres: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))
    """Metres from the last published position at which a fix passes."""
    seconds: float = attrs.field(
        default=60.0, validator=[attrs.validators.gt(0), attrs.validators.le(86_400)]
    )
    """Seconds after the last published position at which any fix passes, so that a parked vehicle
    shows that it is alive; a day at most."""


def great_circle(
    from_latitude: float, from_longitude: float, to_latitude: float, to_longitude: float
) -> float:
    """Metres between two points, given in degrees, over the surface of a sphere.

    The haversine formula, which keeps its precision for points close together (R. W.
    Sinnott, "Virtues of the Haversine", Sky and Telescope 68, no. 2, 1984, p. 159).
    """
    south, north = radians(from_latitude), radians(to_latitude)
    east = radians(to_longitude - from_longitude)
    h = sin((north - south) / 2) ** 2 + cos(south) * cos(north) * sin(east / 2) ** 2
    return 2 * EARTH_RADIUS * asin(min(1.0, sqrt(h)))


class Distance:
    """See :class:`~atriz_realtime_ratelimit.scope.Limit`."""

    name: ClassVar[str] = "distance"
    script: ClassVar[str] = _DECIDE

    def __init__(self, options: DistanceOptions, resources: Resources) -> None:
        self._metres = options.metres
        self._milliseconds = math.ceil(options.seconds * 1000)
        self._clock = resources.clock
        self._report = resources.report
        self._published: Memory[tuple[float, float]] = Memory()

    def arguments(self, location: Location) -> tuple[str | float, ...]:
        """The position, the metres to move, and the milliseconds until the key expires."""
        return (location.latitude, location.longitude, self._metres, self._milliseconds)

    def admit(self, entity_id: str, location: Location) -> bool:
        """Pass a fix that is far enough from the last published one, or late enough."""
        last = self._published.get(entity_id, microseconds(self._clock))
        if last is not None and self._metres > great_circle(
            *last, location.latitude, location.longitude
        ):
            return False
        if self._put(entity_id, location):
            report_full(self._report, self.name)
        return True

    def note(self, entity_id: str, location: Location) -> None:
        """Store the published position, and the time."""
        self._put(entity_id, location)

    def _put(self, entity_id: str, location: Location) -> bool:
        now = microseconds(self._clock)
        return self._published.put(
            entity_id,
            (location.latitude, location.longitude),
            until=now + self._milliseconds * 1000,
            now=now,
        )
