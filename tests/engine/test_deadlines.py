"""Deadlines with one timer: which items expire, and which do not."""

from __future__ import annotations

import asyncio

import pytest

from atriz_realtime.engine.deadlines import Deadlines
from atriz_realtime.testing import TIMEOUT


class Watched:
    """Deadlines, and the items that were overdue."""

    def __init__(self, timeout: float) -> None:
        self.overdue: list[str] = []
        self.due = 0.0
        self.called = asyncio.Event()
        self.deadlines = Deadlines[str](timeout, self._expired)

    def _expired(self, item: str, due: float) -> None:
        self.overdue.append(item)
        self.due = due
        self.called.set()

    async def next(self) -> None:
        """Wait until an item is overdue."""
        async with asyncio.timeout(TIMEOUT):
            await self.called.wait()
        self.called.clear()


async def test_an_item_that_is_not_ended_in_time_is_overdue() -> None:
    watched = Watched(0.01)
    for item in ("a", "b", "c"):
        watched.deadlines.begin(item)
    watched.deadlines.end("b")
    watched.deadlines.end("unknown")
    await watched.next()
    assert watched.overdue == ["a", "c"]


async def test_each_item_has_its_own_deadline() -> None:
    watched = Watched(0.05)
    watched.deadlines.begin("a")
    await asyncio.sleep(0.02)
    watched.deadlines.begin("b")
    await watched.next()
    assert watched.overdue == ["a"]
    await watched.next()
    assert watched.overdue == ["a", "b"]
    watched.deadlines.begin("a")  # the timer has stopped in between
    await watched.next()
    assert watched.overdue == ["a", "b", "a"]


async def test_beginning_twice_does_not_move_a_deadline() -> None:
    watched = Watched(0.01)
    watched.deadlines.begin("a")
    watched.deadlines.begin("a")
    watched.deadlines.end("a")
    watched.deadlines.begin("b")
    await watched.next()
    assert watched.overdue == ["b"]


async def test_the_callback_may_begin_and_end_deadlines() -> None:
    overdue: list[str] = []

    def expired(item: str, _: float) -> None:
        overdue.append(item)
        deadlines.end("b")
        deadlines.begin("c")
        if item == "c":
            done.set()

    done = asyncio.Event()
    deadlines = Deadlines[str](0.01, expired)
    deadlines.begin("a")
    deadlines.begin("b")
    async with asyncio.timeout(TIMEOUT):
        await done.wait()
    assert overdue[:2] == ["a", "c"]
    deadlines.end("c")


async def test_the_time_of_an_item_may_have_begun_before() -> None:
    watched = Watched(10.0)
    loop = asyncio.get_running_loop()
    began = loop.time() - 4.0
    watched.deadlines.begin("a", began)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(loop, "time", lambda: began + 10.0)
        watched.deadlines.check("a")
    assert (watched.overdue, watched.due) == (["a"], began + 10.0)
    watched.deadlines.close()


async def test_half_of_the_timeout_remains() -> None:
    """A process that was suspended does not lose all its clients."""
    watched = Watched(10.0)
    loop = asyncio.get_running_loop()
    now = loop.time()
    watched.deadlines.begin("a", now - 60.0)
    for waited, overdue in ((4.9, []), (5.1, ["a"])):
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(loop, "time", lambda: now + waited)  # noqa: B023
            watched.deadlines.check("a")
        assert watched.overdue == overdue
    watched.deadlines.close()


async def test_a_timeout_of_zero_is_no_limit() -> None:
    watched, others = Watched(0), Watched(0.01)
    watched.deadlines.begin("a")
    others.deadlines.begin("a")
    await others.next()
    assert watched.overdue == []


async def test_nothing_begins_after_the_close() -> None:
    watched = Watched(0.01)
    watched.deadlines.begin("a")
    watched.deadlines.close()
    watched.deadlines.begin("b")
    assert [watched.deadlines.end(item) for item in ("a", "b")] == [False, False]
