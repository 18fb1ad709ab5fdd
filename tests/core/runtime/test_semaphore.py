"""A semaphore of which one caller may need several permits, and steps in a turn of the loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from atriz_realtime.core.runtime import semaphore
from atriz_realtime.core.runtime.semaphore import MAX_STRETCH, TurnLimit, WeightedSemaphore


class Asking:
    """Tasks that ask for permits, and the order in which they got them."""

    def __init__(self, permits: int) -> None:
        self.semaphore = WeightedSemaphore(permits)
        self.served: list[str] = []

    def ask(self, name: str, permits: int) -> asyncio.Task[None]:
        async def acquire() -> None:
            await self.semaphore.acquire(permits)
            self.served.append(name)

        return asyncio.create_task(acquire())

    async def settle(self) -> list[str]:
        for _ in range(5):
            await asyncio.sleep(0)
        return self.served


async def test_a_small_request_does_not_overtake_a_large_one() -> None:
    asking = Asking(10)
    tasks = [asking.ask("a", 6), asking.ask("b", 6), asking.ask("c", 1)]
    assert await asking.settle() == ["a"]
    asking.semaphore.release(6)
    assert await asking.settle() == ["a", "b", "c"]
    await asyncio.gather(*tasks)


async def test_a_cancelled_request_holds_no_permits() -> None:
    asking = Asking(10)
    tasks = [asking.ask("a", 10), asking.ask("b", 10), asking.ask("c", 10), asking.ask("d", 10)]
    await asking.settle()
    tasks[1].cancel()  # while it waits
    asking.semaphore.release(10)
    tasks[2].cancel()  # when it has its permits, before it runs
    assert await asking.settle() == ["a", "d"]
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_no_more_steps_happen_in_a_turn_than_the_limit() -> None:
    limit, done, turn = TurnLimit(2), list[tuple[int, int]](), 0

    async def step(number: int) -> None:
        await limit.step()
        done.append((turn, number))

    tasks = [asyncio.create_task(step(number)) for number in range(5)]
    for turn in range(4):  # noqa: B007  # the steps note it
        await asyncio.sleep(0)
    assert [number for _, number in done] == [0, 1, 2, 3, 4]
    assert max(sum(when == each for when, _ in done) for each in range(4)) == 2
    await asyncio.gather(*tasks)


async def test_a_step_that_is_cancelled_takes_none_from_the_others() -> None:
    limit, done = TurnLimit(1), list[int]()

    async def step(number: int) -> None:
        await limit.step()
        done.append(number)

    tasks = [asyncio.create_task(step(number)) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert done == [0, 2]


async def test_a_step_may_count_as_many_and_is_not_overtaken_by_lighter_ones() -> None:
    limit, done, turn = TurnLimit(10), list[tuple[int, int]](), 0

    async def step(weight: int) -> None:
        await limit.step(weight)
        done.append((turn, weight))

    tasks = [asyncio.create_task(step(weight)) for weight in (6, 4, 7, 6, 1, 10)]
    for turn in range(8):  # noqa: B007  # the steps note it
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert [weight for _, weight in done] == [6, 4, 7, 6, 1, 10]
    by_turn = [[weight for when, weight in done if when == each] for each in range(8)]
    assert [weights for weights in by_turn if weights] == [[6, 4], [7], [6, 1], [10]]


async def test_a_later_turn_has_as_many_steps_again() -> None:
    limit = TurnLimit(1)
    for _ in range(3):
        await limit.step()


class Turns:
    """Turns of the loop on a clock that moves when it is told to.

    :param steps: those of a turn.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
        self.now = 1.0
        monkeypatch.setattr(semaphore, "SHORT_TURN", 0.004)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        self.limit = TurnLimit(steps)
        self.done: list[tuple[int, str]] = []
        self.turn = 0

    def ask(self, steps: int, owner: str = "", *, cost: float = 0.0) -> list[asyncio.Task[None]]:
        async def step() -> None:
            await self.limit.step(owner=owner)
            self.now += cost
            self.done.append((self.turn, owner))

        return [asyncio.create_task(step()) for _ in range(steps)]

    async def run(self, tasks: list[asyncio.Task[None]], *, others: float = 0.0) -> list[int]:
        """Run until all is done; returns how many steps each turn had.

        :param others: seconds that other work takes in each turn.
        """
        while not all(task.done() for task in tasks):
            self.now += others
            await asyncio.sleep(0)
            self.turn += 1
        counts = [sum(when == each for when, _ in self.done) for each in range(self.turn)]
        return [count for count in counts if count]


@pytest.mark.parametrize(("others", "factor"), [(0.002, 1), (0.008, 2), (0.1, MAX_STRETCH)])
async def test_turns_with_much_other_work_have_more_steps(
    monkeypatch: pytest.MonkeyPatch, others: float, factor: int
) -> None:
    turns = Turns(monkeypatch, 10)
    assert max(await turns.run(turns.ask(200), others=others)) == 10 * factor


@pytest.mark.parametrize("cost", [0.0002, 0.0005, 0.05])
async def test_steps_that_take_long_make_for_no_more_of_them(
    monkeypatch: pytest.MonkeyPatch, cost: float
) -> None:
    turns = Turns(monkeypatch, 16)
    assert max(await turns.run(turns.ask(200, cost=cost))) == 16


async def test_owners_take_turns_however_much_each_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = Turns(monkeypatch, 4)
    many = turns.ask(100, "u1")
    await asyncio.sleep(0)
    few = turns.ask(4, "u2")
    await turns.run([*many, *few])
    places = [place for place, (_, owner) in enumerate(turns.done) if owner == "u2"]
    assert places[-1] - places[0] == 6  # every other step
    assert places[0] <= 9
