"""Writes to a socket past its asyncio transport, while that transport is idle.

A transport buffers what it is given until the end of the loop's turn, and has to be woken for
it.  That costs half a microsecond for each write, besides the system call.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def descriptor(transport: Any) -> int:
    """The file descriptor for :func:`send`; -1 where everything has to go through the transport."""
    if sys.platform == "win32" or transport.get_extra_info("sslcontext") is not None:
        return -1
    connection = transport.get_extra_info("socket")
    return -1 if connection is None else int(connection.fileno())


def send(transport: Any, fd: int, data: bytes) -> None:
    """Send bytes now, or after those that the transport still has to send.

    :param fd: the transport's :func:`descriptor`.
    """
    if fd >= 0 and not transport.get_write_buffer_size() and not transport.is_closing():
        try:
            sent = os.write(fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            transport.abort()
            return
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)
