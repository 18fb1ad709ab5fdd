"""The load generator: many websocket clients and a few publishers on one epoll.

It must cost less than any server that it measures.  So clients have no tasks and no buffers, and
nothing is parsed: a location update is recognized by its first bytes and counted, and its latency
is read from the digits that the publisher put into ``metadata``.
"""

from __future__ import annotations

import json
import select
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import attrs

from tests.benchmarks.frames import CLOSE, PING, PONG, TEXT, UPGRADE, connected_socket, masked

UPDATE = b'42["location:update"'
STAMP = b'"t":'
STAMP_DIGITS = 16
_STAMP_BASE = 1_000_000_000_000_000

MAX_CONNECTING = 50
"""Clients that may be connecting at the same time."""

SILENCE = 20.0
"""Seconds without progress after which a run is given up."""


class LoadError(Exception):
    """The server did something that makes the measurement worthless."""


def microseconds() -> int:
    """The current time, as a number of :data:`STAMP_DIGITS` digits with an arbitrary origin."""
    return _STAMP_BASE + time.monotonic_ns() // 1_000


@attrs.define(eq=False)
class Swarm:
    """Everything that is connected to one server."""

    port: int
    timed: bool = False
    """Whether the latencies of deliveries are recorded."""
    delivered: int = attrs.field(default=0, init=False)
    """Location updates received."""
    reads: int = attrs.field(default=0, init=False)
    """Reads of clients' sockets."""
    answered: int = attrs.field(default=0, init=False)
    """Accepted publishes."""
    closed: int = attrs.field(default=0, init=False)
    """Clients that the server has disconnected."""
    tracking: int = attrs.field(default=0, init=False)
    """Clients that are authenticated and track."""
    latencies: array[int] = attrs.field(factory=lambda: array("q"), init=False)
    """Microseconds."""
    clients: list[Client] = attrs.field(factory=list, init=False)
    idle: deque[Publisher] = attrs.field(factory=deque, init=False)
    """Publishers that are not waiting for a response."""
    publishers: list[Publisher] = attrs.field(factory=list, init=False)
    buffer: bytearray = attrs.field(factory=lambda: bytearray(2**18), init=False)
    _epoll: select.epoll = attrs.field(factory=select.epoll, init=False)
    _readers: dict[int, Callable[[], None]] = attrs.field(factory=dict, init=False)

    def turn(self, timeout: float) -> None:
        """Read what has arrived; wait up to ``timeout`` seconds for it."""
        readers = self._readers
        for descriptor, _ in self._epoll.poll(timeout, 512):
            readers[descriptor]()

    def wait(self, seconds: float) -> None:
        """Read what arrives for so many seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.turn(left)

    def watch(self, descriptor: int, reader: Callable[[], None]) -> None:
        """Call ``reader`` whenever there is something to read."""
        self._readers[descriptor] = reader
        self._epoll.register(descriptor, select.EPOLLIN)

    def ignore(self, descriptor: int) -> None:
        """Stop reading from a descriptor."""
        self._epoll.unregister(descriptor)
        del self._readers[descriptor]

    def until(self, done: Callable[[], bool], progress: Callable[[], int]) -> bool:
        """Read until ``done``; ``False`` when ``progress`` has not changed for too long."""
        seen, since = progress(), time.monotonic()
        while not done():
            self.turn(0.1)
            if progress() != seen:
                seen, since = progress(), time.monotonic()
            elif time.monotonic() - since > SILENCE:
                return False
        return True

    def connect(
        self, wanted: Iterable[tuple[str, Sequence[str]]], *, distant: bool = False
    ) -> None:
        """Connect a client for each token, authenticated and tracking the ids beside it.

        :param distant: use the small buffers of a network.
        """
        opened = len(self.clients)
        before = self.tracking - opened

        def may_connect() -> bool:
            return opened + before - self.tracking < MAX_CONNECTING

        for token, ids in wanted:
            self.clients.append(Client(self, token, ids, distant))
            opened += 1
            self._progress(may_connect)
        self._progress(lambda: self.tracking - before == opened)

    def _progress(self, done: Callable[[], bool]) -> None:
        if not self.until(done, lambda: self.tracking):
            raise LoadError(f"only {self.tracking} clients could connect and track")

    def add_publishers(self, tokens: Iterable[str]) -> None:
        """Connect a publisher for each token."""
        for token in tokens:
            publisher = Publisher(self, token)
            self.publishers.append(publisher)
            self.idle.append(publisher)

    def close(self) -> None:
        """Close every connection."""
        for client in self.clients:
            client.close()
        for publisher in self.publishers:
            publisher.close()
        self._epoll.close()


class Client:
    """One websocket client."""

    def __init__(self, swarm: Swarm, token: str, ids: Sequence[str], distant: bool) -> None:
        self._swarm = swarm
        self._token = token
        self._ids = ids
        self._rest = b""
        self._upgraded = False
        self._socket = connected_socket(swarm.port, distant=distant)
        self._descriptor = self._socket.fileno()
        self._receive_into = self._socket.recv_into
        swarm.watch(self._descriptor, self._readable)
        self._socket.send(UPGRADE)

    def stall(self) -> None:
        """Stop reading."""
        self._swarm.ignore(self._descriptor)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _readable(self) -> None:
        swarm = self._swarm
        buffer = swarm.buffer
        try:
            size = self._receive_into(buffer)
        except BlockingIOError:
            return
        except ConnectionError:
            size = 0
        if not size:
            self._ended()
            return
        swarm.reads += 1
        if self._rest:
            data = self._rest + buffer[:size]
            position = self._read(data, len(data))
            self._rest = bytes(data[position:])
        else:
            position = self._read(buffer, size)
            if position < size:
                self._rest = bytes(buffer[position:size])

    def _read(self, buffer: bytes | bytearray, size: int) -> int:
        """Handle complete frames; returns the position after them."""
        position = 0
        if not self._upgraded:
            position = self._read_upgrade(buffer, size)
            if not self._upgraded:
                return 0
        swarm = self._swarm
        while size - position >= 2:
            start = position + 2
            length = buffer[position + 1]
            if length == 126:
                if size < start + 2:
                    break
                length = buffer[start] << 8 | buffer[start + 1]
                start += 2
            end = start + length
            if end > size:
                break
            if buffer.startswith(UPDATE, start):
                swarm.delivered += 1
                if swarm.timed:
                    stamp = buffer.find(STAMP, start, end) + len(STAMP)
                    swarm.latencies.append(
                        microseconds() - int(buffer[stamp : stamp + STAMP_DIGITS])
                    )
            else:
                self._packet(buffer[position], bytes(buffer[start:end]))
            position = end
        return position

    def _read_upgrade(self, buffer: bytes | bytearray, size: int) -> int:
        end = buffer.find(b"\r\n\r\n", 0, size)
        if end < 0:
            return 0
        if not buffer.startswith(b"HTTP/1.1 101"):
            raise LoadError(f"no websocket: {bytes(buffer[:size])!r}")
        self._upgraded = True
        return end + 4

    def _packet(self, first: int, payload: bytes) -> None:
        """Handle a packet that is no location update."""
        if first == CLOSE:
            self._ended()
        elif first == PING:
            self._socket.send(masked(payload, PONG))
        elif first != TEXT:
            raise LoadError(f"unexpected frame {first:#x}")
        elif payload == b"2":
            self._socket.send(masked(b"3"))
        elif payload.startswith(b"0{"):
            self._socket.send(masked(b"40" + json.dumps({"token": self._token}).encode()))
        elif payload.startswith(b"40"):
            ids = self._ids[0] if len(self._ids) == 1 else self._ids
            self._socket.send(masked(b"420" + json.dumps(["track:vehicle", ids]).encode()))
        elif payload.startswith(b"430"):
            if b'"success":true' not in payload:
                raise LoadError(f"may not track: {payload!r}")
            self._swarm.tracking += 1
        elif payload.startswith((b"41", b"44", b'42["error"')):
            raise LoadError(f"refused: {payload!r}")

    def _ended(self) -> None:
        self._swarm.closed += 1
        self._swarm.ignore(self._descriptor)
        self._socket.close()


class Publisher:
    """One keep-alive HTTP connection with one request at a time."""

    def __init__(self, swarm: Swarm, token: str) -> None:
        self._swarm = swarm
        self._head = (
            "POST /api/tracking/location HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()
        self._busy = False
        self._answer = b""
        self._open()

    def _open(self) -> None:
        self._socket = connected_socket(self._swarm.port)
        self._descriptor = self._socket.fileno()
        self._swarm.watch(self._descriptor, self._readable)

    def post(self, body: bytes) -> None:
        """Send a request."""
        request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        self._busy = True
        if self._socket.send(request) != len(request):
            raise LoadError("the server does not read what is published")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _readable(self) -> None:
        try:
            data = self._socket.recv(65_536)
        except ConnectionError:
            data = b""
        if not data:
            if self._busy:
                raise LoadError("the server closed a publisher's connection")
            self._swarm.ignore(self._descriptor)  # the keep-alive timeout of the server has passed
            self._socket.close()
            self._open()
            return
        answer = self._answer = self._answer + data
        head, separator, body = answer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if not length:
            raise LoadError(f"an answer without a length: {answer!r}")
        if len(body) < int(length):
            return
        if not answer.startswith(b"HTTP/1.1 200"):
            raise LoadError(f"refused: {answer!r}")
        self._answer = b""
        self._busy = False
        self._swarm.answered += 1
        self._swarm.idle.append(self)
