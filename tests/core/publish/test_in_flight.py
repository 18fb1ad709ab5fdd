"""One order for every watcher of a server, whether the fan-out works or not."""

from __future__ import annotations

import random

import pytest

from atriz_realtime.core.publish import in_flight as module
from atriz_realtime.core.publish.in_flight import MAX_UNDER_WAY, REMEMBER_SECONDS, InFlight
from atriz_realtime.testing import FakeClock

CHANNEL = "tracking:vehicle:v1"


class Delivered:
    def __init__(self) -> None:
        self.events: list[bytes] = []

    def __call__(self, _: str, event: bytes) -> None:
        self.events.append(event)


@pytest.fixture
def delivered() -> Delivered:
    return Delivered()


@pytest.fixture
def lane(delivered: Delivered, clock: FakeClock) -> InFlight:
    return InFlight(delivered, clock)


def sent(lane: InFlight, *events: bytes) -> None:
    for event in events:
        lane.sent(CHANNEL, event)


def received(lane: InFlight, *events: bytes) -> None:
    for event in events:
        lane.received(CHANNEL, event)


def test_what_comes_over_the_fan_out_is_delivered(lane: InFlight, delivered: Delivered) -> None:
    sent(lane, b"mine")
    assert delivered.events == []
    received(lane, b"theirs", b"mine")
    assert delivered.events == [b"theirs", b"mine"]


def test_what_the_fan_out_refuses_is_delivered_from_here(
    lane: InFlight, delivered: Delivered
) -> None:
    sent(lane, b"1", b"2", b"3")
    lane.bypass(CHANNEL, b"2")
    assert delivered.events == [b"1", b"2"]  # and what is older, in order
    lane.bypass(CHANNEL, b"1")
    lane.bypass(CHANNEL, b"2")
    assert delivered.events == [b"1", b"2"]


def test_what_came_back_is_not_delivered_again(lane: InFlight, delivered: Delivered) -> None:
    sent(lane, b"1")
    received(lane, b"1")
    lane.bypass(CHANNEL, b"1")
    assert delivered.events == [b"1"]


def test_what_was_delivered_from_here_is_swallowed_however_often_it_comes(
    lane: InFlight, delivered: Delivered
) -> None:
    sent(lane, b"1")
    lane.bypass(CHANNEL, b"1")
    received(lane, b"1", b"1", b"2")
    assert delivered.events == [b"1", b"2"]


def test_a_bypassed_event_is_remembered_for_a_while(
    lane: InFlight, delivered: Delivered, clock: FakeClock
) -> None:
    sent(lane, b"1")
    lane.bypass(CHANNEL, b"1")
    clock.advance(REMEMBER_SECONDS + 1)
    sent(lane, b"2")
    lane.bypass(CHANNEL, b"2")  # forgets what is too old
    received(lane, b"1", b"2")
    assert delivered.events == [b"1", b"2", b"1"]


def test_a_lane_that_has_gone_deaf_delivers_at_once_and_in_order(
    lane: InFlight, delivered: Delivered
) -> None:
    sent(lane, b"1", b"2")
    lane.deaf()
    assert delivered.events == [b"1", b"2"]
    sent(lane, b"3")
    assert delivered.events == [b"1", b"2", b"3"]
    lane.hears()
    sent(lane, b"4")
    received(lane, b"1", b"2", b"3", b"4")
    assert delivered.events == [b"1", b"2", b"3", b"4"]


def test_what_is_overtaken_on_the_way_is_no_longer_expected(
    lane: InFlight, delivered: Delivered
) -> None:
    sent(lane, b"1", b"2")
    received(lane, b"2")
    lane.bypass(CHANNEL, b"1")
    lane.deaf()
    assert delivered.events == [b"2"]


def test_channels_are_apart(lane: InFlight, delivered: Delivered) -> None:
    sent(lane, b"1")
    lane.sent("another", b"1")
    lane.bypass("another", b"1")
    received(lane, b"1")
    assert delivered.events == [b"1", b"1"]


def test_a_channel_nobody_hears_is_forgotten(lane: InFlight, delivered: Delivered) -> None:
    sent(lane, b"1")
    lane.forget(CHANNEL)
    lane.forget(CHANNEL)
    lane.deaf()
    assert delivered.events == []


def test_memory_is_bounded(
    lane: InFlight, delivered: Delivered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYPASSED", 10)
    events = [b"%d" % number for number in range(MAX_UNDER_WAY + 5)]
    sent(lane, *events)
    lane.deaf()
    assert delivered.events == events[5:]
    received(lane, *events)
    assert delivered.events == events[5:] + events[:-10]  # the last ten are remembered


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_missed_doubled_or_out_of_order(
    lane: InFlight, delivered: Delivered, seed: int
) -> None:
    chance = random.Random(seed)
    published = [b"%03d" % number for number in range(200)]
    on_their_way: list[bytes] = []
    lost = False
    for event in published:
        sent(lane, event)
        fate = chance.random()
        if fate < 0.1:  # the fan-out is gone, and with it what was on its way, or not
            lost = chance.random() < 0.5
            lane.deaf()
            if lost:
                on_their_way.clear()
        elif fate < 0.2:
            lane.hears()
        if lane.hearing and fate > 0.3:
            on_their_way.append(event)
        elif lane.hearing:
            lane.bypass(CHANNEL, event)  # it refused this one
            if chance.random() < 0.5:
                on_their_way.append(event)  # and has sent it all the same
        while on_their_way and chance.random() < 0.6:
            received(lane, on_their_way.pop(0))
    received(lane, *on_their_way)
    lane.deaf()
    assert delivered.events == published
