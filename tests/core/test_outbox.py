"""One client's outgoing packets: order, conflation, and what a slow client costs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atriz_realtime.core import outbox as module
from atriz_realtime.core.outbox import MAX_CONTROL_PACKETS, Outbox


class Cuts:
    """Keeps why a client was to be cut."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def __call__(self, _: Outbox, reason: str) -> None:
        self.reasons.append(reason)


def make(max_frames: int = 4, max_lag: float = 60.0, cuts: Cuts | None = None) -> Outbox:
    return Outbox(max_frames=max_frames, max_lag=max_lag, overflow=cuts or Cuts())


def drained(outbox: Outbox) -> list[Any]:
    taken = []
    while not outbox.empty():
        taken.append(outbox.get_nowait())
    return taken


def test_while_a_client_keeps_up_everything_leaves_in_order() -> None:
    outbox = make(max_frames=100)
    outbox.put_frame("v1", "v1:1")
    outbox.put_nowait("ack")
    outbox.put_frame("v1", "v1:2")
    outbox.put_frame("v2", "v2:1")
    assert outbox.qsize() == 4
    assert drained(outbox) == ["v1:1", "ack", "v1:2", "v2:1"]
    assert outbox.conflated == 0


def test_beyond_the_limit_only_the_newest_frame_of_each_key_is_kept() -> None:
    outbox = make(max_frames=4)
    for number in range(3):
        outbox.put_frame("v1", f"v1:{number}")
        outbox.put_frame("v2", f"v2:{number}")
    assert drained(outbox) == ["v1:2", "v2:2"]
    assert outbox.conflated == 4


def test_exactly_the_limit_is_no_lag() -> None:
    outbox = make(max_frames=4)
    frames = [f"v1:{number}" for number in range(4)]
    for frame in frames:
        outbox.put_frame("v1", frame)
    assert drained(outbox) == frames


def test_a_kept_frame_stands_where_the_newest_came() -> None:
    outbox = make(max_frames=2)
    for frame in ("a:1", "b:1", "a:2"):
        outbox.put_frame(frame[0], frame)
    outbox.put_frame("c", "c:1")
    outbox.put_frame("b", "b:2")
    assert drained(outbox) == ["a:2", "c:1", "b:2"]


def test_control_packets_are_kept_in_their_order() -> None:
    outbox = make(max_frames=1)
    for number in range(5):
        outbox.put_nowait(f"control {number}")
        outbox.put_frame("v1", f"v1:{number}")
    assert drained(outbox) == [*(f"control {number}" for number in range(5)), "v1:4"]


def test_control_packets_do_not_count_as_frames() -> None:
    outbox = make(max_frames=2)
    for number in range(10):
        outbox.put_nowait(number)
    outbox.put_frame("v1", "v1:1")
    outbox.put_frame("v1", "v1:2")
    assert outbox.conflated == 0


def test_a_client_that_caught_up_gets_everything_again() -> None:
    outbox = make(max_frames=2)
    for number in range(5):
        outbox.put_frame("v1", number)
    assert drained(outbox) == [4]
    outbox.put_frame("v1", 5)
    outbox.put_frame("v1", 6)
    assert drained(outbox) == [5, 6]


def test_a_client_that_reads_a_little_still_lags() -> None:
    outbox = make(max_frames=2)
    for key in "abc":
        outbox.put_frame(key, f"{key}:1")
    assert outbox.get_nowait() == "a:1"
    outbox.put_frame("b", "b:2")
    outbox.put_frame("a", "a:2")
    assert drained(outbox) == ["c:1", "b:2", "a:2"]


