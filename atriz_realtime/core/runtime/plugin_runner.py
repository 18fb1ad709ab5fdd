"""Plugins' coroutines, run so that none can hurt more than itself.

What a plugin raises or how long it takes is its own affair up to a limit; beyond, the
call fails, the failure is counted under the plugin's name and logged once a burst.  A
step that keeps the event loop from everybody else cannot be interrupted, but it is
seen and named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from atriz_realtime.api.contracts import Clock
from atriz_realtime.api.errors import PluginFailed, RealtimeError
from atriz_realtime.core.runtime.eager import EagerCoroutine, Outside
from atriz_realtime.core.runtime.incidents import Incidents

T = TypeVar("T")

BLOCKING_SECONDS = 0.1
"""A step that takes longer than this without awaiting blocks the loop."""


class PluginRunner:
    """Runs plugins' coroutines within limits.

    :param limit: seconds that one call may take, unless it says otherwise.
    """

    def __init__(self, incidents: Incidents, clock: Clock, limit: float) -> None:
        self._incidents = incidents
        self._now = clock.monotonic
        self._limit = limit

    def call(self, plugin: str, what: str, function: Callable[..., T], *arguments: Any) -> T:
        """Call a plugin's plain function.

        :param what: what the plugin was asked for, for the log.
        :raises RealtimeError: as the plugin raised it, to refuse on purpose.
        :raises PluginFailed: when it raised anything else.
        """
        began = self._now()
        try:
            return function(*arguments)
        except RealtimeError:
            raise
        except (Exception, SystemExit) as error:
            self._failed(plugin, what, error)
            raise PluginFailed from error
        finally:
            self._watch(plugin, what, self._now() - began)

    async def run(
        self, plugin: str, what: str, work: Awaitable[T], limit: float | None = None
    ) -> T:
        """Await a plugin's work.

        :param what: what the plugin was asked for, for the log.
        :raises RealtimeError: as the plugin raised it, to refuse on purpose.
        :raises PluginFailed: when it raised anything else, or took too long.
        """
        if Outside.now:  # the work, and the timer, count on being in a task
            return await asyncio.ensure_future(self.run(plugin, what, work, limit))
        generator = work.__await__()
        began = self._now()
        try:
            waits_for = generator.send(None)
        except StopIteration as end:  # the usual case: it need not wait, and no timer is needed
            result: T = end.value
            return result
        except RealtimeError:
            raise
        except (Exception, asyncio.CancelledError, SystemExit) as error:  # sys.exit() is a bug here
            self._failed(plugin, what, error)
            raise PluginFailed from error
        finally:
            self._watch(plugin, what, self._now() - began)
        return await self._rest(plugin, what, _Steps(generator, waits_for, self._now), limit)

    async def _rest(self, plugin: str, what: str, steps: _Steps[T], limit: float | None) -> T:
        """Await what is left of a plugin's work."""
        timer = asyncio.timeout(self._limit if limit is None else limit)
        try:
            async with timer:
                return await steps
        except RealtimeError:
            raise
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            if _is_cancelled(error):
                raise
            if timer.expired():
                self._incidents.report(f"plugin {plugin} timed out", what)
            else:
                self._failed(plugin, what, error)
            raise PluginFailed from error
        finally:
            self._watch(plugin, what, steps.longest)

    def _failed(self, plugin: str, what: str, error: BaseException) -> None:
        self._incidents.report(
            f"plugin {plugin} failed", f"{what}: {type(error).__name__}: {error}"
        )

    def _watch(self, plugin: str, what: str, seconds: float) -> None:
        """Tell of a step that kept the loop from everybody else."""
        if seconds > BLOCKING_SECONDS:
            self._incidents.report(
                f"plugin {plugin} blocked the loop", f"{what}: for {seconds * 1000:.0f} ms"
            )


def _is_cancelled(error: BaseException) -> bool:
    """Whether this task is being cancelled, rather than one that the plugin awaited."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


class _Steps(EagerCoroutine[T]):
    """What is left of a plugin's work after its first step; the others are timed."""

    def __init__(
        self, steps: Generator[Any, Any, T], waits_for: Any, now: Callable[[], float]
    ) -> None:
        super().__init__(steps, waits_for)
        self._now = now
        self.longest = 0.0

    def _step(self, sent: Any, thrown: BaseException | None) -> Any:
        began = self._now()
        try:
            return super()._step(sent, thrown)
        finally:
            self.longest = max(self.longest, self._now() - began)
