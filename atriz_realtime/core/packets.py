"""Socket.IO packets on a strict and fast JSON library, and frames that are only spliced."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import orjson
import socketio.packet

from atriz_realtime.api.model import Location, LocationEvent, format_timestamp
from atriz_realtime.api.wire import SocketEvents
from atriz_realtime.engine import packets as engine_packets


def _plain(value: Any) -> Any:
    if isinstance(value, Location | LocationEvent):
        return value.to_wire()
    if isinstance(value, datetime):
        return format_timestamp(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


class StrictJson:
    """What python-socketio wants of a JSON module: no NaN, no infinities, no lone surrogates."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """Compact JSON; positions and times in the form of the wire contract."""
        return orjson.dumps(value, _plain, orjson.OPT_PASSTHROUGH_DATETIME).decode()

    @staticmethod
    def loads(text: str | bytes, **_: Any) -> Any:
        """Read strict JSON; raises :class:`ValueError` for anything else."""
        return orjson.loads(text)


class Packet(socketio.packet.Packet):
    """A Socket.IO packet in the default encoding; python-socketio's ``serializer=`` seam.

    Only what the protocol has is read: https://socket.io/docs/v4/socket-io-protocol/.
    """

    json = StrictJson

    def decode(self, encoded_packet: Any) -> int:
        """Read a packet; returns how many attachments follow.

        :raises ValueError: when it is none that a client may send.
        """
        if not isinstance(encoded_packet, str):
            raise ValueError("unexpected attachment")
        found = _HEAD.match(encoded_packet)
        if found is None:
            raise ValueError("not a packet")
        kind, attachments, namespace, number = found.groups()
        self.packet_type = int(kind)
        self.namespace = namespace.rstrip(",").partition("?")[0] if namespace else None
        self.id = int(number) if number else None
        rest = encoded_packet[found.end() :]
        self.data = self.json.loads(rest) if rest else None
        self._check(attachments is not None)
        return int(attachments or 0)

    def _check(self, counted: bool) -> None:
        """Check that the parts go together."""
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
        elif kind == socketio.packet.CONNECT_ERROR:
            raise ValueError("not a client's packet")

    def add_attachment(self, attachment: Any) -> bool:
        """Take an attachment; whether it was the last.

        :raises ValueError: when it is none, or nothing stands for it.
        """
        if not isinstance(attachment, bytes):
            raise ValueError("text where an attachment is due")
        complete: bool = super().add_attachment(attachment)
        return complete

    @classmethod
    def _reconstruct_binary_internal(cls, data: Any, attachments: list[bytes]) -> Any:
        """Put attachments where their placeholders are."""
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


MAX_ATTACHMENTS = 10
"""Binary parts that one packet may have."""

MAX_NAMESPACE_LENGTH = 128
"""Characters of a namespace's name, its query included."""

_HEAD = re.compile(
    rf"([0-6])(?:([0-9]|{MAX_ATTACHMENTS})-)?(/[^,]{{0,{MAX_NAMESPACE_LENGTH}}}(?:,|$))?"
    r"([0-9]{1,16}(?![0-9]))?"
)
"""A packet's type, count of attachments, namespace and id."""

_LOCATION_HEAD = (
    f'{engine_packets.MESSAGE}{socketio.packet.EVENT}["{SocketEvents.LOCATION_UPDATE}",'.encode()
)


def location_packet(event: bytes) -> engine_packets.Packet:
    """The Engine.IO message of a ``location:update``, spliced around the event's bytes.

    Whatever is published on an entity's channel comes here, another program's too.
    """
    if not event.isascii():
        event = event.decode(errors="replace").encode()
    return engine_packets.Packet(b"%b%b]" % (_LOCATION_HEAD, event))


_LOCATION_EMIT = re.compile(rf'[25](?:\d+-)?\["{SocketEvents.LOCATION_UPDATE}"(?:,|(?=\]))')


def emitted_location(parts: list[str | bytes]) -> bytes | None:
    """What an encoded Socket.IO packet says of a position; ``None`` when it is another event's.

    It need not be an event's JSON: a host emits what it likes.
    """
    head = parts[0]
    if isinstance(head, bytes) or (found := _LOCATION_EMIT.match(head)) is None:
        return None
    return head[found.end() : -1].encode(errors="replace")
