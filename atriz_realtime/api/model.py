"""The values that travel through the system: locations, entities, identities.

All are frozen, and validated when they are built. Attributes have Python's names;
``from_wire`` and ``to_wire`` use the camelCase names of the JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

import attrs

from atriz_realtime.api.errors import InvalidEntityId, InvalidLocation, InvalidRequest

MAX_METADATA_DEPTH = 32
"""Levels of nesting that ``metadata`` may have."""

MAX_METADATA_VALUES = 4_096
"""Values that `metadata` may hold, nested ones included; checking so many takes about a
millisecond, and 4 KiB of JSON hold half as many."""

MAX_ID_LENGTH = 256
"""Characters a device or user id may have."""

_MAX_JSON_INTEGER = 2**63 - 1
_EMPTY: Mapping[str, Any] = MappingProxyType({})


def _check_number(value: object, field: str, low: float, high: float) -> None:
    if type(value) is float and low <= value <= high:  # the usual case
        return
    if type(value) is not float and type(value) is not int:  # neither bool nor "1"
        raise InvalidLocation(f"{field} must be a number", field=field)
    if not -_MAX_JSON_INTEGER <= value <= _MAX_JSON_INTEGER:  # false for NaN as well
        raise InvalidLocation(f"{field} must be a finite number", field=field)
    if not low <= value <= high:
        within = f"between {low:g} and {high:g}" if high < _MAX_JSON_INTEGER else f"{low:g} or more"
        raise InvalidLocation(f"{field} must be {within}", field=field)


def _check_identifier(value: object, field: str) -> None:
    if type(value) is not str or not 0 < len(value) <= MAX_ID_LENGTH:
        raise InvalidLocation(
            f"{field} must be a string of 1 to {MAX_ID_LENGTH} characters", field=field
        )
    if not value.isprintable():
        raise InvalidLocation(f"{field} must not contain control characters", field=field)


def _check_timestamp(value: object) -> None:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidLocation("timestamp must be a datetime with a time zone", field="timestamp")


def _check_json(value: object, depth: int, left: int) -> int:
    """Check that ``metadata`` has a JSON form, and is neither nested too deeply nor too large.

    :param left: how many more values it may hold; returns how many are left then.
    """
    if type(value) is str:
        _check_text(value)
    elif value is None or type(value) is bool:
        pass
    elif type(value) is int:
        if not -_MAX_JSON_INTEGER <= value <= _MAX_JSON_INTEGER:
            raise InvalidLocation("metadata holds an integer over 64 bits", field="metadata")
    elif type(value) is float:
        if not math.isfinite(value):
            raise InvalidLocation("metadata must not hold NaN or infinity", field="metadata")
    elif depth >= MAX_METADATA_DEPTH:
        raise InvalidLocation(
            f"metadata is nested deeper than {MAX_METADATA_DEPTH}", field="metadata"
        )
    elif isinstance(value, dict):
        left = _fewer(left, value)
        for key, item in value.items():
            if type(key) is not str:
                raise InvalidLocation("metadata keys must be strings", field="metadata")
            _check_text(key)
            left = _check_json(item, depth + 1, left)
    elif isinstance(value, (list, tuple)):
        left = _fewer(left, value)
        for item in value:
            left = _check_json(item, depth + 1, left)
    else:
        raise InvalidLocation(
            f"metadata holds a {type(value).__name__}, which JSON has no form for", field="metadata"
        )
    return left


def _fewer(left: int, values: Sized) -> int:
    """Count the values of an object or a list, before they are looked at."""
    if len(values) > left:
        limit = f"{MAX_METADATA_VALUES:,} values"
        raise InvalidLocation(f"metadata has more than {limit}", field="metadata")
    return left - len(values)


def _check_text(value: str) -> None:
    if value.isascii():
        return
    try:
        value.encode()  # a lone surrogate has no UTF-8
    except UnicodeEncodeError:
        raise InvalidLocation("metadata holds a lone surrogate", field="metadata") from None


def parse_timestamp(value: object) -> datetime:
    """Read an ISO 8601 time with a time zone (``Z`` or an offset) as UTC.

    :raises InvalidLocation: for anything else, numbers and naive times included.
    """
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is UTC:
                return moment
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise InvalidLocation(
        "timestamp must be ISO 8601 with a time zone, such as 2026-01-31T12:00:00.000Z",
        field="timestamp",
    )


def format_timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and ``Z``, as JavaScript's ``Date`` prints it."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def _shortest(number: float) -> float:
    """A whole float as the integer JavaScript would print: ``65.0`` as ``65``."""
    if type(number) is float and number.is_integer() and -1e15 < number < 1e15:
        return int(number)
    return number


@attrs.frozen(kw_only=True)
class Location:
    """One reported position (a *fix*) of one entity.

    :raises InvalidLocation: naming the field, when a value is out of range.
    """

    device_id: str
    """The device that reported it."""
    user_id: str
    """The user on whose behalf it was reported."""
    latitude: float
    """Degrees north, WGS 84, -90 to 90."""
    longitude: float
    """Degrees east, WGS 84, -180 to 180."""
    timestamp: datetime
    """When the device was there; time-zone aware."""
    speed: float | None = None
    """km/h, 0 or more."""
    heading: float | None = None
    """Degrees clockwise from north, 0 to 360."""
    accuracy: float | None = None
    """Metres, 0 or more."""
    altitude: float | None = None
    """Metres."""
    metadata: dict[str, Any] | None = None
    """Any JSON object."""

    def __attrs_post_init__(self) -> None:
        _check_identifier(self.device_id, "deviceId")
        _check_identifier(self.user_id, "userId")
        _check_number(self.latitude, "latitude", -90, 90)
        _check_number(self.longitude, "longitude", -180, 180)
        _check_timestamp(self.timestamp)
        if self.speed is not None:
            _check_number(self.speed, "speed", 0, _MAX_JSON_INTEGER)
        if self.heading is not None:
            _check_number(self.heading, "heading", 0, 360)
        if self.accuracy is not None:
            _check_number(self.accuracy, "accuracy", 0, _MAX_JSON_INTEGER)
        if self.altitude is not None:
            _check_number(self.altitude, "altitude", -_MAX_JSON_INTEGER, _MAX_JSON_INTEGER)
        if self.metadata is not None:
            if not isinstance(self.metadata, dict):
                raise InvalidLocation("metadata must be an object", field="metadata")
            _check_json(self.metadata, 0, MAX_METADATA_VALUES)

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Location:
        """Build from the JSON object of the wire.

        :raises InvalidLocation: for a missing, unknown or bad field, by name.
        """
        try:
            values = {_PYTHON_NAMES[key]: value for key, value in data.items()}
        except KeyError as error:
            key = str(error.args[0])[:64]
            message = f"unknown field {key!r}; fields of your own belong in metadata"
            raise InvalidLocation(message, field=key) from None
        if not values.keys() >= _REQUIRED_NAMES:
            key = next(key for key, name in _REQUIRED if name not in values)
            raise InvalidLocation(f"{key} is required", field=key)
        if None in values.values():
            for key, name in _OPTIONAL:
                if name in values and values[name] is None:
                    raise InvalidLocation(f"{key} must be left out rather than null", field=key)
        values["timestamp"] = parse_timestamp(values["timestamp"])
        return cls(**values)

    def to_wire(self) -> dict[str, Any]:
        """The JSON object of the wire; optional fields that are not given are left out."""
        wire: dict[str, Any] = {
            "deviceId": self.device_id,
            "userId": self.user_id,
            "latitude": _shortest(self.latitude),
            "longitude": _shortest(self.longitude),
        }
        if self.speed is not None:
            wire["speed"] = _shortest(self.speed)
        if self.heading is not None:
            wire["heading"] = _shortest(self.heading)
        if self.accuracy is not None:
            wire["accuracy"] = _shortest(self.accuracy)
        if self.altitude is not None:
            wire["altitude"] = _shortest(self.altitude)
        wire["timestamp"] = format_timestamp(self.timestamp)
        if self.metadata is not None:
            wire["metadata"] = self.metadata
        return wire


_REQUIRED = (
    ("deviceId", "device_id"),
    ("userId", "user_id"),
    ("latitude", "latitude"),
    ("longitude", "longitude"),
    ("timestamp", "timestamp"),
)
_OPTIONAL = tuple((name, name) for name in ("speed", "heading", "accuracy", "altitude", "metadata"))
_PYTHON_NAMES = dict(_REQUIRED + _OPTIONAL)
_REQUIRED_NAMES = {name for _, name in _REQUIRED}

LOCATION_FIELDS = frozenset(_PYTHON_NAMES)
"""The names a location may have on the wire."""


def _check_name(value: object, field: str) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidEntityId(f"{field} must be a non-empty string", field=field)


@attrs.frozen(cache_hash=True)
class EntityRef:
    """Which entity: its type and its id.

    Both must be non-empty strings. Whether the type exists and the id fits its pattern is
    checked when a fix is published or an entity is tracked.
    """

    type: str
    """The entity type's name, for example ``vehicle``."""
    id: str
    """The entity's id within its type."""

    def __attrs_post_init__(self) -> None:
        _check_name(self.type, "type")
        _check_name(self.id, "id")

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> EntityRef | None:
        """Read what ``str(entity)`` gives; ``None`` for any other text."""
        entity_type, _, entity_id = text.partition(":")
        return cls(entity_type, entity_id) if entity_type and entity_id else None


