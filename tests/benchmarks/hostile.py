"""A client that sends as fast as the server reads, and reconnects when it is cut."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from tests.benchmarks.fixes import Fix, token
from tests.benchmarks.frames import BINARY, PING, TEXT, UPGRADE, masked, tcp_socket
from tests.benchmarks.swarm import microseconds

BURST = 200
"""Frames in one write of mixed events."""

WRITE = 65_536
"""Bytes in one write of one kind of packet, at least."""

SEND_TIMEOUT = 1.0
"""Seconds that a send waits for the server to read."""

PROBE_PAUSE = 0.01
"""Seconds between an answer to a probe and the next probe."""

FIN = 0x80

TOKEN = token("hostile")
ANONYMOUS = masked(b"40")
USER = masked(b'40{"token":"%b"}' % TOKEN.encode())


@attrs.frozen
class Flood:
    """What the client sends again and again."""

    name: str
    frames: bytes
    greeting: bytes = USER
    """What it sends first: its CONNECT."""
    reconnects: bool = False
    """Whether it reconnects after it has sent its frames once, without waiting to be cut."""


def _burst(*payloads: bytes, first: int = TEXT) -> bytes:
    frames = b"".join(masked(payload, first) for payload in payloads)
    return frames * (WRITE // len(frames) + 1)


def _event(name: str, event: str, *arguments: object) -> Flood:
    return Flood(
        name, _burst(b"42" + json.dumps([event, *arguments], separators=(",", ":")).encode())
    )


MIXED = Flood(
    "events",
    b"".join(
        masked(payload)
        for payload in (
            b'42["track:vehicle","v0000"]',
            b'42["untrack:vehicle",' + b"[" * 50,
            b'42["authenticate","x"]',
            b'42["nothing:known",' + b"1," * 2_000 + b"1]",
        )
        * (BURST // 4)
    ),
)
"""Events over the limit, some of them invalid or long."""

_FIX = json.loads(Fix("hostile").body(microseconds()))
_IDS = [f"h{number:04}" for number in range(1_000)]

FLOODS = (
    Flood("pongs", _burst(b"3"), ANONYMOUS),
    Flood("acknowledgements", _burst(b"431[]"), ANONYMOUS),
    Flood("ping frames", _burst(b"", first=PING), ANONYMOUS),
    Flood("noops", masked(b"6"), ANONYMOUS, reconnects=True),
    Flood("empty messages", masked(b""), ANONYMOUS, reconnects=True),
    Flood("fragments", masked(b"4", TEXT - FIN) + _burst(b"", first=0), ANONYMOUS),
    Flood("binary messages", masked(b"4", BINARY), ANONYMOUS, reconnects=True),
    Flood("connects and disconnects", _burst(b"41", b"40"), ANONYMOUS),
    Flood("malformed packets", masked(b"4[[["), ANONYMOUS, reconnects=True),
    _event("authenticate", "authenticate", TOKEN),
    _event("track", "track:vehicle", "v0000"),
    _event("track of a list", "track:vehicle", _IDS),
    _event("untrack", "untrack:vehicle", "v0000"),
    _event("location:publish", "location:publish", _FIX),
    _event(
        "location:publish of a list",
        "location:publish",
        [_FIX | {"vehicleId": each} for each in _IDS[:100]],
    ),
    _event("location:publish of errors", "location:publish", [{}] * 1_000),
    _event("an unknown event", "nothing:known"),
)
"""Each kind of packet from an anonymous client, then each event from a user."""


@contextmanager
def in_thread(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Work in a thread for as long as the context lasts; the event tells it to stop."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), name="hostile")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@attrs.define(eq=False)
class Hostile:
    """The client, and what it has done."""

    port: int
    flood: Flood
    sent: int = attrs.field(default=0, init=False)
    """Bytes sent."""
    connections: int = attrs.field(default=0, init=False)

    def work(self, stop: threading.Event) -> None:
        """Send until told to stop."""
        while not stop.is_set():
            with contextlib.suppress(OSError):
                self._send(stop)

    def _send(self, stop: threading.Event) -> None:
        with tcp_socket(self.port) as sock:
            self.connections += 1
            sock.settimeout(SEND_TIMEOUT)
            sock.sendall(UPGRADE)
            sock.recv(4_096)
            sock.sendall(self.flood.greeting)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    self._send_frames(sock)
                if self.flood.reconnects:
                    break

    def _send_frames(self, sock: socket.socket) -> None:
        frames = memoryview(self.flood.frames)
        while frames:
            sent = sock.send(frames)
            self.sent += sent
            frames = frames[sent:]


@attrs.define(eq=False)
class Prober:
    """Measures how long the server takes to answer ``/livez``, be it 404."""

    port: int
    latencies: list[float] = attrs.field(factory=list, init=False)
    """Milliseconds."""

    def work(self, stop: threading.Event) -> None:
        """Ask until told to stop."""
        while not stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            with contextlib.suppress(OSError, http.client.HTTPException):
                while not stop.wait(PROBE_PAUSE):
                    start = time.perf_counter()
                    connection.request("GET", "/livez")
                    connection.getresponse().read()
                    self.latencies.append((time.perf_counter() - start) * 1_000)
            connection.close()
