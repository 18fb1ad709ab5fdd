"""The packets that wait for a client whose transport accepts no more for now.

Packets leave in the order they came.  Once more than ``max_frames`` location frames or
``MAX_BYTES`` of them wait, the outbox conflates: it keeps only the newest frame of each entity,
so that a slow client sees fewer positions, never old ones, and costs bounded memory.  Control
packets (answers, acknowledgements, pings) are never dropped.  A client that lets too many of
them pile up, or too many bytes of either, or lags for too long, is cut.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from atriz_realtime.engine.protocol.packets import Packet

MAX_CONTROL_PACKETS = 1_024
"""Control packets that may wait for one client."""

MAX_CONTROL_BYTES = 1_048_576
"""Bytes of control packets that may wait for one client; a single packet may be longer."""

MAX_BYTES = 131_072
"""Bytes of location frames that may wait for one client before conflation begins."""

MAX_CONFLATED_BYTES = 8_388_608
"""Bytes of location frames that may wait for one client during conflation."""


class OutboxLimits:
    """The limits of all outboxes of a server, and what they have conflated together.

    :param max_frames: frames that may wait before conflation begins.
    :param max_lag: seconds of conflation after which a client is cut; 0: no limit.
    """

    __slots__ = ("conflated", "max_frames", "max_lag")

    def __init__(self, max_frames: int, max_lag: float) -> None:
        self.max_frames = max_frames
        self.max_lag = max_lag
        self.conflated = 0
        """Frames that newer ones replaced before they were written."""


class Outbox:
    """The packets that wait for one client.

    :param overflow: called with the reason to cut the client, and again for each further packet.
    """

    __slots__ = (
        "_bytes",
        "_control",
        "_control_bytes",
        "_lagging_since",
        "_limits",
        "_newest",
        "_next",
        "_overflow",
        "_packets",
    )

    def __init__(self, limits: OutboxLimits, overflow: Callable[[str], None]) -> None:
        self._packets: dict[int, tuple[str | None, Packet]] = {}
        self._newest: dict[str, int] = {}
        self._next = 0
        self._bytes = 0
        self._control = 0
        self._control_bytes = 0
        self._limits = limits
        self._lagging_since: float | None = None
        self._overflow = overflow

    def __len__(self) -> int:
        """The number of packets that wait."""
        return len(self._packets)

    @property
    def lagging(self) -> bool:
        """Whether the outbox conflates."""
        return self._lagging_since is not None

    @property
    def lag(self) -> float:
        """Seconds since conflation began; 0 without conflation."""
        return 0.0 if self._lagging_since is None else time.monotonic() - self._lagging_since

    @property
    def frames(self) -> int:
        """The number of location frames that wait."""
        return len(self._packets) - self._control

    def put_frame(self, key: str, packet: Packet) -> None:
        """Add a location frame, which replaces the older one of its key during conflation."""
        number = self._next
        self._next = number + 1
        packets = self._packets
        packets[number] = (key, packet)
        self._bytes += len(packet.content)
        if self._lagging_since is not None:
            self._replace(key, number)
            max_lag = self._limits.max_lag
            if max_lag and time.monotonic() - self._lagging_since > max_lag:
                self._overflow("too slow")
            elif self._bytes > MAX_CONFLATED_BYTES:
                self._overflow("too many unread bytes")
            return
        if self._bytes > MAX_BYTES or len(packets) - self._control > self._limits.max_frames:
            self._begin_conflation()

    def put(self, packet: Packet) -> None:
        """Add a control packet."""
        self._packets[self._next] = (None, packet)
        self._next += 1
        self._control += 1
        self._control_bytes += len(packet.content)
        if self._control > MAX_CONTROL_PACKETS:
            self._overflow("too many unread packets")
        elif self._control_bytes > MAX_CONTROL_BYTES and self._control > 1:
            self._overflow("too many unread bytes")

    def take(self) -> list[Packet]:
        """Remove and return all packets, the oldest first."""
        taken = [packet for _, packet in self._packets.values()]
        self._packets.clear()
        self._newest.clear()
        self._bytes = self._control = self._control_bytes = 0
        self._lagging_since = None
        return taken

    def _begin_conflation(self) -> None:
        self._lagging_since = time.monotonic()
        for number, (key, _) in list(self._packets.items()):
            if key is not None:
                self._replace(key, number)

    def _replace(self, key: str, number: int) -> None:
        """Drop the older frame of a key for the one with a number."""
        older = self._newest.get(key)
        if older is not None:
            _, packet = self._packets.pop(older)
            self._bytes -= len(packet.content)
            self._limits.conflated += 1
        self._newest[key] = number


class _ClosedOutbox(Outbox):
    """Discards the packets for a session that has ended."""

    __slots__ = ()

    def put_frame(self, key: str, packet: Packet) -> None:
        """Discard a frame."""

    def put(self, packet: Packet) -> None:
        """Discard a packet."""


CLOSED: Outbox = _ClosedOutbox(OutboxLimits(max_frames=0, max_lag=0), overflow=lambda _: None)
"""The outbox of every session that has ended."""
