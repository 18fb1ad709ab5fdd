"""Websocket frames as a server sends and receives them: RFC 6455, section 5.

The server negotiates no extensions, so a reserved bit is always an error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
INVALID_TEXT = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009

MAX_CONTROL_PAYLOAD = 125
"""Bytes of a control frame's payload: section 5.5."""

_FIN = 0x80
_MASKED = 0x80
_HEADER_16 = struct.Struct("!BBH")
_HEADER_64 = struct.Struct("!BBQ")
_LENGTH_16 = struct.Struct("!H")
_LENGTH_64 = struct.Struct("!Q")


class Control(NamedTuple):
    """A control frame."""

    opcode: int
    """``CLOSE``, ``PING`` or ``PONG``."""
    payload: bytes


class Fragment(NamedTuple):
    """A part of a message that is not its last one."""

    size: int
    """Bytes of its payload."""


Received = str | bytes | Control | Fragment
"""A text message, a binary message, a control frame, or a part of a message."""


class FrameError(ValueError):
    """Raised when a client breaks the protocol.

    :param code: the close code to answer with.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def encode(opcode: int, payload: bytes) -> bytes:
    """A whole message as one unmasked frame."""
    length = len(payload)
    if length < 126:
        return bytes((_FIN | opcode, length)) + payload
    if length < 65_536:
        return _HEADER_16.pack(_FIN | opcode, 126, length) + payload
    return _HEADER_64.pack(_FIN | opcode, 127, length) + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """A close frame; a reason that is too long is truncated."""
    text = reason.encode()[: MAX_CONTROL_PAYLOAD - 2].decode(errors="ignore").encode()
    return encode(CLOSE, _LENGTH_16.pack(code) + text)


@cache
def _mask_function() -> Callable[[bytes, bytes], bytes]:
    """The ``apply_mask`` of websockets, an extra that other servers' websockets do without."""
    try:
        from websockets.speedups import apply_mask  # noqa: PLC0415
    except ImportError:  # a build without the C extension
        from websockets.utils import apply_mask  # noqa: PLC0415
    return apply_mask


class FrameReader:
    """Parses a client's bytes into messages.

    :param limit: bytes that a message may have.
    """

    __slots__ = ("_apply_mask", "_buffer", "_fragments", "_limit", "_needed", "_opcode")

    def __init__(self, limit: int) -> None:
        self._apply_mask = _mask_function()
        self._limit = limit
        self._buffer: bytearray | None = None  # an incomplete frame
        self._needed = 0  # bytes that the buffer needs before it is parsed again
        self._fragments: bytearray | None = None
        self._opcode = 0

    def feed(self, data: bytes) -> Iterator[Received]:
        """The messages, fragments and control frames that these bytes complete.

        The bytes are parsed while they are iterated over.

        :raises FrameError: when they break the protocol; the reader is unusable afterwards.
        """
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return
            data, self._buffer = bytes(self._buffer), None
        position, end = 0, len(data)
        while position < end:
            found = self._header(data, position, end)
            if found is None:
                self._needed = end - position + 1
                break
            first, start, length = found
            if end - start < length:
                self._needed = start + length - position
                break
            payload = data[start : start + length]
            if length:
                payload = self._apply_mask(payload, data[start - 4 : start])
            position = start + length
            yield self._frame(first, payload)
        if position < end:
            self._buffer = bytearray(data[position:])

    def _header(self, data: bytes, position: int, end: int) -> tuple[int, int, int] | None:
        """The first byte of a frame, and the start and length of its payload."""
        if end - position < 2:
            return None
        first, second = data[position], data[position + 1]
        opcode = first & 0x0F
        if first & 0x70:
            raise FrameError(PROTOCOL_ERROR, "reserved bits are set")
        if not second & _MASKED:
            raise FrameError(PROTOCOL_ERROR, "frame is not masked")
        length, start = second & 0x7F, position + 6
        if opcode >= CLOSE:
            if opcode > PONG:
                raise FrameError(PROTOCOL_ERROR, "unknown opcode")
            if length > MAX_CONTROL_PAYLOAD or not first & _FIN:
                raise FrameError(PROTOCOL_ERROR, "control frame is long or fragmented")
        elif opcode > BINARY:
            raise FrameError(PROTOCOL_ERROR, "unknown opcode")
        if length == 126:
            if end - position < 4:
                return None
            length, start = _LENGTH_16.unpack_from(data, position + 2)[0], position + 8
        elif length == 127:
            if end - position < 10:
                return None
            length, start = _LENGTH_64.unpack_from(data, position + 2)[0], position + 14
        if length > self._limit - len(self._fragments or b"") and opcode < CLOSE:
            raise FrameError(TOO_BIG, "message is too big")
        return first, start, length

    def _frame(self, first: int, payload: bytes) -> Received:
        opcode = first & 0x0F
        if opcode >= CLOSE:
            if opcode == CLOSE:
                check_close(payload)
            return Control(opcode, payload)
        if opcode == CONTINUATION:
            if self._fragments is None:
                raise FrameError(PROTOCOL_ERROR, "continuation of nothing")
            self._fragments += payload
        elif self._fragments is not None:
            raise FrameError(PROTOCOL_ERROR, "a message begins inside another")
        if not first & _FIN:
            if opcode != CONTINUATION:
                self._opcode, self._fragments = opcode, bytearray(payload)
            return Fragment(len(payload))
        if opcode == CONTINUATION and self._fragments is not None:
            opcode, payload = self._opcode, bytes(self._fragments)
            self._fragments = None
        if opcode == BINARY:
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError as error:
            raise FrameError(INVALID_TEXT, "text is not UTF-8") from error


def check_close(payload: bytes) -> None:
    """Check a close frame's code and reason: section 7.4.

    :raises FrameError: when a client must not send them.
    """
    if not payload:
        return
    if len(payload) == 1:
        raise FrameError(PROTOCOL_ERROR, "close frame of one byte")
    code = _LENGTH_16.unpack_from(payload)[0]
    if not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in (1004, 1005, 1006):
        raise FrameError(PROTOCOL_ERROR, "unknown close code")
    try:
        payload[2:].decode()
    except UnicodeDecodeError as error:
        raise FrameError(INVALID_TEXT, "close reason is not UTF-8") from error
