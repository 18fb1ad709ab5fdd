"""Packets that wait for a client whose transport accepts none: conflation, order, bounds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atriz_realtime.engine.outbox import (
    CLOSED,
    MAX_BYTES,
    MAX_CONFLATED_BYTES,
    MAX_CONTROL_BYTES,
    MAX_CONTROL_PACKETS,
    Outbox,
    OutboxLimits,
)
from atriz_realtime.engine.protocol.packets import Packet


class Cuts:
    """Records why a client was to be cut."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def __call__(self, reason: str) -> None:
        self.reasons.append(reason)


def make(max_frames: int = 4, max_lag: float = 60.0, cuts: Cuts | None = None) -> Outbox:
    return Outbox(OutboxLimits(max_frames, max_lag), overflow=cuts or Cuts())


def put(outbox: Outbox, *frames: str) -> None:
    """Put location frames, whose key is the part before the colon."""
    for frame in frames:
        outbox.put_frame(frame.partition(":")[0], Packet(frame.encode()))


def control(outbox: Outbox, *packets: object) -> None:
    for packet in packets:
        outbox.put(Packet(str(packet).encode()))


def conflated(outbox: Outbox) -> int:
    return outbox._limits.conflated


def taken(outbox: Outbox) -> list[str]:
    return [packet.text for packet in outbox.take()]


def test_a_client_that_keeps_up_gets_everything_in_order() -> None:
    outbox = make(max_frames=100)
    put(outbox, "v1:1")
    control(outbox, "ack")
    put(outbox, "v1:2", "v2:1")
    assert len(outbox) == 4
    assert taken(outbox) == ["v1:1", "ack", "v1:2", "v2:1"]
    assert (len(outbox), conflated(outbox)) == (0, 0)


def test_a_client_that_lags_gets_the_newest_of_each_entity() -> None:
    outbox = make(max_frames=4)
    for number in range(4):
        put(outbox, f"v1:{number}", f"v2:{number}")
    assert outbox.lagging
    assert taken(outbox) == ["v1:3", "v2:3"]
    assert conflated(outbox) == 6
    assert not outbox.lagging


def test_up_to_the_limit_everything_is_kept() -> None:
    outbox = make(max_frames=4)
    frames = [f"v1:{number}" for number in range(4)]
    put(outbox, *frames)
    assert taken(outbox) == frames


def test_few_but_long_frames_are_conflated_as_well() -> None:
    outbox = make(max_frames=1_000)
    size = MAX_BYTES // 10
    for number in range(11):
        put(outbox, f"v1:{number}".ljust(size))
    assert [frame.rstrip() for frame in taken(outbox)] == ["v1:10"]


def test_a_conflated_frame_has_the_place_of_the_newest() -> None:
    outbox = make(max_frames=2)
    put(outbox, "a:1", "b:1", "a:2", "c:1", "b:2")
    assert taken(outbox) == ["a:2", "c:1", "b:2"]


def test_control_packets_are_kept_in_their_order() -> None:
    outbox = make(max_frames=1)
    for number in range(5):
        control(outbox, f"control {number}")
        put(outbox, f"v1:{number}")
    assert taken(outbox) == [*(f"control {number}" for number in range(5)), "v1:4"]


def test_control_packets_do_not_count_as_frames() -> None:
    outbox = make(max_frames=2)
    control(outbox, *range(10))
    put(outbox, "v1:1", "v1:2")
    assert not outbox.lagging


def test_a_client_that_caught_up_gets_everything_again() -> None:
    outbox = make(max_frames=2)
    put(outbox, *(f"v1:{number}" for number in range(5)))
    assert taken(outbox) == ["v1:4"]
    put(outbox, "v1:5", "v1:6")
    assert taken(outbox) == ["v1:5", "v1:6"]


operations = st.lists(
    st.tuples(st.just("frame"), st.sampled_from("abcde"))
    | st.tuples(st.just("control"), st.none())
    | st.tuples(st.just("take"), st.none()),
    max_size=120,
)


