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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType

import attrs
import click
import structlog

from atriz_realtime.cli.serving import reaper
from atriz_realtime.cli.serving.embedded_valkey import EmbeddedValkey
from atriz_realtime.cli.serving.heartbeat import BEATS, READY, closes, has_beaten
from atriz_realtime.cli.serving.reports import connected
from atriz_realtime.cli.serving.uvicorn_server import RETIRE
from atriz_realtime.plugin_system.config import RealtimeConfig

READY_TIMEOUT = 30.0
"""Seconds within which a worker must be ready."""

STOP_TIMEOUT = 7.0
"""Seconds a worker has to exit after a signal: more than a server takes to close."""

RETIRE_TIMEOUT = 2.0
"""Seconds a worker has to stop accepting connections once its successor is ready."""

BACKOFF_FIRST = 0.5
BACKOFF_MOST = 10.0
"""Seconds before a dead process is restarted: the first, doubled each time up to the most."""

STEADY_SECONDS = 30.0
"""A process that ran for this long gets the first backoff again when it dies."""

logger = structlog.get_logger("atriz_realtime.serve")


@attrs.define(eq=False)
class _Restarted:
    """A process that is started again when it dies, after a delay that grows."""

    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    backoff: float = BACKOFF_FIRST
    due: float = 0.0
    """When to restart it, in seconds of the monotonic clock."""
    deaths: int = 0
    """How often it has died."""

    def reap(self) -> dict[str, object] | None:
        """If it has died, postpone its restart; returns what to log."""
        if self.process is None or (status := self.process.poll()) is None:
            return None
        if time.monotonic() - self.started > STEADY_SECONDS:
            self.backoff = BACKOFF_FIRST
        self.deaths += 1
        died: dict[str, object] = {"status": status, "again_in": self.backoff}
        self.postpone()
        return died

    def postpone(self) -> None:
        """Give up the process, which has exited, and set the time of its restart."""
        self.forget()
        self.due = time.monotonic() + self.backoff
        self.backoff = min(self.backoff * 2, BACKOFF_MOST)

    def forget(self) -> None:
        """Give up the process, which has exited."""
        self.process = None

    def is_due(self) -> bool:
        """Whether it is to be started now."""
        return self.process is None and self.due <= time.monotonic()


@attrs.define(eq=False, kw_only=True)
class _WorkerState(_Restarted):
    number: int
    accepting: int | None = None
    """The reading end of its :class:`Heartbeat`, which closes when it no longer accepts
    connections."""
    missed: int = 0
    """Heartbeats in a row that did not come."""
    hangs: int = 0
    """How often it was killed because they did not come."""

    def forget(self) -> None:
        """Close what belongs to the process, too."""
        self.process = None
        if self.accepting is not None:
            os.close(self.accepting)
            self.accepting = None


