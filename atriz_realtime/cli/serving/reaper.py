"""Cleans up after a supervisor that was killed; it runs as a process of its own.

A supervisor that ends in order cleans up by itself, and ends this process.  This module imports
nothing but the standard library, so that the process needs little memory.
"""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import subprocess
import sys
from pathlib import Path

VALKEY_SOCKET = "valkey.sock"
"""The name of the private Valkey's socket."""

WORKERS_TIMEOUT = 10.0
"""Seconds that the workers of a killed parent have to end: more than they take."""

VALKEY_TIMEOUT = 5.0
"""Seconds that the private Valkey has to end after that."""


def start(directory: Path, alive: int, ended: int) -> subprocess.Popen[bytes]:
    """Start the process.

    :param directory: what to remove in the end, with the socket of the Valkey to shut down.
    :param alive: the reading end of a pipe that closes when the supervisor ends.
    :param ended: the reading end of a pipe that closes when the last worker has ended, too.
    """
    return subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-IS", __file__, str(directory), str(alive), str(ended)],
        pass_fds=[alive, ended],
        start_new_session=True,  # a Ctrl-C is not for it
    )


def clean_up(directory: Path, alive: int, ended: int) -> None:
    """Wait for the end of the supervisor and its workers, then remove what is left of them."""
    # nobody writes to the pipes.  They are not read: the workers have made one non-blocking
    select.select([alive], [], [])
    select.select([ended], [], [], WORKERS_TIMEOUT)
    with contextlib.suppress(OSError):  # there is no Valkey
        _shut_down(directory / VALKEY_SOCKET)
    shutil.rmtree(directory, ignore_errors=True)


def _shut_down(path: Path) -> None:
    """Shut a Valkey down, and wait until it has ended."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(VALKEY_TIMEOUT)
        connection.connect(str(path))
        connection.sendall(b"SHUTDOWN NOSAVE\r\n")
        while connection.recv(1_024):
            pass


if __name__ == "__main__":
    clean_up(Path(sys.argv[1]), *map(int, sys.argv[2:]))
