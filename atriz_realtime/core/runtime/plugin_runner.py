"""Runs plugins' code within limits, so that a plugin that fails harms only its own caller.

A call that raises or takes too long fails; the failure is counted under the plugin's name.
A step that blocks the event loop cannot be interrupted, but it is measured and reported.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

from atriz_realtime.api.contracts import Clock, Closeable
from atriz_realtime.api.errors import PluginError, PluginFailed, RealtimeError
from atriz_realtime.core.runtime import cancellation
from atriz_realtime.core.runtime.eager import EagerCoroutine, this_thread
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.plugin_system.signatures import full_name

T = TypeVar("T")

CLOSE_LIMIT = 1.0
"""Seconds that closing one thing of a plugin may take: an observer, or what ``server_started``
returned; and all background tasks together, to end when they are cancelled."""

MAX_FAILED_TASKS = 100
"""Failed background tasks that are told apart by plugin and name; any further one counts as
``other`` of its plugin."""

BLOCKING_SECONDS = 0.1
"""A step that takes longer than this without awaiting is reported as blocking the loop."""


class PluginRunner:
    """Runs plugins' functions and coroutines.

    :param limit: seconds that a coroutine may take, unless the call sets its own limit.
    """

    def __init__(self, incidents: Incidents, clock: Clock, limit: float) -> None:
        self._incidents = incidents
        self._now = clock.monotonic
        self._limit = limit

    def call(self, plugin: str, what: str, function: Callable[..., T], *arguments: Any) -> T:
        """Call a plugin's plain function.

        :param what: what the plugin is asked for, for the log.
        :raises RealtimeError: as the plugin raises it, to refuse on purpose.
        :raises PluginFailed: when the plugin raises anything else.
        """
        started = self._now()
        try:
            return function(*arguments)
        except RealtimeError:
            raise
        except (Exception, SystemExit) as error:
            self._failed(plugin, what, error)
            raise PluginFailed from error
        finally:
            self._check_blocking(plugin, what, self._now() - started)

    async def run(
        self, plugin: str, what: str, work: Awaitable[T], limit: float | None = None
    ) -> T:
        """Await a plugin's coroutine, or anything else that can be awaited.

        :param what: what the plugin is asked for, for the log.
        :raises RealtimeError: as the plugin raises it, to refuse on purpose.
        :raises PluginFailed: when the plugin raises anything else, or takes too long.
        """
        if this_thread.in_eager_step:  # the plugin, and the timeout, need a task of their own
            return await asyncio.ensure_future(self.run(plugin, what, work, limit))
        steps = work.__await__()
        started = self._now()
        try:
            waits_for = steps.send(None)
        except StopIteration as end:  # most calls do not wait, and need no timeout
            result: T = end.value
            return result
        except RealtimeError:
            raise
        except (Exception, asyncio.CancelledError, SystemExit) as error:  # sys.exit() is a bug here
            self._failed(plugin, what, error)
            raise PluginFailed from error
        finally:
            self._check_blocking(plugin, what, self._now() - started)
        return await self._finish(plugin, what, _TimedSteps(steps, waits_for, self._now), limit)

    def wrong_answer(self, plugin: str, what: str, expected: str, answer: object) -> PluginFailed:
        """Count an answer of the wrong type; returns the error to raise.

        :param what: what the plugin was asked for, for the log.
        """
        if inspect.iscoroutine(answer):
            answer.close()  # nobody will await it
        how = f"it must return {expected}, not {type(answer).__name__}"
        self._incidents.plugin_problem(plugin, "failed", what, how)
        return PluginFailed()

    def decision(self, plugin: str, what: str, answer: object) -> bool:
        """The answer of a plugin that decides something.

        :raises PluginFailed: when it is neither ``True`` nor ``False``; see :meth:`wrong_answer`.
        """
        if answer is not True and answer is not False:
            raise self.wrong_answer(plugin, what, "True or False", answer)
        return answer

    async def attempt(
        self,
        plugin: str,
        what: str,
        function: Callable[..., Awaitable[object]],
        *arguments: Any,
        limit: float | None = None,
    ) -> None:
        """Call a plugin's coroutine function on nobody's behalf: all that it raises is a failure.

        :param what: what the plugin is asked for, for the log.
        """
        try:
            await self.run(plugin, what, function(*arguments), limit)
        except PluginFailed:
            pass  # it has been counted
        except (Exception, SystemExit) as error:
            self._failed(plugin, what, error)

    async def supervise(
        self, plugin: str, what: str, work: Awaitable[object]
    ) -> BaseException | None:
        """Await a plugin's background task, for as long as it runs: what it raises is a failure.

        :param what: what the task is, for the log.
        :returns: the exception that it has ended with.
        """
        try:
            await work
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            if cancellation.is_own(error):
                raise
            self._failed(plugin, f"{what} has ended", error)
            return error
        return None

    def timed_out(self, plugin: str, what: str) -> None:
        """Count that a plugin took too long."""
        self._incidents.plugin_problem(plugin, "timed out", what)

    async def _finish(self, plugin: str, what: str, rest: _TimedSteps[T], limit: float | None) -> T:
        """Await the rest of a plugin's work, for as long as it may take."""
        timeout = asyncio.timeout(self._limit if limit is None else limit)
        try:
            async with timeout:
                return await rest
        except RealtimeError:
            raise
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            if cancellation.is_own(error):
                raise
            if timeout.expired():
                self.timed_out(plugin, what)
            else:
                self._failed(plugin, what, error)
            raise PluginFailed from error
        finally:
            self._check_blocking(plugin, what, rest.longest)

    def _failed(self, plugin: str, what: str, error: BaseException) -> None:
        self._incidents.plugin_problem(plugin, "failed", what, error=error)

    def _check_blocking(self, plugin: str, what: str, seconds: float) -> None:
        if seconds > BLOCKING_SECONDS:
            self._incidents.plugin_problem(
                plugin, "blocked the loop", what, f"for {seconds * 1000:.0f} ms"
            )


