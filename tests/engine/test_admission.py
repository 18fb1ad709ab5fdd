"""A storm of handshakes: a few in each turn of the loop, in order, and a limit."""

from __future__ import annotations

import asyncio

import pytest

from atriz_realtime.engine import admission
from atriz_realtime.engine.admission import ADMITTED_PER_TURN, Admission
from tests.support.servers.serving import until


async def test_each_turn_lets_a_few_in_and_everybody_in_order() -> None:
    admissions, admitted = Admission(), list[int]()
    wanted = 3 * ADMITTED_PER_TURN + 1
    for number in range(wanted):
        assert admissions.ask(lambda number=number: admitted.append(number))  # type: ignore[misc]
    seen = [len(admitted)]
    while len(admitted) < wanted:
        await asyncio.sleep(0)
        seen.append(len(admitted))
    assert admitted == list(range(wanted))
    assert [after - before for before, after in zip([0, *seen], seen, strict=False)] == [
        *[ADMITTED_PER_TURN] * 3,
        1,
    ]
    assert len(admissions) == 0


async def test_who_comes_alone_does_not_wait() -> None:
    admissions, admitted = Admission(), list[int]()
    for number in range(5):
        admissions.ask(lambda number=number: admitted.append(number))  # type: ignore[misc]
        assert len(admitted) == number + 1
        await asyncio.sleep(0)


async def test_beyond_the_limit_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_WAITING", 3)
    admissions, admitted = Admission(), list[int]()
    asked = [admissions.ask(lambda: admitted.append(1)) for _ in range(ADMITTED_PER_TURN + 5)]
    assert asked == [True] * (ADMITTED_PER_TURN + 3) + [False] * 2
    await until(lambda: len(admitted) == ADMITTED_PER_TURN + 3)
    assert admissions.ask(lambda: admitted.append(1))
