"""The requests of the ordinary client: what ``io(url)`` sends in Chromium, header by header."""

from __future__ import annotations

import os

_CHROMIUM = (
    'sec-ch-ua-platform: "Linux"\r\n'
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36\r\n"
    "Accept: */*\r\n"
    'sec-ch-ua: "Not:A-Brand";v="8", "Chromium";v="142"\r\n'
)
_ENCODINGS = "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n"
_SEC_FETCH = "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n"


def _polling(method: str, port: int, sid: str) -> str:
    session = f"&sid={sid}" if sid else ""
    unique = os.urandom(4).hex()
    return (
        f"{method} /socket.io/?EIO=4&transport=polling&t={unique}{session} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\nConnection: keep-alive\r\n"
    )


def _end(port: int) -> str:
    return f"{_SEC_FETCH}Referer: http://127.0.0.1:{port}/\r\n{_ENCODINGS}"


def poll(port: int, sid: str = "") -> bytes:
    """The request that opens a session, or that waits for the packets of one."""
    head = _polling("GET", port, sid)
    return f"{head}{_CHROMIUM}sec-ch-ua-mobile: ?0\r\n{_end(port)}".encode()


def post(port: int, sid: str, body: bytes) -> bytes:
    """The request that brings packets to the server."""
    head = (
        f"{_polling('POST', port, sid)}Content-Length: {len(body)}\r\n{_CHROMIUM}"
        "Content-type: text/plain;charset=UTF-8\r\nsec-ch-ua-mobile: ?0\r\n"
        f"Origin: http://127.0.0.1:{port}\r\n{_end(port)}"
    )
    return head.encode() + body


def upgrade(port: int, sid: str = "") -> bytes:
    """The request that opens a session on a websocket, or that upgrades one to it."""
    session = f"&sid={sid}" if sid else ""
    return (
        f"GET /socket.io/?EIO=4&transport=websocket{session} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
        "Pragma: no-cache\r\nCache-Control: no-cache\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/142.0.0.0 Safari/537.36\r\n"
        f"Upgrade: websocket\r\nOrigin: http://127.0.0.1:{port}\r\nSec-WebSocket-Version: 13\r\n"
        f"{_ENCODINGS[:-2]}"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    ).encode()
