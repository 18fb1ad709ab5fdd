"""When packets leave: once in a turn of the loop, together, and not too often."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from atriz_realtime.engine import flusher as module
from atriz_realtime.engine.flusher import IDLE_TURN, MAX_DELAY_FACTOR, MAX_PAUSE, Flusher
from tests.support.clients.engineio import raw_watcher
from tests.support.servers.serving import serving, until


def add(flusher: Flusher, stub: Any) -> None:
    """Ask for the flush of something that stands in for a session."""
    flusher.add(stub)


class Timed:
    """Records when it is flushed.

    :param takes: seconds that a flush takes.
    """

    def __init__(self, flusher: Flusher, takes: float = 0.0) -> None:
        self._flusher = flusher
        self._takes = takes
        self.flushed: list[float] = []

    def flush(self) -> None:
        self.flushed.append(time.perf_counter())
        if self._takes:
            time.sleep(self._takes)

    async def once_more(self) -> float:
        """Ask for a flush, and wait for it; returns the seconds that it took to come."""
        asked, count = time.perf_counter(), len(self.flushed)
        add(self._flusher, self)
        while len(self.flushed) == count:
            await asyncio.sleep(0)
        return self.flushed[-1] - asked


async def test_everything_added_in_one_turn_is_flushed_at_its_end_in_order() -> None:
    flusher = Flusher()
    order: list[int] = []

    class Numbered:
        def __init__(self, number: int) -> None:
            self._number = number

        def flush(self) -> None:
            order.append(self._number)

    for number in range(3):
        add(flusher, Numbered(number))
    assert order == []
    await asyncio.sleep(0)
    assert order == [0, 1, 2]
    await asyncio.sleep(0)
    assert order == [0, 1, 2]


async def test_what_is_added_during_a_flush_is_flushed_in_the_next_turn() -> None:
    flusher = Flusher()
    late = Timed(flusher)

    class Asks:
        def flush(self) -> None:
            add(flusher, late)

    add(flusher, Asks())
    await asyncio.sleep(0)
    assert late.flushed == []
    await until(lambda: len(late.flushed) == 1)


async def test_a_long_flush_delays_the_next_by_as_much() -> None:
    pipe = Timed(Flusher(), takes=0.01)
    await pipe.once_more()
    assert await pipe.once_more() >= 0.01


async def test_a_flush_is_never_delayed_for_long() -> None:
    pipe = Timed(Flusher(), takes=0.1)
    await pipe.once_more()
    waited = await pipe.once_more()
    assert MAX_PAUSE * 0.9 <= waited < 0.09  # less than it took


class Loop:
    """A clock that only the test and flushes move, and turns of the loop that take time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.flushed = 0
        self.flusher = Flusher()
        monkeypatch.setattr(module, "perf_counter", lambda: self.now)

    def flush(self) -> None:
        self.now += 0.001
        self.flushed += 1

    async def ask_after_a_flush(self) -> None:
        """Flush once, and ask again when the next flush may come."""
        add(self.flusher, self)
        await asyncio.sleep(0)
        self.now += 0.001
        add(self.flusher, self)
        assert self.flushed == 1

    async def turn(self, takes: float) -> None:
        self.now += takes
        await asyncio.sleep(0)


async def test_a_busy_loop_gathers_more(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch)
    await loop.ask_after_a_flush()
    for _ in range(5):
        await loop.turn(takes=10 * IDLE_TURN)
        assert loop.flushed == 1
    await loop.turn(takes=IDLE_TURN / 2)
    assert loop.flushed == 2


async def test_a_busy_loop_gathers_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch)
    await loop.ask_after_a_flush()
    turns = 0
    while loop.flushed == 1:
        await loop.turn(takes=0.0005)
        turns += 1
    assert turns == (MAX_DELAY_FACTOR - 1) * 2


async def test_an_idle_server_flushes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop(monkeypatch)
    await loop.ask_after_a_flush()
    await loop.turn(takes=1)
    assert loop.flushed == 2


async def test_two_flushes_are_at_least_an_interval_apart() -> None:
    pipe = Timed(Flusher(interval=0.05))
    assert await pipe.once_more() < 0.05
    for _ in range(2):
        await pipe.once_more()
    gaps = [after - before for before, after in zip(pipe.flushed, pipe.flushed[1:], strict=False)]
    assert min(gaps) >= 0.045


async def test_the_setting_gathers_fixes_for_an_interval() -> None:
    async with serving(flush_interval=0.3) as live, raw_watcher(live, "v1") as watcher:
        for number in range(3):
            await live.publish("v1", speed=number)
        started = time.monotonic()
        speeds = [json.loads(str(await watcher.recv())[2:])[1] for _ in range(3)]
        assert [each["location"]["speed"] for each in speeds] == [0, 1, 2]
        assert time.monotonic() - started < 5
