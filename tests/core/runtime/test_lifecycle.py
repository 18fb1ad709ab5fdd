"""Closing a server: each step is taken, whatever became of the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from atriz_realtime.api import ConfigurationError
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.lifecycle import Lifecycle, Step
from atriz_realtime.testing import FakeClock


async def test_steps_that_fail_are_reported_and_the_next_one_follows() -> None:
    reported: list[str] = []
    taken: list[str] = []

    class Recording(Incidents):
        def report(self, kind: str, message: str, **_: object) -> None:
            reported.append(f"{kind}: {message}")

    async def opened(_: AsyncExitStack) -> None:
        taken.append("open")

    async def lost() -> None:
        raise TimeoutError("no answer")

    async def last() -> None:
        taken.append("last")

    async def finish() -> None:
        taken.append("finish")

    steps: list[Step] = [
        ("untimed", lost, None),
        ("timed", lost, 1.0),
        ("slow", lambda: asyncio.sleep(10), 0.01),
        ("last", last, None),
    ]
    clock = FakeClock()
    lifecycle = Lifecycle(opened, lambda: steps, finish, clock, Recording(clock))
    await lifecycle.start()
    await lifecycle.close()
    assert taken == ["open", "last", "finish"]
    assert reported == [
        "close incomplete: untimed: TimeoutError: no answer",
        "close incomplete: timed: TimeoutError: no answer",
        "close incomplete: slow: not done within 0.01 s",
    ]


async def nothing(*_: object) -> None:
    """Open or close nothing."""


async def ready(lifecycle: Lifecycle) -> None:
    """Wait as a request does."""
    waiting = lifecycle.ready()
    if waiting is not None:
        await waiting


@pytest.mark.parametrize(
    "call",
    [Lifecycle.start, ready, Lifecycle.drain, Lifecycle.close],
    ids=["start", "ready", "drain", "close"],
)
def test_another_event_loop_is_refused_while_the_first_is_open(
    call: Callable[[Lifecycle], Awaitable[None]],
) -> None:
    async def refused() -> None:
        with pytest.raises(RuntimeError, match=r"from_thread\.run; otherwise make a new appl"):
            await call(lifecycle)

    clock = FakeClock()
    lifecycle = Lifecycle(nothing, list, nothing, clock, Incidents(clock))
    with asyncio.Runner() as other:
        with asyncio.Runner() as first:
            first.run(lifecycle.start())
            other.run(refused())
        other.run(lifecycle.start())  # the first is closed, as after each request of a test client
        other.run(lifecycle.close())

    async def starts() -> None:
        with pytest.raises(ConfigurationError, match="does not start again"):
            await lifecycle.start_for("this server")

    asyncio.run(starts())


@pytest.mark.parametrize("call", [Lifecycle.start, ready], ids=["start", "ready"])
def test_connections_end_with_their_event_loop(
    call: Callable[[Lifecycle], Awaitable[None]],
) -> None:
    """A fix would be taken, and reach no other server."""

    async def refused() -> None:
        with pytest.raises(RuntimeError, match="event loop that has ended"):
            await call(lifecycle)

    clock = FakeClock()
    lifecycle = Lifecycle(nothing, list, nothing, clock, Incidents(clock), "redis://127.0.0.1")
    asyncio.run(lifecycle.start())
    asyncio.run(refused())
    asyncio.run(lifecycle.close())


def test_a_start_whose_event_loop_has_ended_begins_anew() -> None:
    opened: list[str] = []

    async def endless(_: AsyncExitStack) -> None:
        opened.append("begun")
        if len(opened) == 1:
            await asyncio.Event().wait()

    clock = FakeClock()
    lifecycle = Lifecycle(endless, list, nothing, clock, Incidents(clock))

    async def leave() -> None:
        starting = asyncio.create_task(lifecycle.start())
        while not opened:
            await asyncio.sleep(0)
        starting.cancel()

    asyncio.run(leave())
    asyncio.run(lifecycle.start())
    assert opened == ["begun", "begun"]