class Supervisor:
    """Runs workers on sockets that are bound already.

    :param url: the URL of the server, for the log.
    :param arguments: command-line arguments for the workers.
    :param config: without a ``redis_url``, a Valkey is started for them.
    """

    def __init__(
        self,
        count: int,
        sockets: Sequence[socket.socket],
        url: str,
        arguments: Sequence[str],
        config: RealtimeConfig,
    ) -> None:
        self._count = count
        self._cleaner = _Restarted()
        self._workers = [_WorkerState(number=number) for number in range(count)]
        self._sockets = sockets
        self._url = url
        self._arguments = arguments
        self._drain_delay = config.drain_delay
        self._timeout = config.worker_timeout
        self._next_beat = 0.0
        self._directory = Path(tempfile.mkdtemp(prefix="atriz-realtime-"))
        self._valkey = EmbeddedValkey(self._directory) if config.redis_url is None else None
        self._stop_signal: int | None = None
        self._restarting = False
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_out, False)
        # the pipe closes when this process ends, even when it is killed; the workers then stop
        self._alive_in, self._alive_out = os.pipe()
        # the workers hold this one open, too; it closes when the last process has ended
        self._ended_in, self._ended_out = os.pipe()

    def run(self) -> None:
        """Run until SIGINT or SIGTERM; SIGHUP replaces the workers.

        :raises click.ClickException: when a worker cannot start.
        """
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.signal(number, self._signalled) for number in signals}
        self._start_cleaner()
        try:
            if self._valkey is not None:
                self._valkey.start()
            for worker in self._workers:
                if not self._is_stopping() and not self._start(worker) and not self._is_stopping():
                    raise click.ClickException("a worker did not start; the line above says why")
            if not self._is_stopping():
                logger.info("workers ready", count=len(self._workers), url=self._url)
            while not self._is_stopping():
                self._wait()
                self._kill_hung()
                self._restart_dead()
        finally:
            self._stop_all()
            if self._valkey is not None:
                self._valkey.stop()
            shutil.rmtree(self._directory, ignore_errors=True)
            if self._cleaner.process is not None:
                self._cleaner.process.kill()
                self._cleaner.process.wait()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start_cleaner(self) -> None:
        self._cleaner.started = time.monotonic()
        self._cleaner.process = reaper.start(self._directory, self._alive_in, self._ended_in)

    def _signalled(self, number: int, _: FrameType | None) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            if self._stop_signal is not None:
                self._signal_all(signal.SIGINT)  # which cuts their drain delay short
            self._stop_signal = number
        elif number == signal.SIGHUP:
            self._restarting = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full, so a wake-up is pending
            os.write(self._wake_out, b".")

    def _wait(self) -> None:
        """Sleep until a signal arrives, a process is due to be restarted, or heartbeats are."""
        due = [each.due for each in (self._cleaner, *self._workers) if each.process is None]
        if self._timeout:
            due.append(self._next_beat)
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        if select.select([self._wake_in], [], [], timeout)[0]:
            os.read(self._wake_in, 4_096)

    def _kill_hung(self) -> None:
        """Kill workers of which no heartbeat has come for their timeout.

        It counts heartbeats that did not come, not the time: if the whole machine stood still, or
        this process did, the workers are not to blame.
        """
        if not self._timeout or time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + self._timeout / BEATS
        for worker in self._workers:
            if worker.process is None or worker.accepting is None:
                continue
            worker.missed = 0 if has_beaten(worker.accepting) else worker.missed + 1
            if worker.missed == BEATS + 1:  # the first may have been nearly in time
                worker.hangs += 1
                logger.error("worker hung, killing it", worker=worker.number, after=self._timeout)
                worker.process.kill()

    def _restart_dead(self) -> None:
        """Restart dead workers, Valkey and cleaner; after SIGHUP, replace every worker."""
        if (died := self._cleaner.reap()) is not None:
            logger.warning("the process that cleans up died, starting it again", **died)
        if self._cleaner.is_due():
            self._start_cleaner()
        if self._valkey is not None:
            self._valkey.keep_running()
        for worker in self._workers:
            if (died := worker.reap()) is not None:
                logger.warning("worker died", worker=worker.number, **died)
            if worker.is_due() and not self._is_stopping() and self._start(worker):
                logger.info("worker started again", worker=worker.number)
        if self._restarting:
            self._restarting = False
            self._restart()

    def _restart(self) -> None:
        """Replace the workers: start the new ones, then retire and stop the old ones.

        A client that an old worker sends away finds only new ones, and stays there.  If a new
        worker does not start, or has no Redis while old ones have, the old ones go on.
        """
        logger.info("restarting the workers")
        old = self._workers
        new = [_WorkerState(number=self._successor(worker)) for worker in old]
        self._workers = old + new
        for worker in new:
            if self._is_stopping():
                return
            if not self._start(worker):
                if self._is_stopping():
                    return
                self._give_up(old, new, worker.number, "it did not start")
                return
        without = self._without_redis(old, new)
        if without is not None:
            self._give_up(old, new, without, "it has no Redis, which the running workers have")
            return
        for worker in old:
            self._retire(worker)
        for worker in old:
            if self._is_stopping():
                return
            self._stop(worker)
            self._workers.remove(worker)
        logger.info("workers restarted", count=len(self._workers))

    def _give_up(
        self, old: list[_WorkerState], new: list[_WorkerState], number: int, reason: str
    ) -> None:
        """Stop the new workers, one of which cannot take an old one's place."""
        logger.error(
            "restart given up; the workers continue unchanged", worker=number, reason=reason
        )
        for each in new:
            self._stop(each)
        self._workers = old

    def _without_redis(
        self, old: Iterable[_WorkerState], new: Iterable[_WorkerState]
    ) -> int | None:
        """The number of a new worker whose backends are away, although those of an old one answer.

        A password that was changed in Redis alone does not close the connections of old workers.
        """
        before, now = (
            connected(self._directory, [each.number for each in workers]) for workers in (old, new)
        )
        without = [number for number, is_connected in now.items() if not is_connected]
        return without[0] if without and any(before.values()) else None

    def _successor(self, worker: _WorkerState) -> int:
        """The number of a worker's successor: in every second restart, the first ones return."""
        return (worker.number + self._count) % (2 * self._count)

    def _is_stopping(self) -> bool:
        return self._stop_signal is not None  # a signal handler may set it at any time

    def _start(self, worker: _WorkerState) -> bool:
        """Start a worker and wait until it is ready; returns whether it is.

        It is not when this process is told to stop meanwhile, which stops it with the others.
        """
        worker.accepting, accepting = os.pipe()
        command = [
            *(sys.executable, "-m", "atriz_realtime.cli.serving.worker_process"),
            *("--worker", str(worker.number)),
            *("--successor", str(self._successor(worker))),
            *("--count", str(self._count)),
            *("--deaths", str(worker.deaths)),
            *("--hangs", str(worker.hangs)),
            *("--directory", str(self._directory)),
            *("--accepting", str(accepting)),
            *("--alive", str(self._alive_in)),
            *(f"--socket={one.fileno()}" for one in self._sockets),
            *self._arguments,
        ]
        sockets = [one.fileno() for one in self._sockets]
        worker.started, worker.missed = time.monotonic(), 0
        worker.process = subprocess.Popen(  # noqa: S603  # our own program
            command,
            pass_fds=[accepting, self._alive_in, self._ended_out, *sockets],
            env=self._environment(),
        )
        os.close(accepting)
        is_ready = self._is_ready(worker.accepting, worker.started + READY_TIMEOUT)
        if not is_ready and not self._is_stopping():
            self._stop(worker)
            worker.postpone()
        return is_ready

    def _is_ready(self, accepting: int, deadline: float) -> bool:
        """Wait until a worker says so, has ended, is late, or is not needed any more."""
        try:
            while not self._is_stopping() and (left := deadline - time.monotonic()) > 0:
                readable = select.select([accepting, self._wake_in], [], [], left)[0]
                if accepting in readable:
                    return os.read(accepting, 1) == READY
                if readable:
                    os.read(self._wake_in, 4_096)
            return False
        finally:
            self._wake()  # what it read may be about another worker

    def _environment(self) -> Mapping[str, str]:
        if self._valkey is None:
            return os.environ
        return {**os.environ, "REDIS_URL": self._valkey.url}

    def _retire(self, worker: _WorkerState) -> None:
        """Have a worker leave what is new to the others; returns when it does."""
        if worker.process is None or worker.accepting is None:
            return
        worker.process.send_signal(RETIRE)
        closes(worker.accepting, RETIRE_TIMEOUT)

    def _stop_all(self) -> None:
        """Stop all workers at once, as this process was told to stop."""
        for listening in self._sockets:  # or connections would wait on them for nobody
            listening.close()
        number = signal.SIGINT if self._stop_signal is None else signal.Signals(self._stop_signal)
        self._signal_all(number)
        limit = STOP_TIMEOUT + (self._drain_delay if number == signal.SIGTERM else 0.0)
        deadline = time.monotonic() + limit
        for worker in self._workers:
            self._await_end(worker, deadline)

    def _signal_all(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.process is not None:
                worker.process.send_signal(number)

    def _stop(self, worker: _WorkerState) -> None:
        """Stop a worker without its drain delay, and wait until it has exited."""
        if worker.process is not None:
            worker.process.send_signal(signal.SIGINT)
            self._await_end(worker, time.monotonic() + STOP_TIMEOUT)

    def _await_end(self, worker: _WorkerState, deadline: float) -> None:
        """Wait until a worker has exited; kill it at a time of the monotonic clock."""
        if worker.process is None:
            return
        try:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.warning("worker killed", worker=worker.number)
            worker.process.kill()
            worker.process.wait()
        worker.forget()
