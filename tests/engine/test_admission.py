"""A storm of handshakes: a few in each turn of the loop, in order, up to a limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from atriz_realtime.engine import EngineServer, admission
from atriz_realtime.engine.admission import (
    ADMITTED_PER_TURN,
    LONG_TURN,
    MAX_STRETCHED,
    MIN_ADMITTED,
    Admission,
)
from atriz_realtime.engine.request import errors
from atriz_realtime.engine.request.origins import Origins
from atriz_realtime.engine.request.request import Request
from tests.support.servers.serving import until


def queue_of_handshakes() -> Admission:
    return Admission(EngineServer().sessions, Origins("*"), lambda: None)


def noting(admitted: list[int], number: int) -> Callable[[], bool]:
    """A handshake that notes its number when it is its turn."""

    def admit() -> bool:
        admitted.append(number)
        return True

    return admit


async def test_each_turn_admits_a_few_in_order() -> None:
    queue, admitted = queue_of_handshakes(), list[int]()
    count = 3 * ADMITTED_PER_TURN + 1
    for number in range(count):
        assert queue.enqueue(noting(admitted, number))
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


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Awaitable[None]]:
    """Lets a turn of the loop pass that takes so many seconds."""
    now = 0.0
    monkeypatch.setattr(admission, "LONG_TURN", LONG_TURN)
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    async def turn(seconds: float) -> None:
        nonlocal now
        now += seconds
        await asyncio.sleep(0)

    return turn


@pytest.mark.parametrize(
    ("long", "least"), [(LONG_TURN * 1.2, 2), (0.012, 5), (0.05, 20), (0.1, MAX_STRETCHED)]
)
async def test_after_long_turns_fewer_are_admitted_and_then_more_again(
    turns: Callable[[float], Awaitable[None]], long: float, least: int
) -> None:
    queue, admitted = queue_of_handshakes(), list[int]()
    for number in range(400):
        queue.enqueue(noting(admitted, number))
    per_turn = []
    for took in [long] * 5 + [LONG_TURN / 2] * 8:
        before = len(admitted)
        await turns(took)
        per_turn.append(len(admitted) - before)
    assert per_turn[4] == least >= min(long * MIN_ADMITTED, MAX_STRETCHED)
    assert per_turn[5:] == [min(least + more, ADMITTED_PER_TURN) for more in range(1, 9)]
    assert admitted == sorted(admitted)


async def test_those_who_have_gone_take_nobody_s_turn() -> None:
    queue, admitted = queue_of_handshakes(), list[int]()
    for number in range(ADMITTED_PER_TURN):
        queue.enqueue(noting(admitted, number))
    for _ in range(100):
        queue.enqueue(lambda: False)
    queue.enqueue(noting(admitted, ADMITTED_PER_TURN))
    await asyncio.sleep(0)
    assert admitted[-1] == ADMITTED_PER_TURN


async def test_over_asgi_those_who_have_gone_take_nobody_s_turn() -> None:
    queue = queue_of_handshakes()
    gone = [asyncio.create_task(queue.turn(lambda: True)) for _ in range(100)]
    other = asyncio.create_task(queue.turn(lambda: False))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert other.done()
    assert await asyncio.gather(*gone, other) == [True] * 101


async def test_a_single_handshake_does_not_wait() -> None:
    queue, admitted = queue_of_handshakes(), list[int]()
    for number in range(5):
        queue.enqueue(noting(admitted, number))
        assert len(admitted) == number + 1
        await asyncio.sleep(0)


async def test_a_full_queue_accepts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_WAITING", 3)
    queue, admitted = queue_of_handshakes(), list[int]()
    added = [queue.enqueue(noting(admitted, 1)) for _ in range(ADMITTED_PER_TURN + 5)]
    assert added == [True] * (ADMITTED_PER_TURN + 3) + [False] * 2
    await until(lambda: len(admitted) == ADMITTED_PER_TURN + 3)
    assert queue.enqueue(noting(admitted, 1))


async def test_a_refused_origin_is_named_in_bounds() -> None:
    lines: list[tuple[str, str]] = []
    engine = EngineServer(report=lambda kind, line: lines.append((kind, line)))
    admission = Admission(engine.sessions, Origins(["https://ours.example"]), lambda: None)
    for origin in ("https://other.example", "x\x1b" * 1_000):
        head = f"GET / HTTP/1.1\r\norigin: {origin}\r\n".encode()
        refusal, _ = admission.check(Request(head, ("203.0.113.7", 9), "https"), {}, "polling")
        assert refusal is errors.FORBIDDEN
    assert lines[0] == ("origin refused", "'https://other.example'; client 203.0.113.7")
    assert "\x1b" not in lines[1][1]
    assert len(lines[1][1]) < 500


async def test_a_refused_request_names_its_client() -> None:
    lines: list[str] = []
    engine = EngineServer(report=lambda _, line: lines.append(line))
    request = Request(b"GET / HTTP/1.1\r\n", ("203.0.113.7", 9), "http")
    Admission(engine.sessions, Origins("*"), lambda: None).refused(errors.BAD_REQUEST, request)
    assert lines == [f"{errors.BAD_REQUEST.message}; client 203.0.113.7"]


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
    Admission(engine.sessions, Origins("*"), lambda: None).refused(refusal, None)
    assert kinds == reported
