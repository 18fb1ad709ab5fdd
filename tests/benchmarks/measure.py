"""Runs servers as processes on their own core, and reads their cost from the operating system."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from atriz_realtime.testing import free_port

SECRET = "a-secret-of-more-than-thirty-two-bytes"

ROOT = Path(__file__).parents[2]

START_TIMEOUT = 20.0
"""Seconds that a server has to answer."""

STOP_TIMEOUT = 5.0
"""Seconds that a server has to end after SIGTERM."""

CORES = sorted(os.sched_getaffinity(0))
"""The cores that this process may run on."""

SERVER_CORE, LOAD_CORE = 0, 1
"""The core of the servers, and that of the load generator and Redis."""

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, from ``/proc/<pid>/stat`` (fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def waited_seconds(pid: int) -> float:
    """How long a process's main thread was runnable while others had its core (``schedstat``).

    The time of the process's other threads on that core, which JavaScript engines have, is
    subtracted.
    """
    ran, waited = Path(f"/proc/{pid}/schedstat").read_text().split()[:2]
    return int(waited) / 1e9 - (cpu_seconds(pid) - int(ran) / 1e9)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, from ``/proc/<pid>/statm``."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def peak_resident_bytes(pid: int) -> int:
    """The most memory that a process has had, from ``/proc/<pid>/status``."""
    _, _, rest = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")
    return int(rest.split()[0]) * 1024


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run this thread, and what it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CORES[core % len(CORES)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@attrs.frozen
class Server:
    """A running server process."""

    port: int
    pid: int


@contextmanager
def server(
    command: Sequence[str], redis_url: str, environment: Mapping[str, str], folder: Path = ROOT
) -> Iterator[Server]:
    """Start a server that listens on ``PORT``, and stop it afterwards."""
    port = free_port()
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={
            **os.environ,
            "PORT": str(port),
            "REDIS_URL": redis_url,
            "JWT_SECRET": SECRET,
            **environment,
        },
    )
    try:
        _wait_until_answering(process, port)
        yield Server(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_answering(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_TIMEOUT)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
            return
        except ConnectionError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise RuntimeError(f"{process.args!r} did not start")
