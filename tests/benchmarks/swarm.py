"""The load generator: many websocket clients and a few publishers on one epoll.

It must cost less than any server that it measures.  So clients have no tasks and no buffers, and
nothing is parsed: a location update is recognized by its first bytes and counted, and its latency
is read from the digits that the publisher put into ``metadata``.
"""

from __future__ import annotations

import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import attrs

from tests.benchmarks.frames import tcp_socket

UPDATE = b'42["location:update"'
STAMP = b'"t":'
STAMP_DIGITS = 16
_STAMP_BASE = 1_000_000_000_000_000

MAX_CONNECTING = 50
"""Clients that may be connecting at the same time."""

BESIDE = 16
"""Descriptors of another swarm that are read in one turn: they delay what is timed."""

SILENCE = 20.0
"""Seconds without progress after which a run is given up."""


class LoadError(Exception):
    """The server did something that makes the measurement worthless."""


class Client(Protocol):
    """A client of the server."""

    def stall(self) -> None:
        """Stop reading."""

    def close(self) -> None:
        """Close its connections."""


class Publisher(Protocol):
    """Publishes one fix at a time."""

    def post(self, body: bytes) -> None:
        """Publish; it becomes idle again when the server has accepted the fix."""

    def close(self) -> None:
        """Close its connection."""


def microseconds() -> int:
    """The current time, as a number of :data:`STAMP_DIGITS` digits with an arbitrary origin."""
    return _STAMP_BASE + time.monotonic_ns() // 1_000


@attrs.define(eq=False)
class Swarm:
    """Everything that is connected to one server, or to several."""

    port: int
    """Where clients and publishers connect that are added from now on."""
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
    """Clients that are authenticated and track; one that tracks anew counts again."""
    latencies: array[int] = attrs.field(factory=lambda: array("q"), init=False)
    """Microseconds."""
    clients: list[Client] = attrs.field(factory=list, init=False)
    idle: deque[Publisher] = attrs.field(factory=deque, init=False)
    """Publishers that are not waiting for a response."""
    publishers: list[Publisher] = attrs.field(factory=list, init=False)
    buffer: bytearray = attrs.field(factory=lambda: bytearray(2**18), init=False)
    _epoll: select.epoll = attrs.field(factory=select.epoll, init=False)
    _readers: dict[int, Callable[[], None]] = attrs.field(factory=dict, init=False)

    def turn(self, timeout: float, most: int = 512) -> None:
        """Read what has arrived; wait up to ``timeout`` seconds for it.

        :param most: descriptors that are read.
        """
        readers = self._readers
        for descriptor, _ in self._epoll.poll(timeout, most):
            if reader := readers.get(descriptor):  # it may have been closed in this turn
                reader()

    def wait(self, seconds: float) -> None:
        """Read what arrives for so many seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.turn(left)

    def watch(self, descriptor: int, reader: Callable[[], None]) -> None:
        """Call ``reader`` whenever there is something to read."""
        self._readers[descriptor] = reader
        self._epoll.register(descriptor, select.EPOLLIN)

    def open(
        self, reader: Callable[[], None], *, port: int = 0, distant: bool = False
    ) -> socket.socket:
        """Connect to the server, and call ``reader`` whenever there is something to read.

        The server may still have to accept the connection; :meth:`send` waits for that.

        :param port: instead of the swarm's.
        :param distant: use the small buffers of a network.
        """
        sock = tcp_socket(port or self.port, distant=distant)
        self.watch(sock.fileno(), reader)
        return sock

    def send(self, sock: socket.socket, data: bytes) -> None:
        """Write to a connection of :meth:`open`."""
        try:
            sent = sock.send(data)
        except BlockingIOError:
            self._send_once_connected(sock, data)
        except ConnectionError:
            pass  # the reader finds the connection closed
        else:
            if sent != len(data):
                raise LoadError("the server does not read what it is sent")

    def _send_once_connected(self, sock: socket.socket, data: bytes) -> None:
        descriptor = sock.fileno()
        reader = self._readers[descriptor]

        def connected() -> None:
            self._readers[descriptor] = reader
            self._epoll.modify(descriptor, select.EPOLLIN)
            self.send(sock, data)

        self._readers[descriptor] = connected
        self._epoll.modify(descriptor, select.EPOLLOUT)

    def record(self, buffer: bytes | bytearray, start: int, end: int) -> None:
        """Record the latency of the location update at this place."""
        stamp = buffer.find(STAMP, start, end) + len(STAMP)
        self.latencies.append(microseconds() - int(buffer[stamp : stamp + STAMP_DIGITS]))

    def ignore(self, descriptor: int) -> None:
        """Stop reading from a descriptor."""
        self._epoll.unregister(descriptor)
        del self._readers[descriptor]

    def read_beside(self, other: Swarm) -> None:
        """Read what another swarm receives too, a little in each turn."""
        self.watch(other._epoll.fileno(), lambda: other.turn(0, BESIDE))

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
        self,
        client: Callable[[Swarm, str, Sequence[str]], Client],
        wanted: Iterable[tuple[str, Sequence[str]]],
    ) -> None:
        """Connect a client for each token, authenticated and tracking the ids beside it."""
        opened = len(self.clients)
        before = self.tracking - opened

        def may_connect() -> bool:
            return opened + before - self.tracking < MAX_CONNECTING

        for token, ids in wanted:
            self.clients.append(client(self, token, ids))
            opened += 1
            self.progress(may_connect)
        self.progress(lambda: self.tracking - before == opened)

    def progress(self, done: Callable[[], bool]) -> None:
        """Read until ``done``, as long as clients go on coming.

        :raises LoadError: when they do not.
        """
        if not self.until(done, lambda: self.tracking):
            raise LoadError(f"only {self.tracking} clients could connect and track")

    def add_publisher(self, publisher: Publisher) -> None:
        """Add a publisher, which is idle."""
        self.publishers.append(publisher)
        self.idle.append(publisher)

    def close(self) -> None:
        """Close every connection."""
        for client in self.clients:
            client.close()
        for publisher in self.publishers:
            publisher.close()
        self._epoll.close()
