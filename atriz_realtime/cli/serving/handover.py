"""Hands connections over to the worker that owns their session.

All workers accept connections on the same port, so a request of a long-polling session, or
its upgrade, may reach a worker that does not have the session.  Session ids begin with the
number of their worker.  A worker that reads the id of another's session passes on the
connection itself (``SCM_RIGHTS``), with the data it has read, over a Unix socket.  The client
does not notice, and no worker relays data for another.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_READ = 262_144
"""The most bytes passed on with a connection; one read of the event loop returns fewer."""

_OWNER = re.compile(rb"[A-Z]+ [^ \r\n]*[?&]sid=([0-9]{1,4})(?:~|%7E)", re.IGNORECASE)
"""Finds the number of the worker in a request line; ``~`` is ``SESSION_SEPARATOR``."""

logger = structlog.get_logger("atriz_realtime.serve")


def owner_of(data: bytes) -> int | None:
    """Return the worker that owns a request's session; ``None`` without a session id."""
    found = _OWNER.match(data)
    return int(found[1]) if found else None


class Handover:
    """Passes connections on to other workers, and takes over theirs.

    :param directory: holds the sockets of all workers; only this user may enter it.
    """

    def __init__(self, directory: Path, worker: int) -> None:
        self.worker = worker
        self._directory = directory
        self._outgoing = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._outgoing.setblocking(False)
        self._outgoing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_READ)
        self._incoming = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._incoming.setblocking(False)
        self._adopting: set[asyncio.Task[None]] = set()
        path = self._path(worker)
        path.unlink(missing_ok=True)
        self._incoming.bind(str(path))

    def start(self, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        """Start accepting connections from other workers."""
        self._make_protocol = make_protocol
        asyncio.get_running_loop().add_reader(self._incoming, self._receive)

    def close(self) -> None:
        """Stop accepting connections from other workers."""
        asyncio.get_running_loop().remove_reader(self._incoming)
        self._incoming.close()
        self._outgoing.close()
        self._path(self.worker).unlink(missing_ok=True)

    def pass_on(self, owner: int, connection: int, data: bytes) -> bool:
        """Pass a connection to its owner; returns whether the owner accepted it."""
        rights = array.array("i", [connection])
        try:
            self._outgoing.sendmsg(
                [data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], 0, str(self._path(owner))
            )
        except OSError as error:
            logger.warning("connection not handed over", worker=owner, reason=error.strerror)
            return False
        return True

    def _path(self, worker: int) -> Path:
        return self._directory / f"worker-{worker}.sock"

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data, descriptors, _, _ = socket.recv_fds(self._incoming, MAX_READ, 1)
            for descriptor in descriptors:
                task = asyncio.get_running_loop().create_task(self._adopt(descriptor, data))
                self._adopting.add(task)
                task.add_done_callback(self._adopting.discard)

    async def _adopt(self, descriptor: int, data: bytes) -> None:
        """Serve a connection, starting with the data that another worker read."""
        try:
            connection = socket.socket(fileno=descriptor)
        except OSError:  # closed already
            os.close(descriptor)
            return
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            _, protocol = await loop.connect_accepted_socket(self._make_protocol, connection)
            protocol.data_received(data)


def sticky_protocol(handover: Handover) -> type[HttpToolsProtocol]:
    """Uvicorn's HTTP protocol, which passes on the connections of other workers' sessions."""
    # imported here, so that `serve` can say what to install when httptools is missing
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415

    class StickyProtocol(HttpToolsProtocol):
        def data_received(self, data: bytes) -> None:
            cycle: Any = self.cycle  # None before the first request
            between_requests = cycle is None or cycle.response_complete
            owner = owner_of(data) if between_requests else None
            if owner is None or owner == handover.worker:
                super().data_received(data)
                return
            connection: Any = self.transport.get_extra_info("socket")
            if handover.pass_on(owner, connection.fileno(), data):
                self._unset_keepalive_if_required()
                self.transport.abort()  # closes our descriptor, not the connection
            else:
                super().data_received(data)

    return StickyProtocol
