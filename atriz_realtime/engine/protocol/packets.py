"""Engine.IO packets, as https://socket.io/docs/v4/engine-io-protocol/ has them.

A packet is encoded once, whatever number of clients it goes to and whichever transport
they use: its bytes on a websocket with and without the frame, and its text for polling.
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
"""Stands between the packets of one polling request or response."""


class InvalidPacket(ValueError):
    """What a client sent is no packet, or none that a client may send."""


class Packet:
    """A packet to send.

    :param content: what a websocket message holds: a type and its data as UTF-8, or a
        binary message's bytes.
    """

    __slots__ = ("_text", "binary", "content", "frame")

    def __init__(self, content: bytes, *, binary: bool = False) -> None:
        self.content = content
        self.binary = binary
        self.frame = frames.encode(frames.BINARY if binary else frames.TEXT, content)
        """The whole frame of a websocket message."""
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The packet as it stands in a polling response."""
        if self._text is None:
            if self.binary:
                self._text = "b" + base64.b64encode(self.content).decode()
            else:
                self._text = self.content.decode()
        return self._text


def message(data: str | bytes) -> Packet:
    """The packet of a message."""
    if isinstance(data, str):
        return Packet(f"{MESSAGE}{data}".encode())
    return Packet(bytes(data), binary=True)


PING_PACKET = Packet(PING.encode())
PROBE_ANSWER = Packet(f"{PONG}probe".encode())
CLOSE_PACKET = Packet(CLOSE.encode())
NOOP_PACKET = Packet(NOOP.encode())


def parse(text: str) -> tuple[str, str | bytes]:
    """A text packet that was received: its type and its data.

    :raises InvalidPacket: when it is none.
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


def parse_payload(body: bytes, most: int) -> list[tuple[str, str | bytes]]:
    """The packets of a polling request's body.

    :param most: packets that there may be.
    :raises InvalidPacket: when one of them is none, or there are more.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidPacket("not UTF-8") from error
    if text.count(SEPARATOR) >= most:
        raise InvalidPacket("too many packets in one request")
    return [parse(packet) for packet in text.split(SEPARATOR)]
