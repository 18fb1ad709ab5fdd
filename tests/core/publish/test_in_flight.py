"""Fixes in flight: delivered once and in order, whether the fan-out works or not."""

from __future__ import annotations

import random

import attrs
import pytest

from atriz_realtime.api import Payload
from atriz_realtime.core.publish import in_flight as module
from atriz_realtime.core.publish.in_flight import MAX_EXPECTED, REMEMBER_SECONDS, InFlight
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.testing import FakeClock, payload

CHANNEL = "tracking:vehicle:v1"


class Delivered:
    def __init__(self) -> None:
        self.events: list[bytes] = []

    def __call__(self, _: str, event: bytes) -> None:
        self.events.append(event)

    def is_behind(self, _: str, event: bytes) -> bool:
        return bool(self.events) and event < self.events[-1]


@pytest.fixture
def delivered() -> Delivered:
    return Delivered()


@pytest.fixture
def in_flight(delivered: Delivered, clock: FakeClock, incidents: Incidents) -> InFlight:
    return InFlight(delivered, delivered.is_behind, clock, incidents.report)


def fix(event: bytes, channel: str = CHANNEL) -> Payload:
    return attrs.evolve(payload(), channel=channel, event=event)


def published(in_flight: InFlight, *events: bytes) -> None:
    for event in events:
        in_flight.add(fix(event), comes_back=True)


def received(in_flight: InFlight, *events: bytes) -> None:
    for event in events:
        in_flight.received(CHANNEL, event)


def test_events_from_the_fan_out_are_delivered(in_flight: InFlight, delivered: Delivered) -> None:
    published(in_flight, b"mine")
    assert delivered.events == []
    received(in_flight, b"theirs", b"mine")
    assert delivered.events == [b"theirs", b"mine"]


def test_an_event_that_the_fan_out_refuses_is_delivered_directly(
    in_flight: InFlight, delivered: Delivered
) -> None:
    published(in_flight, b"1", b"2", b"3")
    in_flight.bypass(CHANNEL, b"2")
    assert delivered.events == [b"1", b"2"]  # older events first
    in_flight.bypass(CHANNEL, b"1")
    in_flight.bypass(CHANNEL, b"2")
    assert delivered.events == [b"1", b"2"]


def test_an_event_that_came_back_is_not_delivered_again(
    in_flight: InFlight, delivered: Delivered
) -> None:
    published(in_flight, b"1")
    received(in_flight, b"1")
    in_flight.bypass(CHANNEL, b"1")
    assert delivered.events == [b"1"]


def test_a_bypassed_event_is_ignored_however_often_it_comes_back(
    in_flight: InFlight, delivered: Delivered
) -> None:
    published(in_flight, b"1")
    in_flight.bypass(CHANNEL, b"1")
    received(in_flight, b"1", b"1", b"2")
    assert delivered.events == [b"1", b"2"]


def test_a_bypassed_event_is_remembered_for_a_while(
    in_flight: InFlight, delivered: Delivered, clock: FakeClock
) -> None:
    published(in_flight, b"1")
    in_flight.bypass(CHANNEL, b"1")
    clock.advance(REMEMBER_SECONDS + 1)
    published(in_flight, b"2")
    in_flight.bypass(CHANNEL, b"2")  # drops what is too old
    received(in_flight, b"1", b"2")
    assert delivered.events == [b"1", b"2", b"1"]


def test_a_bypassed_event_is_remembered_as_long_as_a_buffer_may_hold_it(
    in_flight: InFlight, delivered: Delivered, clock: FakeClock
) -> None:
    published(in_flight, b"1")
    in_flight.bypass(CHANNEL, b"1")
    clock.advance(29)
    published(in_flight, b"2")
    in_flight.bypass(CHANNEL, b"2")
    received(in_flight, b"1", b"2")
    assert delivered.events == [b"1", b"2"]


def test_events_are_delivered_directly_while_the_fan_out_is_disconnected(
    in_flight: InFlight, delivered: Delivered
) -> None:
    published(in_flight, b"1", b"2")
    in_flight.disconnected()
    assert delivered.events == [b"1", b"2"]
    published(in_flight, b"3")
    assert delivered.events == [b"1", b"2", b"3"]
    in_flight.reconnected()
    published(in_flight, b"4")
    received(in_flight, b"1", b"2", b"3", b"4")
    assert delivered.events == [b"1", b"2", b"3", b"4"]


def test_an_event_that_is_overtaken_is_no_longer_expected(
    in_flight: InFlight, delivered: Delivered
) -> None:
    published(in_flight, b"1", b"2")
    received(in_flight, b"2")
    in_flight.bypass(CHANNEL, b"1")
    in_flight.disconnected()
    assert delivered.events == [b"2"]


def test_a_late_event_is_delivered_directly_only_if_nothing_newer_was(
    in_flight: InFlight, delivered: Delivered
) -> None:
    in_flight.add(fix(b"2"), comes_back=True, late=True)
    received(in_flight, b"3")
    in_flight.disconnected()
    assert delivered.events == [b"3"]
    in_flight.add(fix(b"4"), comes_back=True, late=True)
    assert delivered.events == [b"3", b"4"]
    received(in_flight, b"2")  # it was published after all, by a retry
    assert delivered.events == [b"3", b"4", b"2"]


