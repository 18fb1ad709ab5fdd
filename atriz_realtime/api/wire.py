"""Names and encodings of the wire: events, rooms, channels, keys, JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import attrs
import orjson

from atriz_realtime.api.errors import InvalidRequest
from atriz_realtime.api.model import EntityRef, Location, LocationEvent

SOCKET_PATH = "/socket.io"
"""Where Socket.IO is served."""


class SocketEvents(StrEnum):
    """Socket.IO event names that every server offers.

    Further entity types add their own: see :func:`track_event`.
    """

    CONNECT = "connect"
    DISCONNECT = "disconnect"
    AUTHENTICATE = "authenticate"
    AUTHENTICATED = "authenticated"
    TRACK_VEHICLE = "track:vehicle"
    UNTRACK_VEHICLE = "untrack:vehicle"
    TRACK_DELIVERY = "track:delivery"
    UNTRACK_DELIVERY = "untrack:delivery"
    LOCATION_UPDATE = "location:update"
    TOKEN_EXPIRING = "token:expiring"  # noqa: S105  # the name of an event
    ERROR = "error"


TRACKING_REVOKED = "tracking:revoked"
"""The event that tells a client which entity it may no longer watch."""


def track_event(entity_type: str) -> str:
    """The event that subscribes a client to an entity of this type."""
    return f"track:{entity_type}"


def untrack_event(entity_type: str) -> str:
    """The event that unsubscribes it."""
    return f"untrack:{entity_type}"


class Rooms:
    """Room names."""

    AUTHENTICATED = "realtime:authenticated"
    """The room of every authenticated socket; room counts leave it out."""

    @staticmethod
    def entity(entity: EntityRef) -> str:
        """The room of everyone who watches this entity: ``str(entity)``."""
        return str(entity)

    @staticmethod
    def vehicle(vehicle_id: str) -> str:
        """The room of a vehicle's watchers."""
        return f"vehicle:{vehicle_id}"

    @staticmethod
    def delivery(delivery_id: str) -> str:
        """The room of a delivery's watchers."""
        return f"delivery:{delivery_id}"

    @staticmethod
    def user(user_id: str) -> str:
        """The room of a user's own sockets, joined on authentication."""
        return f"user:{user_id}"


class RedisChannels:
    """Redis pub/sub channels and keys."""

    JOURNAL = "location:journal"
    """The stream of the fixes that wait for recorders."""

    PREFIX = "tracking:"
    """Every entity's channel is this and the name of its room."""

    ALL = "tracking:*"
    """The pattern that matches every entity's channel."""

    EMITS = "realtime:emit"
    """The channel that carries emits to rooms between servers: see :class:`Emit`."""

    SIGNALS = "realtime:signal"
    """The channel that carries signals between servers."""

    @staticmethod
    def entity(entity: EntityRef) -> str:
        """The channel an entity's events are published on."""
        return f"{RedisChannels.PREFIX}{entity}"

    @staticmethod
    def is_pattern(name: str) -> bool:
        """Whether Redis would take a channel that ends like this for a pattern of channels."""
        return name.endswith("*")

    @staticmethod
    def room(channel: str) -> str:
        """The room of those who watch the entity that a channel belongs to."""
        return channel.removeprefix(RedisChannels.PREFIX)

    @staticmethod
    def vehicle(vehicle_id: str) -> str:
        """A vehicle's channel."""
        return f"tracking:vehicle:{vehicle_id}"

    @staticmethod
    def delivery(delivery_id: str) -> str:
        """A delivery's channel."""
        return f"tracking:delivery:{delivery_id}"

    @staticmethod
    def current_location(entity: EntityRef) -> str:
        """The key of an entity's current location."""
        return f"location:current:{entity}"

    @staticmethod
    def held_location(entity: EntityRef) -> str:
        """The key that marks an entity's current location as held, or as sent after that."""
        return f"location:held:{entity}"

    @staticmethod
    def location_index(entity_type: str) -> str:
        """The sorted set of a type's cached ids, scored by expiry (ms since the epoch)."""
        return f"location:index:{entity_type}"

    @staticmethod
    def last_known_location(entity: EntityRef) -> str:
        """The key of an entity's last known location."""
        return f"location:last:{entity}"

    @staticmethod
    def last_known_index(entity_type: str) -> str:
        """The sorted set of a type's ids with a last known location, scored by expiry (ms)."""
        return f"location:last-index:{entity_type}"


class CacheTTL:
    """Lifetimes in the cache, in seconds."""

    CURRENT_LOCATION = 300
    SESSION = 3600


_TEXT = attrs.validators.instance_of(str)
_TEXTS = attrs.validators.deep_iterable(_TEXT, attrs.validators.instance_of(list))


