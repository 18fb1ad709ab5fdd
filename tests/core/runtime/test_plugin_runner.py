"""Plugins' coroutines within limits: exceptions, timeouts, and steps that block the loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from atriz_realtime.api import NotAuthorized, PluginError, PluginFailed
from atriz_realtime.core.runtime import plugin_runner as module
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.plugin_runner import (
    BLOCKING_SECONDS,
    PluginResources,
    PluginRunner,
)
from atriz_realtime.testing import FakeClock


@pytest.fixture
def plugin_runner(incidents: Incidents, clock: FakeClock) -> PluginRunner:
    return PluginRunner(incidents, clock, limit=5.0)


async def returning(value: Any, turns: int = 0) -> Any:
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


@pytest.mark.parametrize("turns", [0, 1, 5])
async def test_the_plugin_s_result_is_returned(plugin_runner: PluginRunner, turns: int) -> None:
    assert await plugin_runner.run("p", "what", returning("it", turns)) == "it"


async def test_any_awaitable_can_be_run(plugin_runner: PluginRunner) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, 1)
    assert await plugin_runner.run("p", "what", future) == 1
    assert await plugin_runner.run("p", "what", future) == 1
    assert await plugin_runner.run("p", "what", asyncio.ensure_future(returning(2, 1))) == 2


@pytest.mark.parametrize("turns", [0, 2])
async def test_a_refusal_is_raised_as_it_is(
    plugin_runner: PluginRunner, incidents: Incidents, turns: int
) -> None:
    async def refuse() -> None:
        await returning(None, turns)
        raise NotAuthorized("not you")

    with pytest.raises(NotAuthorized, match="not you"):
        await plugin_runner.run("p", "what", refuse())
    assert dict(incidents.counts) == {}


@pytest.mark.parametrize("turns", [0, 2])
@pytest.mark.parametrize(
    "error", [LookupError("a bug"), TimeoutError(), StopAsyncIteration(), SystemExit(3)]
)
async def test_any_other_exception_is_counted_under_the_plugin_s_name(
    plugin_runner: PluginRunner,
    incidents: Incidents,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
    turns: int,
) -> None:
    async def fail() -> None:
        await returning(None, turns)
        raise error

    with pytest.raises(PluginFailed) as failure:
        await plugin_runner.run("p", "filter 'x'", fail())
    assert failure.value.__cause__ is error
    assert "a bug" not in failure.value.message
    assert dict(incidents.counts) == {"plugin p failed": 1}
    assert caplog.messages == [f"plugin p failed: filter 'x': {type(error).__name__}: {error}"]
    assert "    raise error\n" in caplog.text, "there is no traceback"


async def test_a_call_that_takes_too_long_is_cancelled(
    plugin_runner: PluginRunner, incidents: Incidents
) -> None:
    cancelled: list[bool] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(PluginFailed):
        await plugin_runner.run("p", "what", hang(), limit=0.01)
    assert cancelled == [True]
    assert dict(incidents.counts) == {"plugin p timed out": 1}


async def test_cancelling_the_caller_cancels_the_plugin(
    plugin_runner: PluginRunner, incidents: Incidents
) -> None:
    running = asyncio.ensure_future(plugin_runner.run("p", "what", returning(None, 1_000)))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert dict(incidents.counts) == {}


async def test_a_plugin_s_own_cancellation_is_a_failure(
    plugin_runner: PluginRunner, incidents: Incidents
) -> None:
    async def await_a_cancelled_task() -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.cancel()
        await task

    with pytest.raises(PluginFailed):
        await plugin_runner.run("p", "what", await_a_cancelled_task())
    assert dict(incidents.counts) == {"plugin p failed": 1}


@pytest.mark.parametrize("turns", [0, 2])
async def test_a_step_that_blocks_the_loop_is_reported(
    plugin_runner: PluginRunner, incidents: Incidents, clock: FakeClock, turns: int
) -> None:
    async def block(seconds: float) -> None:
        await returning(None, turns)
        clock.advance(seconds)

    await plugin_runner.run("p", "what", block(BLOCKING_SECONDS - 0.01))
    assert dict(incidents.counts) == {}
    await plugin_runner.run("p", "what", block(BLOCKING_SECONDS + 0.01))
    assert dict(incidents.counts) == {"plugin p blocked the loop": 1}


async def test_waiting_is_not_blocking(
    plugin_runner: PluginRunner, incidents: Incidents, clock: FakeClock
) -> None:
    async def wait() -> None:
        asyncio.get_running_loop().call_soon(clock.advance, 60)
        await returning(None, 3)

    await plugin_runner.run("p", "what", wait())
    assert dict(incidents.counts) == {}


# -- on nobody's behalf --------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [LookupError("a bug"), NotAuthorized("not you"), SystemExit(3), TimeoutError()]
)
@pytest.mark.parametrize("turns", [0, 2])
async def test_whatever_an_attempt_raises_is_counted(
    plugin_runner: PluginRunner, incidents: Incidents, error: BaseException, turns: int
) -> None:
    async def fail(given: int) -> None:
        await returning(None, turns)
        assert given == 1
        raise error

    await plugin_runner.attempt("p", "what", fail, 1)
    assert dict(incidents.counts) == {"plugin p failed": 1}


async def test_an_attempt_with_a_plain_function_is_counted(
    plugin_runner: PluginRunner, incidents: Incidents
) -> None:
    def plain() -> Any:
        raise LookupError("before there is a coroutine")

    await plugin_runner.attempt("p", "what", plain)
    assert dict(incidents.counts) == {"plugin p failed": 1}


async def test_an_attempt_that_is_cancelled_is_no_failure(
    plugin_runner: PluginRunner, incidents: Incidents
) -> None:
    hanging = plugin_runner.attempt("p", "what", asyncio.Event().wait)
    task = asyncio.create_task(hanging)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert dict(incidents.counts) == {}


class Opened:
    """What a plugin opened: it records how it is closed."""

    def __init__(self, log: list[str], name: str, failure: Exception | None = None) -> None:
        self.log, self.name, self.failure = log, name, failure

    async def aclose(self) -> None:
        self.log.append(self.name)
        if self.name == "hanging":
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure


async def test_what_plugins_opened_is_closed_in_reverse_order_whatever_fails(
    plugin_runner: PluginRunner, incidents: Incidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_LIMIT", 0.01)
    log: list[str] = []
    opened = PluginResources(plugin_runner)
    opened.add("first", Opened(log, "first"))
    opened.add("second", Opened(log, "second", LookupError("no disk")))
    opened.add("third", Opened(log, "hanging"))
    await opened.aclose()
    await opened.aclose()
    assert log == ["hanging", "second", "first"]
    assert dict(incidents.counts) == {"plugin third timed out": 1, "plugin second failed": 1}


async def test_the_names_of_failed_tasks_are_bounded(
    plugin_runner: PluginRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise LookupError

    monkeypatch.setattr(module, "MAX_FAILED_TASKS", 2)
    opened = PluginResources(plugin_runner)
    for name in ("v1", "v2", "v3", "v4"):
        await opened.create_task("p", fail(), name=name)
    assert [each["task"] for each in opened.failed_tasks()] == ["v1", "v2", "other"]


async def started() -> Any:
    yield


@pytest.mark.parametrize("opened", [1, "text", started()], ids=["int", "str", "generator"])
async def test_what_cannot_be_closed_is_refused(plugin_runner: PluginRunner, opened: Any) -> None:
    with pytest.raises(PluginError, match="server_started must return None or an object with"):
        PluginResources(plugin_runner).add("shop", opened)