def test_an_event_that_is_withdrawn_is_not_delivered(
    in_flight: InFlight, delivered: Delivered
) -> None:
    published(in_flight, b"1", b"2")
    in_flight.withdraw(CHANNEL, b"1")
    in_flight.withdraw(CHANNEL, b"1")
    in_flight.withdraw("another", b"1")
    in_flight.disconnected()
    assert delivered.events == [b"2"]


def test_an_older_event_of_another_server_is_ignored_after_one_that_was_bypassed(
    in_flight: InFlight, delivered: Delivered
) -> None:
    fixes = [payload(seconds=seconds) for seconds in range(5)]
    in_flight.add(fixes[2], comes_back=True)
    in_flight.bypass(CHANNEL, fixes[2].event)
    received(in_flight, fixes[1].event)
    assert delivered.events == [fixes[2].event]
    in_flight.add(fixes[0], comes_back=True)  # this server's own come in any order
    received(in_flight, fixes[0].event, fixes[2].event, fixes[1].event)
    assert delivered.events == [fixes[n].event for n in (2, 0)]
    received(in_flight, fixes[3].event, fixes[1].event)
    assert delivered.events == [fixes[n].event for n in (2, 0, 3, 1)]


def test_events_with_one_timestamp_do_not_let_older_ones_pass(
    in_flight: InFlight, delivered: Delivered
) -> None:
    older, first, second = payload(seconds=1), payload(seconds=2), payload(seconds=2, latitude=1.5)
    for each in (first, second):
        in_flight.add(each, comes_back=True)
        in_flight.bypass(CHANNEL, each.event)
    received(in_flight, first.event, older.event)
    assert delivered.events == [first.event, second.event]


def test_an_event_that_was_bypassed_holds_back_older_ones_for_a_while(
    in_flight: InFlight, delivered: Delivered, clock: FakeClock
) -> None:
    older, newer, other = payload(seconds=1), payload(seconds=2), payload("v2")
    for each in (newer, other):
        in_flight.add(each, comes_back=True)
        in_flight.bypass(each.channel, each.event)
        clock.advance(REMEMBER_SECONDS / 2 + 1)
    in_flight.add(other, comes_back=True)
    in_flight.bypass(other.channel, other.event)  # drops what is too old
    received(in_flight, older.event)
    assert delivered.events[-1] == older.event


def test_channels_are_independent(in_flight: InFlight, delivered: Delivered) -> None:
    published(in_flight, b"1")
    in_flight.add(fix(b"1", "another"), comes_back=True)
    in_flight.bypass("another", b"1")
    received(in_flight, b"1")
    assert delivered.events == [b"1", b"1"]


def test_nothing_is_expected_on_a_channel_that_is_forgotten(
    in_flight: InFlight, delivered: Delivered
) -> None:
    published(in_flight, b"1")
    in_flight.forget(CHANNEL)
    in_flight.forget(CHANNEL)
    in_flight.disconnected()
    assert delivered.events == []


def test_an_event_that_was_delivered_directly_holds_back_older_ones_for_a_moment(
    in_flight: InFlight, delivered: Delivered, clock: FakeClock
) -> None:
    older, newer = payload(seconds=1).event, payload(seconds=2).event
    published(in_flight, newer)
    in_flight.disconnected()
    received(in_flight, older)
    assert delivered.events == [newer]
    clock.advance(REMEMBER_SECONDS + 1)
    received(in_flight, older)  # of a device whose clock is behind
    assert delivered.events == [newer, older]


def test_memory_is_bounded(
    in_flight: InFlight,
    delivered: Delivered,
    incidents: Incidents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_BYPASSED", 10)
    events = [b"%d" % number for number in range(MAX_EXPECTED + 5)]
    published(in_flight, *events)
    in_flight.disconnected()
    assert delivered.events == events[5:]
    received(in_flight, *events)
    assert delivered.events == events[5:] + events[:-10]  # only the last ten are remembered
    assert incidents.counts == {
        "limit core.publish.in_flight.MAX_EXPECTED reached": 5,
        "limit core.publish.in_flight.MAX_BYPASSED reached": MAX_EXPECTED - 10,
    }


def test_what_is_remembered_no_longer_than_it_should_be_is_no_incident(
    in_flight: InFlight, clock: FakeClock, incidents: Incidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYPASSED", 1)
    for event in (b"1", b"2"):
        published(in_flight, event)
        in_flight.bypass(CHANNEL, event)
        clock.advance(REMEMBER_SECONDS + 1)
    assert incidents.counts == {}


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_duplicated_or_reordered(
    in_flight: InFlight, delivered: Delivered, seed: int
) -> None:
    chance = random.Random(seed)
    events = [b"%03d" % number for number in range(200)]
    returning: list[bytes] = []
    lost = False
    for event in events:
        published(in_flight, event)
        fate = chance.random()
        if fate < 0.1:  # the fan-out disconnects, and may lose what it holds
            lost = chance.random() < 0.5
            in_flight.disconnected()
            if lost:
                returning.clear()
        elif fate < 0.2:
            in_flight.reconnected()
        if in_flight.connected and fate > 0.3:
            returning.append(event)
        elif in_flight.connected:
            in_flight.bypass(CHANNEL, event)  # it refuses this one
            if chance.random() < 0.5:
                returning.append(event)  # and sends it all the same
        while returning and chance.random() < 0.6:
            received(in_flight, returning.pop(0))
    received(in_flight, *returning)
    in_flight.disconnected()
    assert delivered.events == events
