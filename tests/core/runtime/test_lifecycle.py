"""Closing a server: each step is taken, whatever became of the one before."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

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
