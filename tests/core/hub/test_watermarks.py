"""What a watcher was shown from the cache does not come again, and nothing older for a moment."""

from __future__ import annotations

import pytest

from atriz_realtime.core.hub.watermarks import HOLD_SECONDS, Watermarks, event_time
from atriz_realtime.testing import FakeClock, payload

ROOM = "vehicle:v1"


def event(seconds: float, latitude: float = 0.0) -> bytes:
    return payload(seconds=seconds, latitude=latitude).event


@pytest.fixture
def watermarks(clock: FakeClock) -> Watermarks:
    return Watermarks(clock)


def test_without_watermarks_no_socket_is_skipped(watermarks: Watermarks) -> None:
    assert watermarks.already_seen(ROOM, event(0)) == set()
    assert watermarks.sent(ROOM, "sid") == []


def test_a_member_skips_the_event_itself_and_older_ones(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, "sid", event(5))
    assert watermarks.already_seen(ROOM, event(4)) == {"sid"}
    assert watermarks.already_seen(ROOM, event(5)) == {"sid"}
    assert watermarks.already_seen("vehicle:v2", event(4)) == set()


def test_another_fix_of_the_same_second_is_let_through(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, "sid", event(5))
    assert watermarks.sent(ROOM, "sid") == [event(5)]
    assert watermarks.already_seen(ROOM, event(5, latitude=1)) == set()
    assert watermarks.sent(ROOM, "sid") == []
    assert watermarks.already_seen(ROOM, event(4)) == {"sid"}


def test_an_event_follows_another_of_the_same_second_once_more(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, "sid", event(5))
    assert watermarks.already_seen(ROOM, event(5, latitude=1)) == set()
    assert watermarks.already_seen(ROOM, event(5)) == set()
    assert watermarks.sent(ROOM, "sid") == [event(5)]
    assert watermarks.already_seen(ROOM, event(5)) == {"sid"}


def test_a_newer_event_ends_it(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, "sid", event(5))
    assert watermarks.already_seen(ROOM, event(6)) == set()
    assert watermarks.by_room == {}
    assert watermarks.already_seen(ROOM, event(4)) == set()


def test_all_members_can_be_skipped(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, None, event(5))
    watermarks.advance(ROOM, "sid", event(3))
    assert watermarks.already_seen(ROOM, event(4)) == {None}
    assert watermarks.already_seen(ROOM, event(2)) == {None}


def test_older_events_pass_after_a_moment(watermarks: Watermarks, clock: FakeClock) -> None:
    watermarks.advance(ROOM, "one", event(5))
    clock.advance(HOLD_SECONDS / 2)
    watermarks.advance(ROOM, "two", event(5))
    clock.advance(HOLD_SECONDS / 2 + 0.1)
    assert watermarks.already_seen(ROOM, event(4)) == {"two"}
    clock.advance(HOLD_SECONDS)
    assert watermarks.already_seen(ROOM, event(4)) == set()
    assert watermarks.already_seen(ROOM, event(5)) == {"one", "two"}


def test_older_events_can_be_held_back_anew(watermarks: Watermarks, clock: FakeClock) -> None:
    watermarks.advance(ROOM, "sid", event(5))
    clock.advance(HOLD_SECONDS + 1)
    watermarks.hold("vehicle:v2")
    assert watermarks.already_seen(ROOM, event(4)) == set()
    watermarks.hold(ROOM)
    assert watermarks.already_seen(ROOM, event(4)) == {"sid"}


def test_it_says_what_a_member_and_the_room_were_sent(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, None, event(5))
    watermarks.advance(ROOM, "sid", event(6))
    assert watermarks.sent(ROOM, "sid") == [event(6), event(5)]
    assert set(watermarks.sent(ROOM, "other")) == {event(5)}


def test_members_share_what_they_were_sent(watermarks: Watermarks) -> None:
    for sid in ("one", "two", "three"):
        watermarks.advance(ROOM, sid, event(5))
    copies = {id(watermark.event) for watermark in watermarks.by_room[ROOM].values()}
    assert len(copies) == 1


def test_the_last_watermark_lasts_for_its_whole_time(
    watermarks: Watermarks, clock: FakeClock
) -> None:
    watermarks.advance(ROOM, "sid", event(5))
    clock.advance(HOLD_SECONDS - 0.1)
    watermarks.advance(ROOM, "sid", event(7))
    clock.advance(0.2)
    assert watermarks.already_seen(ROOM, event(6)) == {"sid"}


def test_a_member_can_be_forgotten(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, "one", event(5))
    watermarks.advance(ROOM, "two", event(5))
    watermarks.forget(ROOM, "one")
    watermarks.forget(ROOM, "one")
    assert watermarks.already_seen(ROOM, event(4)) == {"two"}
    watermarks.advance(ROOM, None, event(6))
    watermarks.forget(ROOM, "two")
    assert watermarks.already_seen(ROOM, event(4)) == {None}
    watermarks.forget(ROOM, None)
    assert watermarks.by_room == {}


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"location":1}',
        b'{"location":{}}',
        b'{"location":{"timestamp":"zzz"}}',
        b"null",
    ],
)
def test_what_another_program_wrote_has_no_time(watermarks: Watermarks, foreign: bytes) -> None:
    assert event_time(foreign) == ""
    watermarks.advance(ROOM, "sid", event(5))
    assert watermarks.already_seen(ROOM, foreign) == {"sid"}
