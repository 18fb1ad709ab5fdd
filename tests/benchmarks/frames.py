"""The bytes that a Socket.IO client writes on a websocket."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
"""First bytes of unfragmented frames (RFC 6455, section 5.2)."""

ETHERNET_SEGMENT = 1_448
DISTANT_BUFFER = 65_536


SOURCES = itertools.cycle([f"127.0.1.{number}" for number in range(1, 101)])
"""The addresses that sockets have in turn.  With a single one the kernel would search ever longer
for a port that is free, half a millisecond with 15,000 connections."""

BIND_ADDRESS_NO_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT: the port is chosen by ``connect``, which may share it."""


def masked(payload: bytes, first: int = TEXT) -> bytes:
    """A client's frame, with a random mask."""
    size = len(payload)
    mask = os.urandom(4)
    repeated = (mask * (size // 4 + 1))[:size]
    body = (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(size)
    if size < 126:
        return bytes((first, 0x80 | size)) + mask + body
    return bytes((first, 0x80 | 126)) + size.to_bytes(2) + mask + body


UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
    b"Host: 127.0.0.1\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
"""The request that opens an Engine.IO session directly on a websocket."""


def tcp_socket(port: int, *, distant: bool = False) -> socket.socket:
    """A non-blocking TCP connection to a local server, which may still have to accept it.

    :param distant: use segments and a receive buffer as over a network.  Those of the
        loopback interface are so large that megabytes are in flight before a server
        notices that nothing is read.
    """
    sock = socket.socket()
    if distant:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, ETHERNET_SEGMENT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DISTANT_BUFFER)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
    sock.bind((next(SOURCES), 0))
    with contextlib.suppress(BlockingIOError):  # the server's backlog is full
        sock.connect(("127.0.0.1", port))
    return sock