operations = st.lists(
    st.tuples(st.just("frame"), st.sampled_from("abcde"))
    | st.tuples(st.just("control"), st.none())
    | st.tuples(st.just("take"), st.none()),
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(operations, st.integers(1, 6))
def test_a_slow_client_sees_fewer_positions_but_never_old_ones(
    steps: list[tuple[str, str | None]], max_frames: int
) -> None:
    outbox = make(max_frames=max_frames)
    sent: list[tuple[str | None, int]] = []
    taken: list[tuple[str | None, int]] = []
    for number, (step, key) in enumerate(steps):
        if step == "take":
            if not outbox.empty():
                taken.append(outbox.get_nowait())
            continue
        sent.append((key, number))
        if key is None:
            outbox.put_nowait((None, number))
        else:
            outbox.put_frame(key, (key, number))
        controls = len([1 for sent_key, _ in sent if sent_key is None])
        taken_controls = len([1 for taken_key, _ in taken if taken_key is None])
        assert outbox.qsize() - (controls - taken_controls) <= max(max_frames, 5)
    taken += drained(outbox)
    assert [p for p in taken if p[0] is None] == [p for p in sent if p[0] is None]
    for key in "abcde":
        of_key = [number for taken_key, number in taken if taken_key == key]
        assert of_key == sorted(of_key)
        newest = [number for sent_key, number in sent if sent_key == key][-1:]
        assert of_key[-1:] == newest
    assert len(sent) == len(taken) + outbox.conflated


# -- cutting -------------------------------------------------------------------------------


def test_a_client_that_lets_control_packets_pile_up_is_cut_once() -> None:
    cuts = Cuts()
    outbox = make(cuts=cuts)
    for number in range(MAX_CONTROL_PACKETS):
        outbox.put_nowait(number)
    assert cuts.reasons == []
    outbox.put_nowait("one more")
    outbox.put_nowait("and more")
    assert cuts.reasons == ["too many unread packets"]


def test_a_client_that_reads_its_control_packets_is_not_cut() -> None:
    cuts = Cuts()
    outbox = make(cuts=cuts)
    for number in range(3 * MAX_CONTROL_PACKETS):
        outbox.put_nowait(number)
        assert outbox.get_nowait() == number
    assert cuts.reasons == []


def test_a_client_that_stays_behind_is_cut_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    cuts = Cuts()
    outbox = make(max_frames=1, max_lag=5.0, cuts=cuts)
    outbox.put_frame("v1", 0)
    outbox.put_frame("v2", 0)  # the lag begins
    for now in (1.0, 4.9, 5.0):
        outbox.put_frame("v1", now)
    assert cuts.reasons == []
    for now in (5.1, 6.0):
        outbox.put_frame("v1", now)
    assert cuts.reasons == ["too slow"]


def test_catching_up_ends_the_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    cuts = Cuts()
    outbox = make(max_frames=1, max_lag=5.0, cuts=cuts)
    for now in (0.0, 4.0, 8.0, 12.0):
        outbox.put_frame("v1", now)
        outbox.put_frame("v2", now)
        drained(outbox)
    assert cuts.reasons == []


def test_no_limit_cuts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    cuts = Cuts()
    outbox = make(max_frames=1, max_lag=0, cuts=cuts)
    for now in (0.0, 1e6, 1e9):
        outbox.put_frame("v1", now)
        outbox.put_frame("v2", now)
    assert cuts.reasons == []


# -- as python-engineio uses it ------------------------------------------------------------


def test_nothing_to_take() -> None:
    with pytest.raises(asyncio.QueueEmpty):
        make().get_nowait()


@pytest.mark.parametrize("put", ["frame", "control", "awaited"])
async def test_whoever_waits_gets_what_comes(put: str) -> None:
    outbox = make()
    waiting = asyncio.ensure_future(outbox.get())
    await asyncio.sleep(0)
    match put:
        case "frame":
            outbox.put_frame("v1", "it")
        case "control":
            outbox.put_nowait("it")
        case _:
            await outbox.put("it")
    assert await waiting == "it"
    assert outbox.empty()


async def test_several_may_wait() -> None:
    outbox = make()
    waiting = [asyncio.ensure_future(outbox.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for number in range(3):
        outbox.put_nowait(number)
    assert sorted(await asyncio.gather(*waiting)) == [0, 1, 2]


async def test_who_gives_up_waiting_takes_nothing_along() -> None:
    outbox = make()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await outbox.get()
    outbox.put_nowait("it")
    assert await outbox.get() == "it"


async def test_joining_waits_until_everything_is_taken() -> None:
    outbox = make()
    await outbox.join()
    outbox.put_nowait(1)
    outbox.put_frame("v1", 2)
    joining = asyncio.ensure_future(outbox.join())
    await asyncio.sleep(0)
    outbox.get_nowait()
    outbox.task_done()
    await asyncio.sleep(0)
    assert not joining.done()
    outbox.get_nowait()
    await joining


async def test_joining_ends_though_a_client_never_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_GRACE", 0.01)
    outbox = make()
    outbox.put_nowait(1)
    await outbox.join()
    assert outbox.qsize() == 1
