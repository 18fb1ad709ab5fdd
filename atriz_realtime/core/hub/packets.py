"""Socket.IO packets: decoded strictly, and location frames spliced around ready bytes."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import orjson
import socketio.packet

from atriz_realtime.api.model import Location, LocationEvent, format_timestamp
from atriz_realtime.api.wire import SocketEvents
from atriz_realtime.engine.protocol import packets as engine_packets
from atriz_realtime.plugin_system.config import RealtimeConfig


def _plain(value: Any) -> Any:
    if isinstance(value, Location | LocationEvent):
        return value.to_wire()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError("a time without a time zone")
        return format_timestamp(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


class StrictJson:
    """The JSON that python-socketio writes: no NaN, no infinities, no lone surrogates."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """Compact JSON; locations and times in the form of the wire contract."""
        return orjson.dumps(value, _plain, orjson.OPT_PASSTHROUGH_DATETIME).decode()


class InvalidPayload(ValueError):
    """An event with a well-formed head and a bad payload.

    :param namespace: the event's namespace.
    :param number: the number of the acknowledgement that the client asks for.
    """

    def __init__(self, message: str, namespace: str | None, number: int | None) -> None:
        super().__init__(message)
        self.namespace = namespace
        self.number = number


class SocketIOPacket(socketio.packet.Packet):
    """A Socket.IO packet in the default encoding; python-socketio's ``serializer=`` seam.

    Anything that is not in the protocol is refused: https://socket.io/docs/v4/socket-io-protocol/.
    """

    json = StrictJson
    limits = RealtimeConfig()
    """The settings that limit a client's packets."""

    def decode(self, encoded_packet: Any) -> int:
        """Decode a packet; returns how many attachments follow.

        :raises InvalidPayload: for an event whose array is not JSON, or over a limit.
        :raises ValueError: for anything else that a client must not send.
        """
        if not isinstance(encoded_packet, str):
            raise ValueError("unexpected attachment")
        found = _HEAD.match(encoded_packet)
        if found is None:
            raise ValueError("not a packet")
        kind, attachments, namespace, number = found.groups()
        self.packet_type = int(kind)
        if namespace and len(namespace.rstrip(",")) - 1 > self.limits.max_namespace:
            raise ValueError("the namespace's name is too long")
        self.namespace = namespace.rstrip(",").partition("?")[0] if namespace else None
        self.id = int(number) if number else None
        count = int(attachments or 0)
        if count > self.limits.max_attachments:
            raise ValueError("too many attachments")
        rest = encoded_packet[found.end() :]
        is_event = self.packet_type == socketio.packet.EVENT and rest.startswith("[")
        try:
            if is_too_deep(rest, self.limits.max_depth):
                raise ValueError("nested too deep")
            self.data = orjson.loads(rest) if rest else None
        except ValueError as error:
            if is_event:
                raise InvalidPayload(str(error), self.namespace, self.id) from error
            raise
        self._check(attachments is not None)
        if is_event:
            event: Any = self.data
            if len(event[0]) > self.limits.max_event_name:
                raise InvalidPayload("the event's name is too long", self.namespace, self.id)
            if len(event) - 1 > self.limits.max_arguments:
                raise InvalidPayload("too many arguments", self.namespace, self.id)
        return count

    def _check(self, counted: bool) -> None:
        """Check that the type, the attachments and the payload go together."""
        kind, data = self.packet_type, self.data
        binary = kind in (socketio.packet.BINARY_EVENT, socketio.packet.BINARY_ACK)
        if counted != binary:
            raise ValueError("attachments are counted where there are none, or not where")
        if kind in (socketio.packet.EVENT, socketio.packet.BINARY_EVENT):
            if not isinstance(data, list) or not data or not isinstance(data[0], str):
                raise ValueError("an event without a name")
        elif kind in (socketio.packet.ACK, socketio.packet.BINARY_ACK):
            if not isinstance(data, list) or self.id is None:
                raise ValueError("an acknowledgement of nothing")
        elif kind == socketio.packet.DISCONNECT:
            if data is not None:
                raise ValueError("a disconnection with a payload")
        elif kind == socketio.packet.CONNECT_ERROR:
            raise ValueError("not a client's packet")

    def add_attachment(self, attachment: Any) -> bool:
        """Take an attachment; returns whether it was the last.

        :raises ValueError: when it is text, or no placeholder stands for it.
        """
        if not isinstance(attachment, bytes):
            raise ValueError("text where an attachment is due")
        complete: bool = super().add_attachment(attachment)
        return complete

    @classmethod
    def _reconstruct_binary_internal(cls, data: Any, attachments: list[bytes]) -> Any:
        """Replace placeholders by the attachments that they stand for."""
        if isinstance(data, list):
            return [cls._reconstruct_binary_internal(item, attachments) for item in data]
        if not isinstance(data, dict):
            return data
        if data.get("_placeholder") is not True:
            return {
                key: cls._reconstruct_binary_internal(value, attachments)
                for key, value in data.items()
            }
        number = data.get("num")
        if type(number) is not int or not 0 <= number < len(attachments):
            raise ValueError("a placeholder for nothing")
        return attachments[number]


def is_too_deep(text: str, depth: int) -> bool:
    """Whether JSON nests arrays and objects deeper than ``depth`` levels."""
    if text.count("[") + text.count("{") <= depth:
        return False
    level = 0
    for mark in _NESTING.findall(text):
        if mark in "[{":
            level += 1
            if level > depth:
                return True
        elif mark in "]}":
            level -= 1
    return False


_NESTING = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""Brackets, and whole strings so that brackets inside them are not counted.

The possessive quantifier keeps a string that never ends from being scanned twice."""

_HEAD = re.compile(r"([0-6])(?:([0-9]{1,4})-)?(/[^,]*(?:,|$))?([0-9]{1,16}(?![0-9]))?")
"""A packet's type, number of attachments, namespace and id."""

_LOCATION_HEAD = (
    f'{engine_packets.MESSAGE}{socketio.packet.EVENT}["{SocketEvents.LOCATION_UPDATE}",'.encode()
)


def location_packet(event: bytes) -> engine_packets.Packet:
    """The Engine.IO message of a ``location:update``, spliced around the event's bytes.

    The bytes may be those of another program that publishes on the channel: text that is
    not UTF-8 is repaired.
    """
    if not event.isascii():
        event = event.decode(errors="replace").encode()
    return engine_packets.Packet(b"%b%b]" % (_LOCATION_HEAD, event))


_LOCATION_EMIT = re.compile(rf'[25](?:\d+-)?\["{SocketEvents.LOCATION_UPDATE}"(?:,|(?=\]))')


def emitted_location(parts: list[str | bytes]) -> bytes | None:
    """The argument of an encoded ``location:update``; ``None`` for any other event.

    It may be anything: a host emits what it likes.
    """
    head = parts[0]
    if isinstance(head, bytes) or (found := _LOCATION_EMIT.match(head)) is None:
        return None
    return head[found.end() : -1].encode(errors="replace")


def packet_class(config: RealtimeConfig) -> type[SocketIOPacket]:
    """The packet class with the configured limits."""

    class LimitedPacket(SocketIOPacket):
        limits = config

    return LimitedPacket