@attrs.frozen
class LocationEvent:
    """A position together with the entity it belongs to."""

    entity: EntityRef
    """What reported it."""
    location: Location
    """Where it was, and when."""

    @property
    def type(self) -> str:
        """The entity type's name."""
        return self.entity.type

    @property
    def entity_id(self) -> str:
        """The entity's id."""
        return self.entity.id

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> LocationEvent:
        """Build from the event JSON ``{"type", "entityId", "location"}``.

        :raises InvalidRequest: when it has not that shape.
        :raises InvalidLocation: when the location is bad.
        """
        location = data.get("location")
        if not isinstance(location, Mapping):
            raise InvalidRequest("location must be an object", field="location")
        entity = EntityRef(data.get("type", ""), data.get("entityId", ""))
        return cls(entity, Location.from_wire(location))

    def to_wire(self) -> dict[str, Any]:
        """The event JSON."""
        return {
            "type": self.entity.type,
            "entityId": self.entity.id,
            "location": self.location.to_wire(),
        }


def as_id(value: object) -> str:
    """An id of a user, a token or a session as text: an integer becomes a string.

    :raises TypeError: for anything but a string and an integer.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"an id must be a string or an integer, not {type(value).__name__}")


@attrs.frozen(kw_only=True)
class Identity:
    """An authenticated caller."""

    user_id: str = attrs.field(converter=as_id)
    """The user's id; names the room ``user:<userId>``. An integer becomes a string."""
    claims: Mapping[str, Any] = attrs.field(default=_EMPTY, repr=False)
    """What the authenticator knows of the user, such as a token's claims; read-only."""
    authenticator: str = ""
    """The name of the authenticator that returned it; the core fills it in."""
    expires_at: float | None = None
    """When it expires, in seconds since the epoch; ``None``: never."""
    only: EntityRef | None = None
    """The single entity that it may watch and read, whatever authorizers say; it may do nothing
    else. ``None``: the authorizers decide."""
    granted_by: str | None = None
    """The user who granted it, if one did: revoking that user's tokens revokes it as well."""
    sees_from: float | None = None
    """It is shown no fix taken or received before this time, in seconds since the epoch."""
    memo: dict[Any, Any] = attrs.field(init=False, factory=dict, eq=False, repr=False)
    """What plugins compute from the claims once, under keys of their own; freed with the
    identity.  A renewed token brings a new identity, and an empty ``memo``."""


