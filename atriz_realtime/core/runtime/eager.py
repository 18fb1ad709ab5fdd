"""Coroutines that take their first step at once, without a task.

Most of them finish in that step, and need no task at all.  A task of asyncio's own can
start eagerly only from Python 3.12 on.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _Thread(threading.local):
    in_eager_step = False


this_thread = _Thread()
"""``in_eager_step`` is true while the thread takes a coroutine's first step.

The current task, if there is one, is then not the task that runs the rest of the coroutine.
The flag belongs to a thread because each thread runs one event loop at a time.
"""


class EagerCoroutine(Generic[T]):
    """The rest of an awaitable that has taken its first step.

    :param steps: the awaitable's iterator.
    :param waits_for: what the first step yielded.
    """

    def __init__(self, steps: Generator[Any, Any, T], waits_for: Any) -> None:
        self._steps = steps
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, T]:
        waits_for = self._waits_for
        while True:
            sent: Any = None
            thrown: BaseException | None = None
            try:
                sent = yield waits_for
            except BaseException as error:  # cancellation too is the awaitable's to handle
                thrown = error
            try:
                waits_for = self._step(sent, thrown)
            except StopIteration as end:
                result: T = end.value
                return result

    def _step(self, sent: Any, thrown: BaseException | None) -> Any:
        """Take one more step; returns what it yields."""
        return self._steps.send(sent) if thrown is None else self._steps.throw(thrown)


def run_eagerly(coroutine: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
    """Run a coroutine up to its first wait; returns the rest, or ``None`` when it is done.

    Whoever gets the rest must await it.  Code that relies on :func:`asyncio.current_task`,
    as timeouts and task groups do, must not run in the first step:
    :class:`~atriz_realtime.core.runtime.plugin_runner.PluginRunner` gives plugins a task.
    """
    this_thread.in_eager_step = True
    try:
        waits_for = coroutine.send(None)
    except StopIteration:
        return None
    finally:
        this_thread.in_eager_step = False
    return EagerCoroutine(coroutine.__await__(), waits_for)
