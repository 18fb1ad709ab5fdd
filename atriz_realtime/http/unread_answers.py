"""How long an answer may wait for a client that does not read it."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any

from atriz_realtime.engine.deadlines import Deadlines
from atriz_realtime.engine.transports.websocket import CLOSE_GRACE

ANSWER_TIMEOUT = 5.0
"""Seconds over which it is measured how fast a client takes an answer that could not be sent at
once."""

MIN_ANSWER_RATE = 500
"""Bytes of such an answer that a client must take per second; the same as for the bodies that it
sends."""

_TCP_INFO = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
_BYTES_ACKED = slice(120, 128)
"""Where ``tcpi_bytes_acked`` is in the ``tcp_info`` of ``linux/tcp.h``."""


class UnreadAnswers:
    """Aborts connections whose clients do not take their answers.

    An answer that is sent at once is not seen here.

    :param report: called with the name of an incident and what has happened.
    """

    def __init__(self, report: Callable[[str, str], object]) -> None:
        self._report = report
        self._deadlines: Deadlines[Any] = Deadlines(ANSWER_TIMEOUT, self._overdue)
        self._goals: dict[Any, float] = {}  # by transport: what :func:`taken` has to reach

    def begin(self, transport: Any) -> None:
        """Measure from now on how fast a client takes what waits for it, if anything does."""
        waiting = transport.get_write_buffer_size()
        if waiting:
            self.end(transport)
            least = min(waiting, MIN_ANSWER_RATE * ANSWER_TIMEOUT)
            self._goals[transport] = taken(transport) + least
            self._deadlines.begin(transport)

    def end(self, transport: Any) -> None:
        """Measure no more: the connection is lost, or no longer HTTP's."""
        if self._deadlines.end(transport):
            del self._goals[transport]

    def _overdue(self, transport: Any, _: float) -> None:
        goal = self._goals.pop(transport)
        if taken(transport) >= goal:
            self.begin(transport)  # again, for the rest
        elif transport.get_write_buffer_size():
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
    return -int(transport.get_write_buffer_size())


def close_soon(transport: Any) -> None:
    """Close; the client has ``CLOSE_GRACE`` to read what was sent."""
    transport.close()
    if transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(CLOSE_GRACE, transport.abort)
