"""Socket.IO packets on a strict and fast JSON library, and frames that are only spliced."""

from __future__ import annotations

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
    """A Socket.IO packet in the default encoding; python-socketio's ``serializer=`` seam."""

    json = StrictJson


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
