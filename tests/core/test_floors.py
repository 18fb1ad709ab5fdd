"""Nothing older follows what a watcher was shown from the cache, for a moment."""

from __future__ import annotations

import pytest

from atriz_realtime.core.floors import HOLD_SECONDS, Floors, event_time
from atriz_realtime.testing import FakeClock, payload

ROOM = "vehicle:v1"


def event(seconds: float, latitude: float = 0.0) -> bytes:
    return payload(seconds=seconds, latitude=latitude).event


@pytest.fixture
def floors(clock: FakeClock) -> Floors:
    return Floors(clock)


def test_without_floors_nobody_is_spared(floors: Floors) -> None:
    assert not floors
    assert floors.spared(ROOM, event(0)) == set()


def test_a_member_is_spared_the_event_itself_and_what_is_older(floors: Floors) -> None:
    floors.raise_to(ROOM, "sid", event(5))
    assert floors.spared(ROOM, event(4)) == {"sid"}
    assert floors.spared(ROOM, event(5)) == {"sid"}
    assert floors.spared("vehicle:v2", event(4)) == set()


def test_another_fix_of_the_same_second_is_let_through(floors: Floors) -> None:
    floors.raise_to(ROOM, "sid", event(5))
    assert floors.spared(ROOM, event(5, latitude=1)) == set()
    assert floors.spared(ROOM, event(4)) == {"sid"}


def test_a_newer_event_ends_it(floors: Floors) -> None:
    floors.raise_to(ROOM, "sid", event(5))
    assert floors.spared(ROOM, event(6)) == set()
    assert not floors
    assert floors.spared(ROOM, event(4)) == set()


def test_everyone_can_be_spared(floors: Floors) -> None:
    floors.raise_to(ROOM, None, event(5))
    floors.raise_to(ROOM, "sid", event(3))
    assert floors.spared(ROOM, event(4)) == {None}
    assert floors.spared(ROOM, event(2)) == {None}


def test_time_ends_it(floors: Floors, clock: FakeClock) -> None:
    floors.raise_to(ROOM, "one", event(5))
    clock.advance(HOLD_SECONDS / 2)
    floors.raise_to(ROOM, "two", event(5))
    clock.advance(HOLD_SECONDS / 2 + 0.1)
    assert floors.spared(ROOM, event(4)) == {"two"}
    clock.advance(HOLD_SECONDS)
    assert floors.spared(ROOM, event(4)) == set()
    assert not floors


def test_the_last_floor_counts_for_its_whole_time(floors: Floors, clock: FakeClock) -> None:
    floors.raise_to(ROOM, "sid", event(5))
    clock.advance(HOLD_SECONDS - 0.1)
    floors.raise_to(ROOM, "sid", event(7))
    clock.advance(0.2)
    assert floors.spared(ROOM, event(6)) == {"sid"}


def test_a_room_can_be_forgotten(floors: Floors, clock: FakeClock) -> None:
    floors.raise_to(ROOM, "sid", event(5))
    floors.forget(ROOM)
    floors.forget(ROOM)
    assert not floors
    floors.raise_to(ROOM, "sid", event(7))
    clock.advance(HOLD_SECONDS + 1)
    assert floors.spared(ROOM, event(6)) == set()


@pytest.mark.parametrize(
    "foreign", [b"", b"\xff", b"[]", b"{}", b'{"location":1}', b'{"location":{}}', b"null"]
)
def test_what_another_program_wrote_has_no_time(floors: Floors, foreign: bytes) -> None:
    assert event_time(foreign) == ""
    floors.raise_to(ROOM, "sid", event(5))
    assert floors.spared(ROOM, foreign) == {"sid"}
