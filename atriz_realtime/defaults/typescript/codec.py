"""Socket.IO packets as the adapters carry them, and as text for this server's own clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgpack
import orjson
import socketio.packet

from atriz_realtime.api import Emit, format_timestamp

NAMESPACE = "/"
"""The one that is bridged."""


class Unreadable(Exception):
    """A message that no adapter would send."""


@attrs.frozen(kw_only=True)
class Broadcast:
    """An emit, as every adapter has it."""

    sender: str
    rooms: list[str] = attrs.field(factory=list)
    """None: everyone."""
    skip: list[str] = attrs.field(factory=list)
    """Rooms whose members are left out; a socket's id is a room of its own."""
    arguments: list[Any]
    """The event's name, then what it came with."""

    @property
    def packet(self) -> dict[str, Any]:
        """The Socket.IO packet."""
        return {"type": socketio.packet.EVENT, "data": self.arguments, "nsp": NAMESPACE}

    @property
    def options(self) -> dict[str, Any]:
        """Whom it is for."""
        return {"rooms": self.rooms, "except": self.skip, "flags": {}}

    @classmethod
    def read(cls, sender: Any, packet: Any, options: Any) -> Broadcast | None:
        """Take a message's parts; ``None`` when it is no event of the bridged namespace.

        :raises Unreadable: when they are anything else than an adapter's.
        """
        if not isinstance(packet, Mapping) or not isinstance(options, Mapping):
            raise Unreadable("no packet with options")
        event = packet.get("type") == socketio.packet.EVENT
        if not event or packet.get("nsp", NAMESPACE) != NAMESPACE:
            return None
        arguments = packet.get("data")
        if not isinstance(arguments, list) or not arguments or not isinstance(arguments[0], str):
            raise Unreadable("no event")
        return cls(
            sender=str(sender),
            rooms=names(options.get("rooms")),
            skip=names(options.get("except")),
            arguments=arguments,
        )


def names(rooms: Any) -> list[str]:
    """A list of rooms; JavaScript's may be numbers.

    :raises Unreadable: when it is no list.
    """
    if rooms is None:
        return []
    if not isinstance(rooms, list):
        raise Unreadable("rooms are no list")
    return [str(room) for room in rooms]


def pack(value: Any) -> bytes:
    """MessagePack."""
    packed: bytes = msgpack.packb(value)
    return packed


def unpack(data: bytes) -> Any:
    """Read JSON or MessagePack: adapters send either, told apart by the first byte.

    :raises Unreadable: when it is neither.
    """
    try:
        return orjson.loads(data) if data.startswith(b"{") else msgpack.unpackb(data)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def to_json(value: Any) -> bytes:
    """JSON as JavaScript has it: times as ISO 8601, what is no number as null."""
    return orjson.dumps(value, _plain)


def same_json(value: Any) -> bytes:
    """JSON that two equal values share, whatever the order of their keys."""
    return orjson.dumps(value, _plain, orjson.OPT_SORT_KEYS)


def has_binary(value: Any) -> bool:
    """Whether bytes, which JSON has no form for, are anywhere in a value."""
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
    """The event that an emit of ours carries, with its arguments."""
    packet = _Packet(encoded_packet=emit.packet)
    for attachment in emit.attachments:
        packet.add_attachment(attachment)
    event: list[Any] = packet.data
    return event


def emit_of(broadcast: Broadcast, key: str | None) -> Emit:
    """An emit of theirs, for this server's own clients.

    :raises Unreadable: when it has no JSON form.
    """
    try:
        encoded: Any = _Packet(socketio.packet.EVENT, broadcast.arguments).encode()
    except (TypeError, RecursionError) as error:
        raise Unreadable(str(error)) from error
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
