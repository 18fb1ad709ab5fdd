"""The fixes that are published, and the tokens of clients."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import jwt

from tests.benchmarks.measure import SECRET
from tests.benchmarks.swarm import microseconds

EVENT_BYTES = 300

_LOCATION = {"latitude": 52.66386, "longitude": -8.62673, "speed": 31.5, "heading": 94}


def token(user: str) -> str:
    """A JWT for a user."""
    return jwt.encode({"userId": user}, SECRET, "HS256")


class Fix:
    """The positions of one entity, as bodies for ``POST /api/tracking/location``.

    :param size: bytes of the event that watchers receive.
    """

    def __init__(self, entity: str, size: int = EVENT_BYTES) -> None:
        time = "2026-01-31T12:00:00.000Z"
        location = {"deviceId": entity, "userId": "publisher0", **_LOCATION, "timestamp": time}
        location |= {"metadata": {"t": microseconds(), "note": ""}}
        event = {"type": "vehicle", "entityId": entity, "location": location}
        note = "x" * (size - len(json.dumps(event, separators=(",", ":"))))
        fields = json.dumps({"vehicleId": entity, **_LOCATION}, separators=(",", ":"))
        self._format = fields.encode()[:-1] + (
            b',"timestamp":"%%bZ","metadata":{"t":%%d,"note":"%b"}}' % note.encode()
        )

    def body(self, stamp: int) -> bytes:
        """The body of a fix with the current time.

        :param stamp: the time from which latency is measured, of :func:`microseconds`.
        """
        now = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        return self._format % (now.encode(), stamp)
