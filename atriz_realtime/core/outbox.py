"""One client's outgoing packets.

While a client keeps up, everything leaves in the order it came.  Once more than
``max_frames`` location frames wait, only the newest of each entity is kept: a
slow client sees fewer positions, never old ones, and costs bounded memory.
Control packets (answers, acknowledgements, pings) are never dropped; a client
that lets too many of them pile up, or stays behind for too long, is cut.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

MAX_CONTROL_PACKETS = 1_024
"""Control packets that may wait for one client."""

CLOSE_GRACE = 1.0
"""Seconds a session that is being closed waits for its client to take what is queued."""


class Outbox:
    """A client's queue, with the methods of :class:`asyncio.Queue` that python-engineio uses.

    python-engineio makes one for each session through ``create_queue()`` and takes
    packets from it when the client's transport is ready for more.

    :param max_frames: frames that may wait before conflation begins.
    :param max_lag: seconds a client may be behind before ``overflow`` is called; 0: forever.
    :param overflow: called once, with the reason, when the client is to be cut.
    """

    __slots__ = (
        "_control",
        "_drained",
        "_getter",
        "_lagging_since",
        "_max_frames",
        "_max_lag",
        "_newest",
        "_next",
        "_overflow",
        "_packets",
        "conflated",
    )

    def __init__(
        self,
        *,
        max_frames: int,
        max_lag: float,
        overflow: Callable[[Outbox, str], None],
    ) -> None:
        self._packets: dict[int, tuple[str | None, Any]] = {}
        self._newest: dict[str, int] = {}
        self._next = 0
        self._control = 0
        self._max_frames = max_frames
        self._max_lag = max_lag
        self._lagging_since: float | None = None
        self._overflow: Callable[[Outbox, str], None] | None = overflow
        self._getter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self.conflated = 0

    def put_frame(self, key: str, packet: Any) -> None:
        """Queue a location frame; ``key`` is what newer frames of it replace."""
        number = self._next
        self._next = number + 1
        packets = self._packets
        if self._lagging_since is not None:
            older = self._newest.pop(key, None)
            if older is not None:
                del packets[older]
                self.conflated += 1
            packets[number] = (key, packet)
            self._newest[key] = number
            if self._max_lag and time.monotonic() - self._lagging_since > self._max_lag:
                self._cut("too slow")
        else:
            packets[number] = (key, packet)
            if len(packets) - self._control > self._max_frames:
                self._begin_conflation()
        if self._getter is not None:
            self._wake()

    def put_nowait(self, packet: Any) -> None:
        """Queue a control packet."""
        self._packets[self._next] = (None, packet)
        self._next += 1
        self._control += 1
        if self._control > MAX_CONTROL_PACKETS:
            self._cut("too many unread packets")
        if self._getter is not None:
            self._wake()

    async def put(self, packet: Any) -> None:
        """Queue a control packet."""
        self.put_nowait(packet)

    def get_nowait(self) -> Any:
        """Take the oldest packet.

        :raises asyncio.QueueEmpty: when there is none.
        """
        if not self._packets:
            raise asyncio.QueueEmpty
        number = next(iter(self._packets))
        key, packet = self._packets.pop(number)
        if key is None:
            self._control -= 1
        elif self._lagging_since is not None:
            self._newest.pop(key, None)
        if not self._packets:
            self._lagging_since = None
            if self._drained is not None and not self._drained.done():
                self._drained.set_result(None)
        return packet

    async def get(self) -> Any:
        """Take the oldest packet, waiting for one."""
        while not self._packets:
            if self._getter is None:
                self._getter = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._getter)
        return self.get_nowait()

    def qsize(self) -> int:
        """How many packets wait."""
        return len(self._packets)

    def empty(self) -> bool:
        """Whether none waits."""
        return not self._packets

    def task_done(self) -> None:
        """Nothing: :meth:`join` looks at what is left."""

    async def join(self) -> None:
        """Wait until everything was taken, for a second at most: a client may never read."""
        if self._packets:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._drained], timeout=CLOSE_GRACE)
            self._drained = None

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

    def _wake(self) -> None:
        if self._getter is not None and not self._getter.done():
            self._getter.set_result(None)
        self._getter = None

    def _cut(self, reason: str) -> None:
        overflow, self._overflow = self._overflow, None
        if overflow is not None:
            overflow(self, reason)
