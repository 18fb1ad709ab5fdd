"""Positions to test with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from atriz_realtime.api import EntityRef, Location, LocationEvent, Payload, encode
from atriz_realtime.testing.clock import START

_NOON = datetime.fromtimestamp(START, UTC)


def moment(seconds: float = 0.0) -> datetime:
    """So many seconds after a :class:`~atriz_realtime.testing.FakeClock` begins."""
    return _NOON + timedelta(seconds=seconds)


def location(seconds: float = 0.0, **fields: Any) -> Location:
    """A valid position, reported ``seconds`` after :func:`moment`; any field can be given."""
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
    """A position of one entity."""
    return LocationEvent(EntityRef(kind, entity_id), location(seconds, **fields))


def payload(
    entity_id: str = "v1", seconds: float = 0.0, *, kind: str = "vehicle", **fields: Any
) -> Payload:
    """A position of one entity, encoded as the core hands it to caches and fan-outs."""
    return encode(event(entity_id, seconds, kind=kind, **fields))
