"""Hands connections over to the worker that owns their session.

All workers accept connections on the same port, so a request of a long-polling session, or
its upgrade, may reach a worker that does not have the session.  Session ids begin with the
number of their worker.  A worker that reads the id of another's session passes on the
connection itself (``SCM_RIGHTS``), with the data it has read, over a Unix socket.  The client
does not notice, and no worker relays data for another.

In a rolling restart a worker retires before it stops: from then on it serves its sessions only,
and passes every other request on to its successor.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_LINE = 8_192
"""Bytes of a request line that a worker waits for, to find out whose session it names; as RFC 9110
recommends at least for a URI."""

MAX_READ = 262_144 + MAX_LINE
"""The most bytes passed on with a connection; one read of the event loop returns fewer."""

MAX_QUEUED = 1_000
"""Connections that may wait for one worker to accept them; further ones are not handed over."""

MAX_QUEUED_BYTES = 4_194_304
"""Bytes that may have been read from those connections."""

_OWNER = re.compile(rb"[A-Z]+ [^ \r\n]*[?&]sid=([0-9]{1,4})(?:~|%7E)", re.IGNORECASE)
"""Finds the number of the worker in a request line; ``~`` is ``SESSION_SEPARATOR``."""

Report = Callable[[str, str], None]
"""Takes the kind of an incident, and one line."""


def owner_of(data: bytes) -> int | None:
    """Return the worker that owns a request's session; ``None`` without a session id."""
    found = _OWNER.match(data)
    return int(found[1]) if found else None


class _Queue:
    """Connections that wait for one worker to accept them: the kernel holds only ten.

    :param path: of the worker's socket.
    :param lost: called with the reason for each connection that the worker did not accept.
    :param ended: called once when nothing waits any more; the queue is closed then.
    """

    def __init__(self, path: str, lost: Callable[[str], None], ended: Callable[[], object]) -> None:
        self._lost = lost
        self._ended = ended
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._loop = asyncio.get_running_loop()
        # a connected socket is writable only while its peer accepts more
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_READ)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._loop.add_writer(self._socket, self._send)

    def add(self, connection: int, data: bytes) -> bool:
        """Queue a connection; returns False when too much waits."""
        if len(self._waiting) >= MAX_QUEUED or self._bytes + len(data) > MAX_QUEUED_BYTES:
            return False
        self._waiting.append((os.dup(connection), data))
        self._bytes += len(data)
        return True

    def _send(self) -> None:
        try:
            while self._waiting:
                connection, data = self._waiting[0]
                socket.send_fds(self._socket, [data], [connection])
                self._waiting.popleft()
                self._bytes -= len(data)
                os.close(connection)
        except BlockingIOError:
            return
        except OSError as error:
            for _ in self._waiting:
                self._lost(f"{error.strerror}; closed")
        self.close()

    def close(self) -> None:
        """Close the connections that still wait."""
        self._loop.remove_writer(self._socket)
        self._socket.close()
        for connection, _ in self._waiting:
            os.close(connection)
        self._waiting.clear()
        self._ended()


class Handover:
    """Passes connections on to other workers, and takes over theirs.

    :param directory: holds the sockets of all workers; only this user may enter it.
    :param report: told of connections that no worker accepted.
    :param successor: the worker that replaces this one in a rolling restart.
    """

    def __init__(self, directory: Path, worker: int, report: Report, successor: int) -> None:
        self.worker = worker
        self.default: int | None = None
        """The worker for requests that name no session; ``None``: the one that reads them."""
        self._successor = successor
        self._directory = directory
        self._report = report
        self._queues: dict[int, _Queue] = {}
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

    def retire(self) -> None:
        """Leave requests that name no session to the successor."""
        self.default = self._successor

    def close(self) -> None:
        """Stop accepting connections from other workers."""
        asyncio.get_running_loop().remove_reader(self._incoming)
        self._incoming.close()
        for queue in list(self._queues.values()):
            queue.close()
        self._path(self.worker).unlink(missing_ok=True)

    def pass_on(self, owner: int, connection: int, data: bytes) -> bool:
        """Pass a connection to its owner as soon as the owner accepts it.

        :returns: False when there is no such worker, or too much waits for it.
        """
        try:
            if owner not in self._queues:
                ended = partial(self._queues.pop, owner)
                self._queues[owner] = _Queue(str(self._path(owner)), self._lost, ended)
            if self._queues[owner].add(connection, data):
                return True
            self._lost("too many wait for their worker")
        except FileNotFoundError:  # the worker has gone, and the session with it
            return False
        except OSError as error:
            self._lost(f"{error.strerror}")
        return False

    def _lost(self, reason: str) -> None:
        self._report("connection not handed over", reason)

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
            begin = partial(_Unread, data)
            transport, unread = await loop.connect_accepted_socket(begin, connection)
            if not transport.is_closing():
                protocol = self._make_protocol()
                transport.set_protocol(protocol)
                protocol.connection_made(transport)
                protocol.data_received(unread.data)


class _Unread(asyncio.Protocol):
    """Keeps what uvloop reads from a connection before it returns from setting it up.

    :param data: what was read before.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.data += data


def sticky_protocol(handover: Handover) -> type[HttpToolsProtocol]:
    """Uvicorn's HTTP protocol, which passes on the connections that are for other workers."""
    # imported here, so that `serve` can say what to install when httptools is missing
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415

    class StickyProtocol(HttpToolsProtocol):
        _line = b""  # a part of a request line
        _in_request = False

        def on_message_begin(self) -> None:
            self._in_request = True
            super().on_message_begin()

        def on_message_complete(self) -> None:
            self._in_request = False
            super().on_message_complete()

        def data_received(self, data: bytes) -> None:
            cycle: Any = self.cycle  # None before the first request
            between_requests = not self._in_request and (cycle is None or cycle.response_complete)
            owner = None
            if between_requests:
                data = self._line + data
                is_partial = len(data) <= MAX_LINE and b"\n" not in data
                self._line = data if is_partial else b""
                if is_partial:
                    super().data_received(b"")  # its time begins
                    return
                owner = owner_of(data)
                if owner is None:
                    owner = handover.default
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
