"""Which bytes are recognised as a websocket handshake."""

from __future__ import annotations

import pytest

from atriz_realtime.engine.request.request import Request
from atriz_realtime.http.request_head import split

LINE = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"


def is_handshake(data: bytes) -> bool:
    parts = split(data)
    if parts is None:
        return False
    head, rest = parts
    return Request(head, None, "http").fields.opens_websocket and not rest


@pytest.mark.parametrize(
    "headers",
    [
        UPGRADE,
        b"Host: x\r\nuPGRADE:WebSocket \r\nconnection: keep-alive, upgrade\r\nCookie: a=b\r\n",
        b"X: \xff\r\n" + UPGRADE,
    ],
)
def test_a_handshake_is_recognised(headers: bytes) -> None:
    assert is_handshake(LINE + headers + b"\r\n")


@pytest.mark.parametrize(
    "data",
    [
        LINE + b"Host: x\r\n\r\n",
        LINE + UPGRADE + b"\r\n\x81\x80",
        LINE + UPGRADE + b"\r\n" + LINE + UPGRADE + b"\r\n",
        LINE + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        LINE + b"Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n\r\n",
        LINE + UPGRADE + b"Upgrade: websocket\r\n\r\n",
        LINE + b"X: a\r\n Origin: https://evil.example\r\n" + UPGRADE + b"\r\n",
        LINE + b"X: a\r\n\tOrigin: https://evil.example\r\n" + UPGRADE + b"\r\n",
        LINE + b"X: a\nOrigin: https://evil.example\r\n" + UPGRADE + b"\r\n",
        LINE + b"X: a\rOrigin: https://evil.example\r\n" + UPGRADE + b"\r\n",
        LINE + b"Origin : https://evil.example\r\n" + UPGRADE + b"\r\n",
        LINE + b"no header\r\n" + UPGRADE + b"\r\n",
        LINE.replace(b"1.1", b"9.9") + UPGRADE + b"\r\n",
    ],
    ids=[
        "no upgrade",
        "a frame behind it",
        "two",
        "another protocol",
        "one of two protocols",
        "an upgrade twice",
        "folded",
        "folded with a tab",
        "LF alone",
        "CR alone",
        "a space in a name",
        "no colon",
        "version",
    ],
)
def test_anything_else_is_not(data: bytes) -> None:
    assert not is_handshake(data)
