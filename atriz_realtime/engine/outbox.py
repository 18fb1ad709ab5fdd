"""What waits for one client whose transport does not take it now.

Everything leaves in the order it came.  Once more than ``max_frames`` location frames or
``MAX_BYTES`` of them wait, only the newest of each entity is kept: a slow client sees
fewer positions, never old ones, and costs bounded memory.  Control packets (answers,
acknowledgements, pings) are never dropped; a client that lets too many of them pile up, or
stays behind for too long, is cut.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from atriz_realtime.engine.protocol.packets import Packet

MAX_CONTROL_PACKETS = 1_024
"""Control packets that may wait for one client."""

MAX_BYTES = 131_072
"""Bytes of location frames that may wait for one client before conflation begins."""


class Outbox:
    """The packets that wait.

    :param max_frames: frames that may wait before conflation begins.
    :param max_lag: seconds a client may be behind before ``overflow`` is called; 0: forever.
    :param overflow: called with the reason when the client is to be cut; each time anew.
    """

    __slots__ = (
        "_bytes",
        "_control",
        "_lagging_since",
        "_max_frames",
        "_max_lag",
        "_newest",
        "_next",
        "_overflow",
        "_packets",
        "conflated",
    )

    def __init__(self, *, max_frames: int, max_lag: float, overflow: Callable[[str], None]) -> None:
        self._packets: dict[int, tuple[str | None, Packet]] = {}
        self._newest: dict[str, int] = {}
        self._next = 0
        self._bytes = 0
        self._control = 0
        self._max_frames = max_frames
        self._max_lag = max_lag
        self._lagging_since: float | None = None
        self._overflow = overflow
        self.conflated = 0
        """Frames that a newer one has replaced."""

    def __len__(self) -> int:
        """How many packets wait."""
        return len(self._packets)

    @property
    def lagging(self) -> bool:
        """Whether only the newest frame of each entity is kept."""
        return self._lagging_since is not None

    @property
    def lag(self) -> float:
        """Seconds since only the newest is kept; 0 while everything is."""
        return 0.0 if self._lagging_since is None else time.monotonic() - self._lagging_since

    @property
    def frames(self) -> int:
        """How many location frames wait."""
        return len(self._packets) - self._control

    def put_frame(self, key: str, packet: Packet) -> None:
        """Keep a location frame; ``key`` is what newer frames of it replace."""
        number = self._next
        self._next = number + 1
        packets = self._packets
        packets[number] = (key, packet)
        if self._lagging_since is not None:
            older = self._newest.get(key)
            if older is not None:
                del packets[older]
                self.conflated += 1
            self._newest[key] = number
            if self._max_lag and time.monotonic() - self._lagging_since > self._max_lag:
                self._overflow("too slow")
            return
        self._bytes += len(packet.content)
        if self._bytes > MAX_BYTES or len(packets) - self._control > self._max_frames:
            self._begin_conflation()

    def put(self, packet: Packet) -> None:
        """Keep a control packet."""
        self._packets[self._next] = (None, packet)
        self._next += 1
        self._control += 1
        if self._control > MAX_CONTROL_PACKETS:
            self._overflow("too many unread packets")

    def take(self) -> list[Packet]:
        """Take everything, the oldest first."""
        taken = [packet for _, packet in self._packets.values()]
        self._packets.clear()
        self._newest.clear()
        self._bytes = self._control = 0
        self._lagging_since = None
        return taken

    def _begin_conflation(self) -> None:
        self._lagging_since = time.monotonic()
        for number, (key, _) in list(self._packets.items()):
            if key is None:
                continue
            older = self._newest.get(key)
            if older is not None:
                del self._packets[older]
                self.conflated += 1
            self._newest[key] = number


class _Closed(Outbox):
    """Takes whatever is sent to a session that has ended, and keeps nothing."""

    __slots__ = ()

    def put_frame(self, key: str, packet: Packet) -> None:
        """Nothing."""

    def put(self, packet: Packet) -> None:
        """Nothing."""


def _never(_: str) -> None:
    """Nothing overflows where nothing is kept."""


CLOSED: Outbox = _Closed(max_frames=0, max_lag=0, overflow=_never)
"""The outbox of every session that has ended."""
