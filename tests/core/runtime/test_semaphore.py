"""A semaphore of which one caller may need several permits, and steps in a turn of the loop."""

from __future__ import annotations

import asyncio

import pytest

from atriz_realtime.core.runtime import semaphore
from atriz_realtime.core.runtime.semaphore import TurnLimit, WeightedSemaphore


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


async def test_a_long_turn_is_followed_by_more_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semaphore, "SHORT_TURN", 1e-9)  # every turn is a million times as long
    limit, done = TurnLimit(2), list[int]()

    async def step(number: int) -> None:
        await limit.step()
        done.append(number)

    tasks = [asyncio.create_task(step(number)) for number in range(50)]
    await asyncio.sleep(0)
    assert done == [0, 1]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == list(range(50))
    await asyncio.gather(*tasks)
