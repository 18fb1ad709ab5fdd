"""One HTTP request at a time, on a connection that stays open."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable

from tests.benchmarks.swarm import LoadError, Swarm

MOST_REPEATS = 5
"""Times that a request is repeated."""


class HttpConnection:
    """Opened with the first request, and again when the server has closed it meanwhile.

    A request is repeated when the connection ends without an answer: the server closed an idle
    connection at that moment, or the kernel had no room for another one.
    """

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._port = swarm.port
        self._socket: socket.socket | None = None
        self._repeats = 0
        self._request = self._answer = b""
        self._answered: Callable[[bytes], None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a request waits for its answer."""
        return self._answered is not None

    def request(self, request: bytes, answered: Callable[[bytes], None]) -> None:
        """Send a request; ``answered`` gets the body of a response with status 200."""
        self._repeats = 0
        self._request = request
        self._answered = answered
        self._send()

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()

    def _send(self) -> None:
        if self._socket is None:
            self._socket = self._swarm.open(self._readable, port=self._port)
        self._swarm.send(self._socket, self._request)

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65_536)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._closed(self._socket)
            return
        answer = self._answer = self._answer + data
        body = complete_body(answer)
        if body is None:
            return
        if not answer.startswith(b"HTTP/1.1 200"):
            raise LoadError(f"refused: {answer!r}")
        if self._answered is None:
            raise LoadError(f"an answer to nothing: {answer!r}")
        answered, self._answered, self._answer = self._answered, None, b""
        answered(body)

    def _closed(self, sock: socket.socket) -> None:
        """The keep-alive timeout of the server has passed, unless an answer is missing."""
        self._swarm.ignore(sock.fileno())
        sock.close()
        self._socket = None
        if self._answered is not None:
            self._repeats += 1
            if self._answer or self._repeats > MOST_REPEATS:
                request = self._request.partition(b" HTTP/1.1")[0]
                raise LoadError(
                    f"the server owed an answer to {request!r}, sent {self._answer!r} and closed"
                )
            self._send()


def complete_body(answer: bytes) -> bytes | None:
    """The decoded body of a response, or ``None`` while a part of it is missing."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return None
    head = head.lower()
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    if length:
        if len(body) < int(length):
            return None
    elif b"transfer-encoding: chunked" in head:
        if not body.endswith(b"0\r\n\r\n"):
            return None
        body = joined(body)
    else:
        raise LoadError(f"an answer without a length: {answer!r}")
    return gzip.decompress(body) if b"content-encoding: gzip" in head else body


def joined(chunks: bytes) -> bytes:
    """The content of a chunked body (RFC 9112, section 7.1)."""
    body = b""
    while True:
        size, _, chunks = chunks.partition(b"\r\n")
        if not (length := int(size, 16)):
            return body
        body += chunks[:length]
        chunks = chunks[length + 2 :]
