"""Deadlines with one timer: who is told of, and who is not."""

from __future__ import annotations

import asyncio

from atriz_realtime.engine.deadlines import Deadlines
from atriz_realtime.testing import TIMEOUT


class Watched:
    """Deadlines, and who was overdue."""

    def __init__(self, timeout: float) -> None:
        self.overdue: list[str] = []
        self.told = asyncio.Event()
        self.deadlines = Deadlines[str](timeout, self._over)

    def _over(self, who: str) -> None:
        self.overdue.append(who)
        self.told.set()

    async def next(self) -> None:
        """Wait until somebody is overdue."""
        async with asyncio.timeout(TIMEOUT):
            await self.told.wait()
        self.told.clear()


async def test_who_does_not_end_in_time_is_overdue() -> None:
    watched = Watched(0.01)
    for who in ("a", "b", "c"):
        watched.deadlines.begin(who)
    watched.deadlines.end("b")
    watched.deadlines.end("nobody")
    await watched.next()
    assert watched.overdue == ["a", "c"]


async def test_each_has_its_own_time() -> None:
    watched = Watched(0.05)
    watched.deadlines.begin("a")
    await asyncio.sleep(0.02)
    watched.deadlines.begin("b")
    await watched.next()
    assert watched.overdue == ["a"]
    await watched.next()
    assert watched.overdue == ["a", "b"]
    watched.deadlines.begin("a")  # once more, after nobody was waited for
    await watched.next()
    assert watched.overdue == ["a", "b", "a"]


async def test_time_that_runs_goes_on() -> None:
    watched = Watched(0.01)
    watched.deadlines.begin("a")
    watched.deadlines.begin("a")
    watched.deadlines.end("a")
    watched.deadlines.begin("b")
    await watched.next()
    assert watched.overdue == ["b"]


async def test_who_is_told_of_may_end_others() -> None:
    overdue: list[str] = []

    def over(who: str) -> None:
        overdue.append(who)
        deadlines.end("b")
        deadlines.begin("c")
        if who == "c":
            done.set()

    done = asyncio.Event()
    deadlines = Deadlines[str](0.01, over)
    deadlines.begin("a")
    deadlines.begin("b")
    async with asyncio.timeout(TIMEOUT):
        await done.wait()
    assert overdue[:2] == ["a", "c"]
    deadlines.end("c")


async def test_without_a_limit_nobody_is() -> None:
    watched, others = Watched(0), Watched(0.01)
    watched.deadlines.begin("a")
    others.deadlines.begin("a")
    await others.next()
    assert watched.overdue == []
