"""Sample positions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from atriz_realtime.api import EntityRef, Location, LocationEvent, Payload, encode
from atriz_realtime.testing.clock import START

_NOON = datetime.fromtimestamp(START, UTC)


def moment(seconds: float = 0.0) -> datetime:
    """A time relative to the initial time of a :class:`~atriz_realtime.testing.FakeClock`."""
    return _NOON + timedelta(seconds=seconds)


def location(seconds: float = 0.0, **fields: Any) -> Location:
    """A valid position of the time ``moment(seconds)``; keyword arguments replace its fields."""
    values: dict[str, Any] = {
        "device_id": "v1",
        "user_id": "u1",
        "latitude": 52.6638,
        "longitude": -8.6267,
        "timestamp": moment(seconds),
    }
    return Location(**values | fields)


def event(
    entity_id: str = "v1", seconds: float = 0.0, *, kind: str = "vehicle", **fields: Any
) -> LocationEvent:
    """A position of an entity, as an event."""
    return LocationEvent(EntityRef(kind, entity_id), location(seconds, **fields))


def payload(
    entity_id: str = "v1", seconds: float = 0.0, *, kind: str = "vehicle", **fields: Any
) -> Payload:
    """A position of an entity, encoded as the core passes it to caches and fan-outs."""
    return encode(event(entity_id, seconds, kind=kind, **fields))
