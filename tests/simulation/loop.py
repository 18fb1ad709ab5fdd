"""An event loop with virtual time, and processes on it that can be killed.

When nothing is ready, time jumps to the next timer.  Each callback belongs to the process
whose context it was scheduled in; after :meth:`VirtualLoop.kill` none of a process's
callbacks runs any more, no ``finally`` included, as after SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import itertools
import logging
import sys
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_769_860_800.0
"""What the wall clock shows when the loop's time is 0: 2026-01-31T12:00:00Z."""

TICK = 1e-6
"""Seconds between two things that must happen one after the other: equal timers have no order."""


class Process:
    """A simulated operating-system process.

    :param skew: seconds that its wall clock is ahead of the true time.
    """

    def __init__(self, name: str, skew: float = 0.0) -> None:
        self.name = name
        self.skew = skew
        self.alive = True
        self.context = contextvars.copy_context()
        self.context.run(_process.set, self)


_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)

HARNESS = contextvars.copy_context()
"""The context of what no process does: clients, the network, Redis."""


def current_process() -> Process | None:
    """The process whose code runs now; ``None``: the simulation itself."""
    return _process.get()


class Deadlock(Exception):
    """Nothing is ready and no timer is set, but the main coroutine has not ended."""


class _Idle:
    """Stands for the selector: waiting is a jump of the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock
        if timeout > 0:
            self._loop.jump()
        return []

    def close(self) -> None:
        """Nothing is open."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in a deterministic order; never waits."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = _Idle(self)
        self._serials = itertools.count()
        self._tasks: list[asyncio.Task[Any]] = []
        """All there were: what a killed process left must not be finalized by who survives it."""
        factory: Any = self._make_task
        self.set_task_factory(factory)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def wall(self) -> float:
        """Seconds since the epoch on the clock of the process that asks."""
        process = _process.get()
        return EPOCH + self._now + (0.0 if process is None else process.skew)

    def jump(self) -> None:
        """Go to the next timer."""
        self._now = max(self._now, self._scheduled[0]._when)  # type: ignore[attr-defined]

    def kill(self, process: Process) -> None:
        """End a process between two of its steps."""
        process.alive = False
        ready: list[asyncio.Handle] = list(self._ready)  # type: ignore[attr-defined]
        timers: list[asyncio.Handle] = list(self._scheduled)  # type: ignore[attr-defined]
        for handle in (*ready, *timers):
            if not _runs(handle._context):  # type: ignore[attr-defined]
                handle.cancel()

    def bury(self) -> None:
        """Drop what killed processes left, and what their coroutines say about it."""
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            logging.disable(logging.CRITICAL)
            warnings.simplefilter("ignore", RuntimeWarning)  # coroutines that never began
            self.set_exception_handler(lambda *_: None)
            self._tasks.clear()
            self._ready.clear()  # type: ignore[attr-defined]
            self._scheduled.clear()  # type: ignore[attr-defined]
            gc.collect()
        finally:
            sys.unraisablehook = hook
            logging.disable(logging.NOTSET)

    def timers(self) -> list[str]:
        """The timers that are set, for whoever wonders why something is not idle."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return [repr(handle) for handle in scheduled if not handle.cancelled()]

    def spawn(self, process: Process, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a coroutine in a process."""
        return self.create_task(work, context=process.context.copy())

    # -- asyncio's own ---------------------------------------------------------------------

    def call_soon(  # type: ignore[override]  # the stub has a type variable tuple
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = super().call_soon(callback, *args, context=context)
        if not _runs(handle._context):  # type: ignore[attr-defined]
            handle.cancel()
        return handle

    def call_at(  # type: ignore[override]  # the stub has a type variable tuple
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        if not _runs(handle._context):  # type: ignore[attr-defined]
            handle.cancel()
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(next(self._serials), self)

    def _make_task(
        self, _: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        task = _Task(next(self._serials), work, self, **options)
        self._tasks.append(task)
        return task

    def _process_events(self, _: object) -> None:
        """There are no files."""

    def _write_to_self(self) -> None:
        """There are no threads."""


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address."""

    def __init__(
        self,
        serial: int,
        work: Coroutine[Any, Any, Any],
        loop: asyncio.AbstractEventLoop,
        **options: Any,
    ) -> None:
        self._serial = serial
        context = options.get("context")
        self.process = _process.get() if context is None else context.get(_process)
        super().__init__(work, loop=loop, **options)
        self._log_destroy_pending = False  # a killed process leaves tasks behind

    def __hash__(self) -> int:
        return self._serial


class _Future(asyncio.Future[Any]):
    """Likewise a future."""

    def __init__(self, serial: int, loop: asyncio.AbstractEventLoop) -> None:
        self._serial = serial
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._serial


def _runs(context: contextvars.Context) -> bool:
    process = context.get(_process)
    return process is None or process.alive
