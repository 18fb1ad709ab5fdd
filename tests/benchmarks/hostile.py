"""A client that sends on one socket as fast as the server reads, and reconnects when it is cut."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from tests.benchmarks.fixes import token
from tests.benchmarks.frames import UPGRADE, connected_socket, masked

BURST = 200
"""Frames in one write."""

SEND_TIMEOUT = 1.0
"""Seconds that a send waits for the server to read."""

FRAMES = b"".join(
    masked(payload)
    for payload in (
        b'42["track:vehicle","v0000"]',
        b'42["untrack:vehicle",' + b"[" * 50,
        b'42["authenticate","x"]',
        b'42["nothing:known",' + b"1," * 2_000 + b"1]",
    )
    * (BURST // 4)
)
"""Events over the limit, some of them invalid or long."""


@attrs.define(eq=False)
class Hostile:
    """The client, and what it has done."""

    port: int
    sent: int = attrs.field(default=0, init=False)
    """Bytes sent."""
    connections: int = attrs.field(default=0, init=False)
    _stop: threading.Event = attrs.field(factory=threading.Event, init=False)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Send for as long as the context lasts."""
        thread = threading.Thread(target=self._work, name="hostile")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                self._flood()

    def _flood(self) -> None:
        with connected_socket(self.port) as sock:
            self.connections += 1
            sock.settimeout(SEND_TIMEOUT)
            sock.sendall(UPGRADE)
            sock.recv(4_096)
            sock.sendall(masked(b'40{"token":"%b"}' % token("hostile").encode()))
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    self.sent += sock.send(FRAMES)
