"""Coroutines that take their first step without a task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from atriz_realtime.core.runtime.eager import run_eagerly, this_thread
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.testing import FakeClock


async def test_a_coroutine_that_does_not_wait_is_done_at_once() -> None:
    steps: list[bool] = []

    async def work() -> None:
        steps.append(this_thread.in_eager_step)

    assert run_eagerly(work()) is None
    assert steps == [True]
    assert not this_thread.in_eager_step


async def test_the_rest_runs_when_it_is_awaited() -> None:
    steps: list[bool] = []

    async def work() -> None:
        for _ in range(3):
            steps.append(this_thread.in_eager_step)
            await asyncio.sleep(0)

    rest = run_eagerly(work())
    assert rest is not None
    assert steps == [True]
    await rest
    assert steps == [True, False, False]


async def test_an_error_in_the_first_step_is_raised_at_once() -> None:
    async def work() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        run_eagerly(work())
    assert not this_thread.in_eager_step


async def test_cancelling_reaches_the_coroutine() -> None:
    cancelled: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def finish(rest: Awaitable[None]) -> None:
        await rest

    rest = run_eagerly(work())
    assert rest is not None
    task = asyncio.ensure_future(finish(rest))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled == [True]


async def test_a_plugin_s_first_step_has_a_task_of_its_own(
    incidents: Incidents, clock: FakeClock
) -> None:
    runner, tasks = PluginRunner(incidents, clock, limit=5), [asyncio.current_task()]

    async def plugin() -> None:
        tasks.append(asyncio.current_task())
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        tasks.append(asyncio.current_task())

    rest = run_eagerly(runner.run("p", "what", plugin()))
    assert rest is not None
    await rest
    caller, first, last = tasks
    assert first is last
    assert None not in tasks
    assert first is not caller
