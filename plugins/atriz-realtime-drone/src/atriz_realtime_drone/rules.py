"""The validation of a drone's fixes, and the rule that ties a drone to its fleet."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from attrs.validators import ge, gt, le

from atriz_realtime.api import (
    ConfigurationError,
    EntityRef,
    Identity,
    InvalidLocation,
    LocationEvent,
)

DRONE = "drone"
"""The entity type."""

ID_PATTERN = r"DR-[0-9]{4}"
"""A drone's id: ``DR-`` and four digits."""

_PREFIX = re.compile(r"DR-[0-9]{0,4}")


def _check_fleets(_: object, __: object, fleets: Mapping[str, str]) -> None:
    for prefix, fleet in fleets.items():
        if not _PREFIX.fullmatch(prefix):
            raise ConfigurationError(
                f"fleets: {prefix!r} does not begin an id such as DR-0001", field="fleets"
            )
        if not fleet:
            raise ConfigurationError(f"fleets: {prefix!r} has no fleet", field="fleets")


@attrs.frozen(kw_only=True)
class DroneSettings:
    """The table ``[realtime.plugins.drone]``."""

    fleets: dict[str, str] = attrs.field(factory=dict, validator=_check_fleets)
    """The fleet of each prefix of drones' ids; the longest prefix that matches counts."""
    ceiling: float = attrs.field(default=120.0, validator=gt(0))
    """Greatest ``altitude`` of a fix, in metres."""
    recall_ttl: float = attrs.field(default=900.0, validator=[ge(1), le(86_400)])
    """Seconds that a recall is in force."""


def flight_check(ceiling: float) -> Callable[[LocationEvent], None]:
    """A validation that requires the battery's charge, and an altitude up to a ceiling.

    It raises :class:`InvalidLocation`, naming ``altitude`` or ``metadata.battery``.
    """

    def validate(event: LocationEvent) -> None:
        altitude = event.location.altitude
        battery: Any = (event.location.metadata or {}).get("battery")
        if altitude is None:
            raise InvalidLocation("altitude is required", field="altitude")
        if altitude > ceiling:
            raise InvalidLocation(f"altitude must be at most {ceiling:g} m", field="altitude")
        if type(battery) not in (int, float) or not 0 <= battery <= 100:  # True is an int
            raise InvalidLocation(
                "metadata.battery must be a number from 0 to 100", field="metadata.battery"
            )

    return validate


class FleetRule:
    """Allows users the drones of the fleets in their token."""

    def __init__(self, fleets: Mapping[str, str]) -> None:
        self._longest_first = sorted(fleets.items(), key=lambda entry: -len(entry[0]))

    async def allows(self, identity: Identity, entity: EntityRef) -> bool:
        """Whether the user may track or publish an entity; true for any that is no drone."""
        return entity.type != DRONE or self.fleet_of(entity.id) in fleets_of(identity)

    def fleet_of(self, drone_id: str) -> str | None:
        """The fleet of a drone; ``None`` when no prefix matches."""
        for prefix, fleet in self._longest_first:
            if drone_id.startswith(prefix):
                return fleet
        return None


def fleets_of(identity: Identity) -> set[str]:
    """The fleets in the claims ``fleets`` (a list of strings) and ``fleet`` (a string)."""
    several, one = identity.claims.get("fleets"), identity.claims.get("fleet")
    claimed = [*several, one] if isinstance(several, list) else [one]
    return {fleet for fleet in claimed if isinstance(fleet, str)}
