"""Engine.IO packets: https://socket.io/docs/v4/engine-io-protocol/.

A packet is encoded once for all clients and transports: as a websocket message, as the whole
frame of that message, and as text for polling.
"""

from __future__ import annotations

import base64

from atriz_realtime.engine.protocol import frames

OPEN = "0"
CLOSE = "1"
PING = "2"
PONG = "3"
MESSAGE = "4"
UPGRADE = "5"
NOOP = "6"
TYPES = frozenset({OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP})

SEPARATOR = "\x1e"
"""Separates the packets of one polling request or response."""


class InvalidPacket(ValueError):
    """Raised for data from a client that is not a packet, or not one that a client may send."""


class Packet:
    """A packet to send.

    :param content: the websocket message: a type and its data as UTF-8, or the bytes of a
        binary message.
    """

    __slots__ = ("_text", "binary", "content", "frame")

    def __init__(self, content: bytes, *, binary: bool = False) -> None:
        self.content = content
        self.binary = binary
        self.frame = frames.encode(frames.BINARY if binary else frames.TEXT, content)
        """The websocket message as a frame."""
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The packet as part of a polling response."""
        if self._text is None:
            if self.binary:
                self._text = "b" + base64.b64encode(self.content).decode()
            else:
                self._text = self.content.decode()
        return self._text


def message(data: str | bytes) -> Packet:
    """A packet that carries a message."""
    if isinstance(data, str):
        return Packet(f"{MESSAGE}{data}".encode())
    return Packet(bytes(data), binary=True)


PING_PACKET = Packet(PING.encode())
PROBE_ANSWER = Packet(f"{PONG}probe".encode())
CLOSE_PACKET = Packet(CLOSE.encode())
NOOP_PACKET = Packet(NOOP.encode())


def parse(text: str) -> tuple[str, str | bytes]:
    """The type and the data of a packet that came as text.

    :raises InvalidPacket: when it is not a packet.
    """
    kind = text[:1]
    if kind in TYPES:
        return kind, text[1:]
    if kind == "b":
        try:
            return MESSAGE, base64.b64decode(text[1:], validate=True)
        except ValueError as error:
            raise InvalidPacket("broken base64") from error
    raise InvalidPacket("unknown packet type")


def parse_payload(body: bytes, limit: int) -> list[tuple[str, str | bytes]]:
    """The packets of a polling request's body.

    :param limit: packets that the body may have.
    :raises InvalidPacket: when a part of it is not a packet, or there are more.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidPacket("not UTF-8") from error
    if text.count(SEPARATOR) >= limit:
        raise InvalidPacket("too many packets in one request")
    return [parse(packet) for packet in text.split(SEPARATOR)]
