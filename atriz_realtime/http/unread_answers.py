"""How long answers may wait for clients that do not read them, and how many bytes of them."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import attrs

from atriz_realtime.api.contracts import Report, limit_reached
from atriz_realtime.engine.deadlines import Deadlines
from atriz_realtime.engine.transports.websocket import CLOSE_GRACE

ANSWER_TIMEOUT = 60.0
"""Seconds in which a client must take some of an answer that could not be sent at once.  A kernel
whose buffer is full asks for more only when a good part of it has been read, which takes a slow
client that long."""

MAX_UNREAD = 67_108_864
"""Bytes that may wait for all clients together; beyond, the client that has taken nothing for the
most seconds is disconnected, and of several the one for which most waits."""

LOOK_AFTER = MAX_UNREAD // 16
"""Bytes that further answers leave waiting, at least, before all that waits is added up again."""

_TCP_INFO = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
_BYTES_ACKED = slice(120, 128)
"""Where ``tcpi_bytes_acked`` is in the ``tcp_info`` of ``linux/tcp.h``."""


@attrs.define(eq=False)
class Held:
    """What waits in a transport."""

    size: int
    """The most bytes that have waited: an answer is kept until all of it is sent."""
    taken: int
    """What :func:`taken` was when the client was last seen to take some."""
    since: float
    """When that was."""

    def rank(self, now: float) -> tuple[int, int]:
        """Whole seconds in which nothing was taken, and the size; the greatest is aborted first."""
        return int(now - self.since), self.size


class UnreadAnswers:
    """Aborts connections whose clients do not take their answers.

    An answer that is sent at once is not seen here.

    :param report: counts the connections that are aborted.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._room = MAX_UNREAD  # what may be added before all is added up
        self._held: dict[Any, Held] = {}  # by transport
        self._deadlines: Deadlines[Any] = Deadlines(ANSWER_TIMEOUT, self._overdue)
        self._taken: dict[Any, int] = {}  # by transport: what :func:`taken` was

    def begin(self, transport: Any) -> None:
        """Watch from now on whether a client takes what waits for it, if anything does."""
        waiting, held = unsent(transport), self._held.get(transport)
        self.end(transport)
        if waiting:
            sent = self._taken[transport] = taken(transport)
            self._deadlines.begin(transport)
            if held is None:
                held = Held(waiting, sent, self._deadlines.loop.time())
            held.size = max(held.size, waiting)
            self._held[transport] = held
            self._room -= waiting
            if self._room < 0:
                self._make_room(transport)

    def end(self, transport: Any) -> None:
        """Watch no more: the connection is lost, or no longer HTTP's."""
        if transport in self._taken:
            del self._taken[transport], self._held[transport]
            self._deadlines.end(transport)

    def waiting(self) -> int:
        """Bytes that wait for all clients."""
        return sum(map(unsent, self._taken))

    def _make_room(self, latest: Any) -> None:
        """Abort connections until no more waits than may.

        :param latest: the transport whose answer has come last; it stays.
        """
        for transport in [each for each in self._held if not unsent(each)]:
            self.end(transport)
        excess = sum([held.size for held in self._held.values()]) - MAX_UNREAD
        if excess > 0:
            now = self._deadlines.loop.time()
            for transport, held in self._held.items():
                if (sent := taken(transport)) > held.taken:
                    held.taken, held.since = sent, now
            by_age = sorted(self._held.items(), key=lambda each: each[1].rank(now), reverse=True)
            for transport, held in by_age:
                if transport is not latest and excess > 0:
                    excess -= held.size
                    self._abort_for_room(transport)
        self._room = max(-excess, LOOK_AFTER)

    def _abort_for_room(self, transport: Any) -> None:
        self.end(transport)
        message = f"more than {MAX_UNREAD} bytes of answers are unread: disconnected"
        limit_reached(self._report, f"{__name__}.MAX_UNREAD", message)
        transport.abort()

    def _overdue(self, transport: Any, _: float) -> None:
        if taken(transport) > self._taken[transport]:
            self.begin(transport)  # again, for the rest
            return
        self.end(transport)
        if unsent(transport):
            self._report("unread answer dropped", "the client did not read it: disconnected")
            transport.abort()


def taken(transport: Any) -> int:
    """A number that grows by the bytes that a client takes.

    The write buffer shows them late where the kernel's own buffer is large, so the kernel is
    asked where it says.
    """
    connection = transport.get_extra_info("socket")
    if _TCP_INFO is not None and connection is not None:
        try:
            info = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_ACKED.stop)
        except OSError:  # not TCP
            info = b""
        if len(info) == _BYTES_ACKED.stop:
            return int.from_bytes(info[_BYTES_ACKED], sys.byteorder)
    return -unsent(transport)


def unsent(transport: Any) -> int:
    """Bytes that wait in a transport; over TLS those beneath it are not counted."""
    try:
        return int(transport.get_write_buffer_size())
    except AttributeError:  # asyncio's TLS transport, once it is closed
        return 0


def close_soon(transport: Any) -> None:
    """Close; the client has ``CLOSE_GRACE`` to read what was sent."""
    transport.close()
    if unsent(transport):
        asyncio.get_running_loop().call_later(CLOSE_GRACE, transport.abort)
