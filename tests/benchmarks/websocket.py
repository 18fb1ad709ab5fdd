"""One websocket of a client."""

from __future__ import annotations

from typing import Protocol

from tests.benchmarks.frames import CLOSE, PING, PONG, TEXT, masked
from tests.benchmarks.swarm import UPDATE, LoadError, Swarm


class Packets(Protocol):
    """What handles the packets of a websocket."""

    counts: bool
    """Whether location updates are only counted, and are not passed to :meth:`packet`."""

    def opened(self) -> None:
        """The server has answered the upgrade."""

    def packet(self, payload: bytes) -> None:
        """A packet of Engine.IO has come."""


class WebSocket:
    """Sends packets in frames, and reads those that come.

    :param upgrade: the request that opens it.
    :param distant: use the small buffers of a network.
    """

    def __init__(
        self, swarm: Swarm, packets: Packets, upgrade: bytes, *, distant: bool = False
    ) -> None:
        self._swarm = swarm
        self._packets = packets
        self._rest = b""
        self._upgraded = False
        self._socket = swarm.open(self._readable, distant=distant)
        self._receive_into = self._socket.recv_into
        swarm.send(self._socket, upgrade)

    def send(self, *payloads: bytes) -> None:
        """Send packets in one write."""
        self._swarm.send(self._socket, b"".join(masked(payload) for payload in payloads))

    def stall(self) -> None:
        """Stop reading."""
        self._swarm.ignore(self._socket.fileno())

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
        counts = self._packets.counts
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
            if counts and buffer.startswith(UPDATE, start):
                swarm.delivered += 1
                if swarm.timed:
                    swarm.record(buffer, start, end)
            else:
                self._frame(buffer[position], bytes(buffer[start:end]))
            position = end
        return position

    def _read_upgrade(self, buffer: bytes | bytearray, size: int) -> int:
        end = buffer.find(b"\r\n\r\n", 0, size)
        if end < 0:
            return 0
        if not buffer.startswith(b"HTTP/1.1 101"):
            raise LoadError(f"no websocket: {bytes(buffer[:size])!r}")
        self._upgraded = True
        self._packets.opened()
        return end + 4

    def _frame(self, first: int, payload: bytes) -> None:
        """Handle a frame that is no counted location update."""
        if first == TEXT:
            self._packets.packet(payload)
        elif first == CLOSE:
            self._ended()
        elif first == PING:
            self._swarm.send(self._socket, masked(payload, PONG))
        else:
            raise LoadError(f"unexpected frame {first:#x}")

    def _ended(self) -> None:
        self._swarm.closed += 1
        self._swarm.ignore(self._socket.fileno())
        self._socket.close()
