"""What a watcher was shown from the cache does not come again, and nothing older for a moment."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import pytest

from atriz_realtime.core.hub.watermarks import HOLD_SECONDS, Watermarks, event_time
from atriz_realtime.testing import FakeClock, payload

ROOM = "vehicle:v1"


def event(seconds: float, latitude: float = 0.0) -> bytes:
    return payload(seconds=seconds, latitude=latitude).event


def seen(watermarks: Watermarks, event: bytes) -> AbstractSet[str | None]:
    """Who must not get an event."""
    return watermarks.already_seen(ROOM, event, event_time(event))


def had(watermarks: Watermarks, sid: str | None) -> tuple[bytes, bool] | None:
    """What a member had from the cache, and whether it was the last that it was sent."""
    watermark = watermarks.of(ROOM, sid)
    return None if watermark is None else (watermark.event, watermark.is_last)


@pytest.fixture
def watermarks(clock: FakeClock) -> Watermarks:
    return Watermarks(clock)


def test_without_watermarks_no_socket_is_skipped(watermarks: Watermarks) -> None:
    assert seen(watermarks, event(0)) == set()
    assert had(watermarks, "sid") is None


def test_a_member_skips_the_event_itself_and_older_ones(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, "sid", event(5))
    assert seen(watermarks, event(4)) == {"sid"}
    assert seen(watermarks, event(5)) == {"sid"}
    assert watermarks.already_seen("vehicle:v2", event(4), event_time(event(4))) == set()


def test_another_fix_of_the_same_second_is_let_through(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, "sid", event(5))
    assert had(watermarks, "sid") == (event(5), True)
    assert seen(watermarks, event(5, latitude=1)) == set()
    assert had(watermarks, "sid") == (event(5), False)
    assert seen(watermarks, event(4)) == {"sid"}


def test_an_event_follows_another_of_the_same_second_once_more(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, "sid", event(5))
    assert seen(watermarks, event(5, latitude=1)) == set()
    assert seen(watermarks, event(5)) == set()
    assert had(watermarks, "sid") == (event(5), True)
    assert seen(watermarks, event(5)) == {"sid"}


def test_a_newer_event_ends_it(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, "sid", event(5))
    assert seen(watermarks, event(6)) == set()
    assert watermarks.by_room == {}
    assert seen(watermarks, event(4)) == set()


def test_all_members_can_be_skipped(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, None, event(5))
    watermarks.advance(ROOM, "sid", event(3))
    assert seen(watermarks, event(4)) == {None}
    assert seen(watermarks, event(2)) == {None}


def test_older_events_pass_after_a_moment(watermarks: Watermarks, clock: FakeClock) -> None:
    watermarks.advance(ROOM, "one", event(5))
    clock.advance(HOLD_SECONDS / 2)
    watermarks.advance(ROOM, "two", event(5))
    clock.advance(HOLD_SECONDS / 2 + 0.1)
    assert seen(watermarks, event(4)) == {"two"}
    clock.advance(HOLD_SECONDS)
    assert seen(watermarks, event(4)) == set()


def test_an_event_follows_an_older_one_that_passed_once_more(
    watermarks: Watermarks, clock: FakeClock
) -> None:
    watermarks.advance(ROOM, "one", event(5))
    clock.advance(HOLD_SECONDS)
    watermarks.advance(ROOM, "two", event(5))
    clock.advance(0.1)
    assert seen(watermarks, event(4)) == {"two"}
    assert [had(watermarks, sid) for sid in ("one", "two")] == [(event(5), False), (event(5), True)]
    assert seen(watermarks, event(5)) == {"two"}
    assert seen(watermarks, event(5)) == {"one", "two"}


def test_older_events_can_be_held_back_anew(watermarks: Watermarks, clock: FakeClock) -> None:
    watermarks.advance(ROOM, "sid", event(5))
    clock.advance(HOLD_SECONDS + 1)
    watermarks.hold("vehicle:v2")
    assert seen(watermarks, event(4)) == set()
    watermarks.hold(ROOM)
    assert seen(watermarks, event(4)) == {"sid"}


def test_it_says_what_a_member_and_the_room_were_sent(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, None, event(5))
    watermarks.advance(ROOM, "sid", event(6))
    assert had(watermarks, "sid") == (event(6), True)
    assert had(watermarks, None) == (event(5), True)
    assert had(watermarks, "other") is None


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
    assert seen(watermarks, event(6)) == {"sid"}


def test_a_member_can_be_forgotten(watermarks: Watermarks) -> None:
    watermarks.advance(ROOM, "one", event(5))
    watermarks.advance(ROOM, "two", event(5))
    watermarks.forget(ROOM, "one")
    watermarks.forget(ROOM, "one")
    assert seen(watermarks, event(4)) == {"two"}
    watermarks.advance(ROOM, None, event(6))
    watermarks.forget(ROOM, "two")
    assert seen(watermarks, event(4)) == {None}
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
    assert event_time(foreign) == b""
    watermarks.advance(ROOM, "sid", event(5))
    assert seen(watermarks, foreign) == {"sid"}


@pytest.mark.parametrize(
    "fix",
    [
        b'{"location":{"timestamp":"2026-01-31T12:00:05.000Z"}}',
        b'{"location": {"timestamp": "2026-01-31T12:00:05.000Z"}}',
        b'{"location":{"metadata":{"timestamp":"9"},"timestamp":"2026-01-31T12:00:05.000Z"}}',
        b'{"location":{"timestamp":"2026-01-31T12:00:05.000Z","metadata":{"\\"timestamp":"9"}}}',
        b'{"location":{"timestamp":"2026-01-31T12:00:05.000Z","deviceId":"\\"timestamp\\":\\"9"}}',
    ],
)
def test_the_time_of_a_fix_is_its_locations(fix: bytes) -> None:
    assert event_time(fix) == b"2026-01-31T12:00:05.000Z"
