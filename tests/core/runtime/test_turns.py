"""Work that is bounded for all who ask for it together."""

from __future__ import annotations

import asyncio

from atriz_realtime.core.runtime.turns import Turns


class Asking:
    """Tasks that take places, and the order in which they got them."""

    def __init__(self, places: int) -> None:
        self.turns = Turns(places)
        self.served: list[str] = []

    def ask(self, name: str, places: int) -> asyncio.Task[None]:
        async def take() -> None:
            await self.turns.take(places)
            self.served.append(name)

        return asyncio.create_task(take())

    async def settle(self) -> list[str]:
        for _ in range(5):
            await asyncio.sleep(0)
        return self.served


async def test_who_needs_few_places_does_not_overtake_who_needs_many() -> None:
    asking = Asking(10)
    tasks = [asking.ask("a", 6), asking.ask("b", 6), asking.ask("c", 1)]
    assert await asking.settle() == ["a"]
    asking.turns.give_back(6)
    assert await asking.settle() == ["a", "b", "c"]
    await asyncio.gather(*tasks)


async def test_who_gives_up_leaves_no_place_taken() -> None:
    asking = Asking(10)
    tasks = [asking.ask("a", 10), asking.ask("b", 10), asking.ask("c", 10), asking.ask("d", 10)]
    await asking.settle()
    tasks[1].cancel()  # while it waits
    asking.turns.give_back(10)
    tasks[2].cancel()  # when its turn has come, before it runs
    assert await asking.settle() == ["a", "d"]
    await asyncio.gather(*tasks, return_exceptions=True)
