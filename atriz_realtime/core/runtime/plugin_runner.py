"""Runs plugins' code within limits, so that a plugin that fails harms only its own caller.

A call that raises or takes too long fails; the failure is counted under the plugin's name.
A step that blocks the event loop cannot be interrupted, but it is measured and reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import PluginFailed, RealtimeError
from atriz_realtime.core.runtime import cancellation
from atriz_realtime.core.runtime.eager import EagerCoroutine, this_thread
from atriz_realtime.core.runtime.incidents import Incidents

T = TypeVar("T")

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
                self._incidents.plugin_problem(plugin, "timed out", what)
            else:
                self._failed(plugin, what, error)
            raise PluginFailed from error
        finally:
            self._check_blocking(plugin, what, rest.longest)

    def _failed(self, plugin: str, what: str, error: BaseException) -> None:
        self._incidents.plugin_problem(plugin, "failed", f"{what}: {type(error).__name__}: {error}")

    def _check_blocking(self, plugin: str, what: str, seconds: float) -> None:
        if seconds > BLOCKING_SECONDS:
            self._incidents.plugin_problem(
                plugin, "blocked the loop", f"{what}: for {seconds * 1000:.0f} ms"
            )


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
