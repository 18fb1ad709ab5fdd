"""How long an answer may wait for a client that does not read it."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any

from atriz_realtime.engine.deadlines import Deadlines
from atriz_realtime.engine.transports.websocket import CLOSE_GRACE

ANSWER_TIMEOUT = 60.0
"""Seconds in which a client must take some of an answer that could not be sent at once.  A kernel
whose buffer is full asks for more only when a good part of it has been read, which takes a slow
client that long."""

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
        self._taken: dict[Any, int] = {}  # by transport: what :func:`taken` was

    def begin(self, transport: Any) -> None:
        """Watch from now on whether a client takes what waits for it, if anything does."""
        if unsent(transport):
            self.end(transport)
            self._taken[transport] = taken(transport)
            self._deadlines.begin(transport)

    def end(self, transport: Any) -> None:
        """Watch no more: the connection is lost, or no longer HTTP's."""
        if self._deadlines.end(transport):
            del self._taken[transport]

    def _overdue(self, transport: Any, _: float) -> None:
        before = self._taken.pop(transport)
        if taken(transport) > before:
            self.begin(transport)  # again, for the rest
        elif unsent(transport):
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