def _bare(token: str | None) -> str | None:
    """A token without the line break of the file that it was read from, for example."""
    return None if token is None else token.strip() or None


@attrs.frozen(kw_only=True)
class Credentials:
    """What a caller authenticates with.

    Its ``repr`` shows no secret, so that it can be logged.
    """

    token: str | None = attrs.field(default=None, repr=False, converter=_bare)
    """The bearer token, without the whitespace around it; ``None`` if nothing is left."""
    source: Literal["handshake", "event", "http"] = "http"
    """``handshake``: the Socket.IO ``auth`` object; ``event``: the event
    ``authenticate``; ``http``: a request's headers."""
    headers: Mapping[str, str] = attrs.field(default=_EMPTY, repr=False)
    """Header names in lower case, with their values."""
    auth: Mapping[str, Any] = attrs.field(default=_EMPTY, repr=False)
    """The whole ``auth`` object of a handshake."""
    address: str | None = None
    """The caller's network address."""

    @classmethod
    def from_http(cls, headers: Mapping[str, str], address: str | None) -> Credentials:
        """The credentials of an HTTP request: the bearer token of its ``Authorization`` header.

        :param headers: names in lower case.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return cls(
            token=token if scheme.lower() == "bearer" else None,
            source="http",
            headers=headers,
            address=address,
        )
