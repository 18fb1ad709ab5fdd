"""The opening handshake of a websocket: RFC 6455, section 4."""

from __future__ import annotations

import binascii
import hashlib

from atriz_realtime.engine.request.request import Request

_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, section 1.3."""


def accept_key(request: Request) -> bytes | None:
    """The ``Sec-WebSocket-Accept`` of a handshake; ``None`` when it is not a valid one."""
    key = request.header(b"sec-websocket-key") or ""
    version = request.header(b"sec-websocket-version")
    try:
        size = len(binascii.a2b_base64(key, strict_mode=True))
    except ValueError:
        return None
    if size != 16 or version != "13" or request.method != "GET":
        return None
    digest = hashlib.sha1(key.encode() + _ACCEPT_SALT, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False)