@settings(max_examples=150)
@given(operations, st.integers(1, 6))
def test_a_slow_client_sees_fewer_positions_but_never_old_ones(
    steps: list[tuple[str, str | None]], max_frames: int
) -> None:
    outbox = make(max_frames=max_frames)
    sent: list[str] = []
    received: list[str] = []
    controls = 0
    for number, (step, key) in enumerate(steps):
        if step == "take":
            received += taken(outbox)
            controls = 0
            continue
        sent.append(f"{key}:{number}")
        if key is None:
            control(outbox, sent[-1])
            controls += 1
        else:
            put(outbox, sent[-1])
        assert len(outbox) - controls <= max(max_frames, 5)
    received += taken(outbox)
    for key in ("None", *"abcde"):
        was_sent = [frame for frame in sent if frame.startswith(key)]
        was_received = [frame for frame in received if frame.startswith(key)]
        assert was_received == [frame for frame in was_sent if frame in was_received]
        assert was_received[-1:] == was_sent[-1:]
        if key == "None":
            assert was_received == was_sent
    assert len(sent) == len(received) + conflated(outbox)


# -- cutting -------------------------------------------------------------------------------


def test_a_client_that_lets_control_packets_pile_up_is_cut() -> None:
    cuts = Cuts()
    outbox = make(cuts=cuts)
    control(outbox, *range(MAX_CONTROL_PACKETS))
    assert cuts.reasons == []
    control(outbox, "one more")
    assert cuts.reasons == ["too many unread packets"]


def test_a_client_that_takes_its_control_packets_is_not_cut() -> None:
    cuts = Cuts()
    outbox = make(cuts=cuts)
    for number in range(3 * MAX_CONTROL_PACKETS):
        control(outbox, number)
        assert taken(outbox) == [str(number)]
    assert cuts.reasons == []


def test_a_client_that_lets_long_control_packets_pile_up_is_cut() -> None:
    cuts = Cuts()
    outbox = make(cuts=cuts)
    half = "x" * (MAX_CONTROL_BYTES // 2)
    control(outbox, half, half)
    assert cuts.reasons == []
    control(outbox, "x")
    assert cuts.reasons == ["too many unread bytes"]


def test_a_single_control_packet_may_be_longer_than_the_limit() -> None:
    cuts = Cuts()
    outbox = make(cuts=cuts)
    for _ in range(3):
        control(outbox, "x" * (MAX_CONTROL_BYTES + 1))
        assert len(taken(outbox)) == 1
    assert cuts.reasons == []


def test_a_client_that_lags_over_many_long_frames_is_cut() -> None:
    cuts = Cuts()
    outbox = make(cuts=cuts)
    long = "x" * (MAX_CONFLATED_BYTES // 10)
    for _ in range(3):  # newer frames replace older ones
        put(outbox, *(f"v{number}:{long}" for number in range(9)))
        assert cuts.reasons == []
    put(outbox, f"v9:{long}")
    assert cuts.reasons == ["too many unread bytes"]


def lag(monkeypatch: pytest.MonkeyPatch, outbox: Outbox, *moments: float) -> None:
    """Put a frame of two entities at each of some moments."""
    for now in moments:
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        put(outbox, f"v1:{now}", f"v2:{now}")


def test_a_client_that_stays_behind_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = Cuts()
    outbox = make(max_frames=1, max_lag=5.0, cuts=cuts)
    lag(monkeypatch, outbox, 0.0, 1.0, 4.9, 5.0)
    assert cuts.reasons == []
    lag(monkeypatch, outbox, 5.1)
    assert set(cuts.reasons) == {"too slow"}


def test_catching_up_ends_the_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = Cuts()
    outbox = make(max_frames=1, max_lag=5.0, cuts=cuts)
    for now in (0.0, 4.0, 8.0, 12.0):
        lag(monkeypatch, outbox, now)
        taken(outbox)
    assert cuts.reasons == []


def test_without_a_lag_limit_no_client_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = Cuts()
    lag(monkeypatch, make(max_frames=1, max_lag=0, cuts=cuts), 0.0, 1e6, 1e9)
    assert cuts.reasons == []


def test_a_closed_outbox_discards_packets() -> None:
    put(CLOSED, "v1:1")
    control(CLOSED, "ack")
    assert (len(CLOSED), taken(CLOSED)) == (0, [])
