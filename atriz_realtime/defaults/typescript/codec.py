"""Encodes Socket.IO packets for the adapters, and decodes those that they bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgpack
import orjson
import socketio.packet

from atriz_realtime.api import Emit, format_timestamp

NAMESPACE = "/"
"""The namespace that is bridged."""


class UnreadableMessage(Exception):
    """A message has a form that no adapter sends."""


@attrs.frozen(kw_only=True)
class Broadcast:
    """An emit, in the form that both adapters share."""

    sender: str
    rooms: list[str] = attrs.field(factory=list)
    """The rooms it is for; empty: every client."""
    skip: list[str] = attrs.field(factory=list)
    """Rooms whose members do not get it; a socket's id is its own room."""
    arguments: list[Any]
    """The event's name, then its arguments."""

    @property
    def packet(self) -> dict[str, Any]:
        """The Socket.IO packet."""
        return {"type": socketio.packet.EVENT, "data": self.arguments, "nsp": NAMESPACE}

    @property
    def options(self) -> dict[str, Any]:
        """The adapter's options: the rooms, and those left out."""
        return {"rooms": self.rooms, "except": self.skip, "flags": {}}

    @classmethod
    def read(cls, sender: Any, packet: Any, options: Any) -> Broadcast | None:
        """Read the parts of a message; ``None`` when it is not an event of the bridged namespace.

        :raises UnreadableMessage: when they have a form that no adapter sends.
        """
        if not isinstance(packet, Mapping) or not isinstance(options, Mapping):
            raise UnreadableMessage("no packet with options")
        event = packet.get("type") == socketio.packet.EVENT
        if not event or packet.get("nsp", NAMESPACE) != NAMESPACE:
            return None
        arguments = packet.get("data")
        if not isinstance(arguments, list) or not arguments or not isinstance(arguments[0], str):
            raise UnreadableMessage("no event")
        return cls(
            sender=str(sender),
            rooms=names(options.get("rooms")),
            skip=names(options.get("except")),
            arguments=arguments,
        )


def names(rooms: Any) -> list[str]:
    """A list of rooms as strings; in JavaScript they may be numbers.

    :raises UnreadableMessage: when it is not a list.
    """
    if rooms is None:
        return []
    if not isinstance(rooms, list):
        raise UnreadableMessage("rooms are no list")
    return [str(room) for room in rooms]


def unpack(data: bytes) -> Any:
    """Decode JSON or MessagePack, which the first byte tells apart.

    :raises UnreadableMessage: when it is neither.
    """
    try:
        return orjson.loads(data) if data.startswith(b"{") else msgpack.unpackb(data)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise UnreadableMessage(f"{type(error).__name__}: {error}") from error


def to_json(value: Any) -> bytes:
    """Encode as JavaScript does: times as ISO 8601, NaN and infinities as null."""
    return orjson.dumps(value, _plain)


def canonical_json(value: Any) -> bytes:
    """Encode with sorted keys, so that equal values have equal JSON."""
    return orjson.dumps(value, _plain, orjson.OPT_SORT_KEYS)


def has_binary(value: Any) -> bool:
    """Whether a value contains bytes, which JSON cannot carry."""
    if isinstance(value, dict):
        return any(map(has_binary, value.values()))
    if isinstance(value, list):
        return any(map(has_binary, value))
    return isinstance(value, bytes)


def _plain(value: Any) -> Any:
    if isinstance(value, msgpack.Timestamp):  # a JavaScript Date
        return format_timestamp(value.to_datetime())
    raise TypeError(f"{type(value).__name__} has no JSON form")


class _Json:
    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return to_json(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_: Any) -> Any:
        return orjson.loads(text)


class _Packet(socketio.packet.Packet):
    json = _Json


def event_of(emit: Emit) -> list[Any]:
    """The event of an emit of this package, with its arguments."""
    packet = _Packet(encoded_packet=emit.packet)
    for attachment in emit.attachments:
        packet.add_attachment(attachment)
    event: list[Any] = packet.data
    return event


def emit_of(broadcast: Broadcast, key: str | None) -> Emit:
    """An emit of a TypeScript server, for this server's own clients.

    :param key: the entity's room, when the emit is a location update.
    :raises UnreadableMessage: when an argument has no JSON form.
    """
    try:
        encoded: Any = _Packet(socketio.packet.EVENT, broadcast.arguments).encode()
    except (TypeError, RecursionError) as error:
        raise UnreadableMessage(str(error)) from error
    packet, *attachments = encoded if isinstance(encoded, list) else [encoded]
    return Emit(
        sender=broadcast.sender,
        namespace=NAMESPACE,
        rooms=broadcast.rooms or None,
        skip=broadcast.skip,
        packet=packet,
        attachments=attachments,
        key=key,
    )