def awaiting(function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """A plugin's function that is to be awaited, so that each of its failures happens in there.

    A coroutine function is returned as it is; the registry has checked that it takes the
    arguments.  A plain one may return anything that can be awaited.
    """
    if inspect.iscoroutinefunction(function):
        return function

    @functools.wraps(function)
    async def call(*arguments: Any) -> T:
        answer: object = function(*arguments)
        if not inspect.isawaitable(answer):
            kind = type(answer).__name__
            raise TypeError(f"it must be an `async def`, or return an awaitable, not {kind}")
        result: T = await answer
        return result

    return call


class PluginResources:
    """What plugins opened when the server started, and their tasks, to be closed when it stops."""

    def __init__(self, plugin_runner: PluginRunner) -> None:
        self._plugin_runner = plugin_runner
        self._opened: list[tuple[str, Closeable]] = []
        self._tasks: dict[asyncio.Task[None], tuple[str, str]] = {}
        self._failed: dict[tuple[str, str], str] = {}  # by plugin and name: the exception's class
        self._is_closed = False

    def create_task(
        self, plugin: str, work: Coroutine[Any, Any, object], /, *, name: str
    ) -> asyncio.Task[None]:
        """Start a background task of a plugin.

        :raises TypeError: when ``work`` is no coroutine, such as the function that makes one.
        :raises RuntimeError: when no event loop runs, or the tasks have been cancelled.
        """
        if not inspect.iscoroutine(work):
            given = full_name(work) if callable(work) else type(work).__name__
            hint = "; call it" if inspect.iscoroutinefunction(work) else ""
            raise TypeError(
                f"plugin {plugin!r}: the task {name!r} must be a coroutine, not {given}{hint}"
            )
        try:
            if self._is_closed:
                raise RuntimeError(f"the server has stopped, and starts no task {name!r}")
            loop = asyncio.get_running_loop()
        except RuntimeError:
            work.close()  # nobody will await it
            raise
        what = f"task {name!r}"
        task = loop.create_task(self._supervised(plugin, what, name, work), name=name)
        self._failed.pop((plugin, name), None)
        self._tasks[task] = (plugin, what)
        task.add_done_callback(self._tasks.pop)
        task.add_done_callback(lambda _: work.close())  # it may not have begun
        return task

    async def _supervised(self, plugin: str, what: str, name: str, work: Awaitable[object]) -> None:
        error = await self._plugin_runner.supervise(plugin, what, work)
        if error is not None:
            if (plugin, name) not in self._failed and len(self._failed) >= MAX_FAILED_TASKS:
                name = "other"  # names with ids in them have no end
            self._failed[plugin, name] = type(error).__name__

    def failed_tasks(self) -> list[dict[str, str]]:
        """The tasks that have ended with an exception, unless one of that name was started since.

        Each is a ``plugin``, a ``task``'s name and an ``error``, the exception's class: its text
        may hold what only the log may.
        """
        return [
            {"plugin": plugin, "task": name, "error": error}
            for (plugin, name), error in self._failed.items()
        ]

    def add(self, plugin: str, opened: object) -> None:
        """Take what ``server_started`` returned.

        :raises PluginError: when it cannot be closed.
        """
        if not isinstance(opened, Closeable) or inspect.isasyncgen(opened):
            raise PluginError(
                f"plugin {plugin!r}: server_started must return None or an object with aclose, "
                f"not {type(opened).__name__}"
            )
        self._opened.append((plugin, opened))

    async def aclose(self) -> None:
        """Close everything, the last first; what fails is counted, and the next one follows.

        The tasks end before that: they may use what is closed.
        """
        if not self._is_closed:
            self._is_closed = True
            await self._cancel_tasks()
        while self._opened:
            plugin, opened = self._opened.pop()
            what = "closing what server_started returned"
            await self._plugin_runner.attempt(plugin, what, opened.aclose, limit=CLOSE_LIMIT)

    async def _cancel_tasks(self) -> None:
        tasks = dict(self._tasks)
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        _, unfinished = await asyncio.wait(tasks, timeout=CLOSE_LIMIT)
        for task in unfinished:
            plugin, what = tasks[task]
            self._plugin_runner.timed_out(plugin, f"stopping {what}")


class _TimedSteps(EagerCoroutine[T]):
    """The rest of a plugin's work after its first step; measures its longest step."""

    def __init__(
        self, steps: Generator[Any, Any, T], waits_for: Any, now: Callable[[], float]
    ) -> None:
        super().__init__(steps, waits_for)
        self._now = now
        self.longest = 0.0

    def _step(self, sent: Any, thrown: BaseException | None) -> Any:
        started = self._now()
        try:
            return super()._step(sent, thrown)
        finally:
            self.longest = max(self.longest, self._now() - started)
