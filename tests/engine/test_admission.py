"""A storm of handshakes: a few in each turn of the loop, in order, up to a limit."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import pytest

from atriz_realtime.engine import EngineServer, admission
from atriz_realtime.engine.admission import ADMITTED_PER_TURN, Admission
from atriz_realtime.engine.request import errors
from atriz_realtime.engine.request.origins import Origins
from tests.support.servers.serving import until


def queue_of_handshakes() -> Admission:
    return Admission(EngineServer().sessions, Origins("*"), lambda: None)


async def test_each_turn_admits_a_few_in_order() -> None:
    queue, admitted = queue_of_handshakes(), list[int]()
    count = 3 * ADMITTED_PER_TURN + 1
    for number in range(count):
        assert queue.enqueue(partial(admitted.append, number))
    seen = [len(admitted)]
    while len(admitted) < count:
        await asyncio.sleep(0)
        seen.append(len(admitted))
    assert admitted == list(range(count))
    assert [after - before for before, after in zip([0, *seen], seen, strict=False)] == [
        *[ADMITTED_PER_TURN] * 3,
        1,
    ]
    assert not queue._waiting


async def test_after_long_turns_fewer_are_admitted_and_then_more_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, long = 0.0, 0.004
    monkeypatch.setattr(admission, "LONG_TURN", long)
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    queue, admitted = queue_of_handshakes(), list[int]()
    for number in range(100):
        queue.enqueue(partial(admitted.append, number))
    per_turn = []
    for took in [2 * long] * 5 + [long / 2] * 9:
        now += took
        before = len(admitted)
        await asyncio.sleep(0)
        per_turn.append(len(admitted) - before)
    assert per_turn == [4, 2, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8]
    assert admitted == sorted(admitted)


async def test_a_single_handshake_does_not_wait() -> None:
    queue, admitted = queue_of_handshakes(), list[int]()
    for number in range(5):
        queue.enqueue(partial(admitted.append, number))
        assert len(admitted) == number + 1
        await asyncio.sleep(0)


async def test_a_full_queue_accepts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_WAITING", 3)
    queue, admitted = queue_of_handshakes(), list[int]()
    added = [queue.enqueue(partial(admitted.append, 1)) for _ in range(ADMITTED_PER_TURN + 5)]
    assert added == [True] * (ADMITTED_PER_TURN + 3) + [False] * 2
    await until(lambda: len(admitted) == ADMITTED_PER_TURN + 3)
    assert queue.enqueue(partial(admitted.append, 1))


@pytest.mark.parametrize(
    ("refusal", "reported"),
    [
        (errors.BAD_REQUEST, ["request refused"]),
        (errors.UNKNOWN_SESSION, ["request refused"]),
        (errors.FORBIDDEN, []),
        (errors.UNAVAILABLE, []),
    ],
)
async def test_a_refusal_is_an_incident_unless_it_is_reported_where_it_is_decided(
    refusal: errors.Refusal, reported: list[str]
) -> None:
    kinds: list[str] = []
    engine = EngineServer(report=lambda kind, _: kinds.append(kind))
    Admission(engine.sessions, Origins("*"), lambda: None).refused(refusal)
    assert kinds == reported