@attrs.frozen(kw_only=True)
class Emit:
    """An emit to rooms that may have members on other servers."""

    sender: str = attrs.field(validator=_TEXT)
    """The sending server, which has already sent it to its own clients."""
    namespace: str = attrs.field(validator=_TEXT)
    """The Socket.IO namespace; ``/`` is the default one."""
    rooms: list[str] | None = attrs.field(validator=attrs.validators.optional(_TEXTS))
    """``None``: everyone in the namespace."""
    skip: list[str] = attrs.field(validator=_TEXTS)
    """Rooms whose members are left out; a socket's id is a room of its own."""
    packet: str = attrs.field(validator=_TEXT)
    """The encoded Socket.IO packet."""
    attachments: list[bytes]
    """The binary attachments of the packet."""
    key: str | None = attrs.field(validator=attrs.validators.optional(_TEXT))
    """When given, a client that lags gets only the newest packet of this key."""

    def encode(self) -> bytes:
        """The message on :attr:`RedisChannels.EMITS`: JSON, attachments in base64."""
        return encode_json(
            {
                "from": self.sender,
                "nsp": self.namespace,
                "rooms": self.rooms,
                "skip": self.skip,
                "packet": self.packet,
                "attachments": [base64.b64encode(part).decode() for part in self.attachments],
                "key": self.key,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Emit:
        """Read such a message.

        :raises InvalidRequest: for anything else: other programs may publish there too.
        """
        message = decode_json(data)
        try:
            return cls(
                sender=message["from"],
                namespace=message["nsp"],
                rooms=message["rooms"],
                skip=message["skip"],
                packet=message["packet"],
                attachments=[base64.b64decode(part) for part in message["attachments"]],
                key=message["key"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidRequest("not an emit") from error


def encode_json(value: object) -> bytes:
    """Compact JSON.

    :raises InvalidRequest: when the value has no JSON form.
    """
    try:
        return orjson.dumps(value)
    except TypeError as error:  # orjson.JSONEncodeError is one
        raise InvalidRequest(f"not JSON: {error}") from error


def decode_json(data: bytes | str) -> Any:
    """Strict JSON: no NaN, no infinities, no lone surrogates, bounded depth.

    :raises InvalidRequest: when the text is anything else.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"broken JSON: {error}") from error


def is_json_object(data: bytes) -> bool:
    """Whether every client can read some bytes as a JSON object.

    A lone surrogate in a text, which JavaScript may write and :func:`decode_json` refuses, is
    no obstacle.
    """
    try:
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            value = json.loads(data.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


@attrs.frozen(eq=False)
class Payload:
    """A fix, encoded once: the same bytes go to Redis and into every frame."""

    entity: EntityRef
    """What reported it."""
    channel: str
    """The channel the event is published on."""
    event: bytes = attrs.field(repr=False)
    """The event JSON."""
    location: bytes = attrs.field(repr=False)
    """The location JSON, a slice of the event."""
    timestamp: str
    """The location's time as in the JSON; as text it sorts by time."""


def event_json(entity: EntityRef, location: bytes) -> bytes:
    """The event JSON, built around a location's JSON."""
    return b'{"type":%b,"entityId":%b,"location":%b}' % (
        encode_json(entity.type),
        encode_json(entity.id),
        location,
    )


def encode(event: LocationEvent) -> Payload:
    """Encode an event, once for everything downstream."""
    entity = event.entity
    wire = event.location.to_wire()
    location = encode_json(wire)
    whole = event_json(entity, location)
    return Payload(
        entity=entity,
        channel=RedisChannels.entity(entity),
        event=whole,
        location=whole[-len(location) - 1 : -1],  # orjson's own bytes hold a buffer of kilobytes
        timestamp=wire["timestamp"],
    )


def decode_event(data: bytes) -> LocationEvent:
    """Read the event JSON.

    :raises InvalidRequest: when it is not an event.
    :raises InvalidLocation: when its location is bad.
    """
    return LocationEvent.from_wire(_object(data))


def decode_location(data: bytes) -> Location:
    """Read the location JSON.

    :raises InvalidRequest: when it is not an object.
    :raises InvalidLocation: when a field is bad.
    """
    return Location.from_wire(_object(data))


def _object(data: bytes) -> Mapping[str, Any]:
    value = decode_json(data)
    if not isinstance(value, dict):
        raise InvalidRequest("expected a JSON object")
    return value


def tracking_stats(counts: Mapping[str, int]) -> dict[str, int]:
    """The ``tracking`` statistics of the health report, from the counts of cached locations."""
    return {
        "activeVehicles": counts.get("vehicle", 0),
        "activeDeliveries": counts.get("delivery", 0),
        "totalTracking": sum(counts.values()),
    }
