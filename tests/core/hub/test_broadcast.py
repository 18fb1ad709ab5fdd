"""Locations to the members of entities' rooms."""

from __future__ import annotations

from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.testing import payload, until
from tests.core.parts import Hub


def event(number: int) -> bytes:
    return b'{"n":%d,"location":{"timestamp":"2026-01-31T12:00:%02d.000Z"}}' % (number, number)


def frame(number: int) -> str:
    return f'2["location:update",{event(number).decode()}]'


async def test_an_event_reaches_the_members_of_its_room(hub: Hub) -> None:
    one, two, other = [await hub.connect() for _ in range(3)]
    hub.enter(one, "vehicle:v1")
    hub.enter(two, "vehicle:v1")
    hub.broadcaster.broadcast("vehicle:v1", event(1))
    hub.broadcaster.broadcast("vehicle:nobody", event(1))
    assert one.frames == two.frames == [frame(1)]
    assert other.frames == []
    assert hub.broadcaster.statistics() == {"queued": 2, "conflated": 0}
    assert hub.broadcaster.newest("vehicle:v1") == event(1)
    assert hub.broadcaster.newest("vehicle:nobody") is None


async def test_a_member_whose_connection_is_not_accepted_yet_gets_the_answer_first(
    hub: Hub,
) -> None:
    member = await hub.connect()
    hub.enter(member, "vehicle:v1")
    hub.rooms.unconfirmed[member.sid] = []
    hub.broadcaster.broadcast("vehicle:v1", event(1))
    assert member.frames == []
    hub.rooms.accept(member.sid, DEFAULT_NAMESPACE, Packet(b"40"))
    await until(lambda: member.count() == 2)
    assert member.frames == ["0", frame(1)]


async def test_the_same_event_twice_in_a_row_is_sent_once(hub: Hub) -> None:
    member = await hub.connect()
    hub.enter(member, "vehicle:v1")
    for number in (1, 1, 2, 2, 1):
        hub.broadcaster.broadcast("vehicle:v1", event(number))
    assert member.frames == [frame(1), frame(2), frame(1)]


async def test_only_a_lagging_member_gets_fewer_frames() -> None:
    hub = Hub(max_pending_frames=2)
    slow, quick = await hub.connect(), await hub.connect()
    received = []
    for member in (slow, quick):
        hub.enter(member, "vehicle:v1")
    slow.session.hold()
    for number in range(10):
        hub.broadcaster.broadcast("vehicle:v1", event(number))
        received += quick.frames
    assert received == [frame(number) for number in range(10)]
    assert hub.broadcaster.statistics() == {"queued": 20, "conflated": 9}
    slow.session.release()
    assert slow.frames == [frame(9)]
    assert hub.broadcaster.statistics() == {"queued": 20, "conflated": 9}


async def test_bytes_that_are_no_text_do_not_stop_what_follows(hub: Hub) -> None:
    member = await hub.connect()
    hub.enter(member, "vehicle:v1")
    hub.broadcaster.broadcast("vehicle:v1", b"\xff\xfe")
    hub.broadcaster.broadcast("vehicle:v1", event(1))
    assert member.frames[-1] == frame(1)


async def test_nothing_older_follows_the_current_location(hub: Hub) -> None:
    new, old = await hub.connect(), await hub.connect()
    hub.enter(old, "vehicle:v1")
    hub.enter(new, "vehicle:v1")
    hub.broadcaster.send_current(new.sid, "vehicle:v1", event(5))
    for number in (3, 4, 5, 6):  # still on their way when the cache was read
        hub.broadcaster.broadcast("vehicle:v1", event(number))
    assert new.frames == [frame(5), frame(6)]
    assert old.frames == [frame(3), frame(4), frame(5), frame(6)]


async def test_the_current_location_follows_an_older_one_of_the_same_second(hub: Hub) -> None:
    older, newer = (payload(seconds=5, speed=speed).event for speed in (1.0, 2.0))
    member = await hub.connect()
    hub.enter(member, "vehicle:v1")
    hub.broadcaster.send_current(
        member.sid, "vehicle:v1", newer
    )  # it is cached, and held or on its way
    hub.broadcaster.broadcast("vehicle:v1", older)
    hub.broadcaster.broadcast("vehicle:v1", newer)
    sent = [f'2["location:update",{each.decode()}]' for each in (newer, older, newer)]
    assert member.frames == sent


async def test_a_whole_room_is_sent_the_current_location_once(hub: Hub) -> None:
    member = await hub.connect()
    hub.enter(member, "vehicle:v1")
    hub.broadcaster.broadcast("vehicle:v1", event(3))
    shown = [hub.broadcaster.broadcast_current("vehicle:v1", event(number)) for number in (2, 3, 5)]
    assert shown == [False, False, True]
    hub.broadcaster.broadcast("vehicle:v1", event(4))
    hub.broadcaster.broadcast("vehicle:v1", event(5))
    hub.broadcaster.broadcast("vehicle:v1", event(6))
    assert member.frames == [frame(3), frame(5), frame(6)]


async def test_older_fixes_follow_after_a_moment(hub: Hub) -> None:
    member = await hub.connect()
    hub.enter(member, "vehicle:v1")
    hub.broadcaster.send_current(member.sid, "vehicle:v1", event(5))
    hub.clock.advance(60)
    hub.broadcaster.broadcast("vehicle:v1", event(4))  # a device whose clock was set back
    assert member.frames == [frame(5), frame(4)]


async def test_a_socket_that_has_left_is_not_sent_the_current_location(hub: Hub) -> None:
    member, other = await hub.connect(), await hub.connect()
    hub.enter(member, "vehicle:v1")
    hub.enter(other, "vehicle:v1")
    hub.leave(member, "vehicle:v1")
    hub.broadcaster.send_current(member.sid, "vehicle:v1", event(1))
    hub.leave(other, "vehicle:v1")
    hub.broadcaster.send_current(other.sid, "vehicle:v1", event(1))
    assert (member.frames, other.frames) == ([], [])


# -- what the cache gives after a gap, or again --------------------------------------------


def after_gap(hub: Hub, number: int) -> bool:
    """The current location is read again, long after it was sent."""
    hub.clock.advance(60)
    return hub.broadcaster.broadcast_current("vehicle:v1", event(number))


async def test_a_gap_does_not_send_the_current_location_again(hub: Hub) -> None:
    one, two = await hub.connect(), await hub.connect()
    for member in (one, two):
        hub.enter(member, "vehicle:v1")
        hub.broadcaster.send_current(member.sid, "vehicle:v1", event(1))
    assert not after_gap(hub, 1)
    assert one.frames == two.frames == [frame(1)]
    assert after_gap(hub, 2)
    assert one.frames == two.frames == [frame(2)]
    assert not after_gap(hub, 2)


async def test_a_gap_sends_the_current_location_to_those_who_have_not_had_it(hub: Hub) -> None:
    """One was sent an older one, one had an older fix live, one joined without ``track``."""
    earlier, older, same, plugins = [await hub.connect() for _ in range(4)]
    hub.enter(earlier, "vehicle:v1")
    hub.broadcaster.broadcast("vehicle:v1", event(1))
    hub.enter(older, "vehicle:v1")
    hub.broadcaster.send_current(older.sid, "vehicle:v1", event(2))
    hub.enter(same, "vehicle:v1")
    hub.broadcaster.send_current(same.sid, "vehicle:v1", event(3))
    hub.enter(plugins, "vehicle:v1")
    assert after_gap(hub, 3)
    assert earlier.frames == [frame(1), frame(3)]
    assert older.frames == [frame(2), frame(3)]
    assert same.frames == plugins.frames == [frame(3)]


async def test_a_gap_sends_nobody_an_older_location_than_it_has_had(hub: Hub) -> None:
    """The cache may have lost its newest: a replica that is behind has taken over."""
    one, two = await hub.connect(), await hub.connect()
    for member, number in ((one, 5), (two, 3)):
        hub.enter(member, "vehicle:v1")
        hub.broadcaster.send_current(member.sid, "vehicle:v1", event(number))
    assert after_gap(hub, 4)
    assert one.frames == [frame(5)]
    assert two.frames == [frame(3), frame(4)]


async def test_a_gap_brings_the_newest_to_all_who_had_an_older_fix_last(hub: Hub) -> None:
    """It does not matter whether they had it live or from the cache."""
    live, cached, new = [await hub.connect() for _ in range(3)]
    hub.enter(live, "vehicle:v1")
    hub.broadcaster.broadcast("vehicle:v1", event(5))
    hub.enter(cached, "vehicle:v1")
    hub.broadcaster.send_current(cached.sid, "vehicle:v1", event(5))
    hub.clock.advance(60)
    hub.broadcaster.broadcast("vehicle:v1", event(4))  # of a device whose clock is behind
    hub.enter(new, "vehicle:v1")
    hub.broadcaster.send_current(new.sid, "vehicle:v1", event(5))
    assert after_gap(hub, 5)
    assert not after_gap(hub, 5)
    assert live.frames == cached.frames == [frame(5), frame(4), frame(5)]
    assert new.frames == [frame(5)]


async def test_a_gap_brings_nothing_older_than_went_out(hub: Hub) -> None:
    """The cache was read before the newest was written."""
    member = await hub.connect()
    hub.enter(member, "vehicle:v1")
    for number in (5, 6):
        hub.broadcaster.broadcast("vehicle:v1", event(number))
    assert not after_gap(hub, 5)
    hub.broadcaster.broadcast("vehicle:v1", event(4))  # of a device whose clock is behind
    assert after_gap(hub, 5)
    assert member.frames == [frame(5), frame(6), frame(4), frame(6)]


async def test_what_a_gap_holds_back_was_not_sent(hub: Hub) -> None:
    member = await hub.connect()
    hub.enter(member, "vehicle:v1")
    assert after_gap(hub, 5)
    hub.broadcaster.broadcast("vehicle:v1", event(4))  # was on its way
    assert not after_gap(hub, 5)
    assert member.frames == [frame(5)]


async def test_the_current_location_comes_live_after_a_late_older_fix(hub: Hub) -> None:
    """All watchers see the two in one order, and end with the newest."""
    old, new = await hub.connect(), await hub.connect()
    hub.enter(old, "vehicle:v1")
    hub.enter(new, "vehicle:v1")
    hub.broadcaster.send_current(new.sid, "vehicle:v1", event(5))  # held by the throttle
    hub.clock.advance(60)
    for number in (4, 5):
        hub.broadcaster.broadcast("vehicle:v1", event(number))
    assert old.frames == [frame(4), frame(5)]
    assert new.frames == [frame(5), frame(4), frame(5)]


async def test_the_newest_is_not_the_last(hub: Hub) -> None:
    member = await hub.connect()
    hub.enter(member, "vehicle:v1")
    for number in (4, 5, 3):
        hub.broadcaster.broadcast("vehicle:v1", event(number))
    assert hub.broadcaster.newest("vehicle:v1", member.sid) == event(5)
    equal = event(5).replace(b'"n":5', b'"n":6')
    hub.broadcaster.broadcast("vehicle:v1", equal)  # equally new
    assert hub.broadcaster.newest("vehicle:v1", member.sid) == equal


async def test_what_anybody_has_had_is_newer_live_or_from_the_cache(hub: Hub) -> None:
    one, two = await hub.connect(), await hub.connect()
    assert not hub.broadcaster.has_newer("vehicle:v1", event(1))
    for member in (one, two):
        hub.enter(member, "vehicle:v1")
    for number in (3, 2):
        hub.broadcaster.broadcast("vehicle:v1", event(number))
    hub.broadcaster.send_current(one.sid, "vehicle:v1", event(5))
    newer = [hub.broadcaster.has_newer("vehicle:v1", event(number)) for number in (2, 4, 5)]
    assert newer == [True, True, False]
    hub.leave(one, "vehicle:v1")
    newer = [hub.broadcaster.has_newer("vehicle:v1", event(number)) for number in (2, 3, 4)]
    assert newer == [True, False, False]


async def test_a_member_is_sent_what_the_room_has_had_if_the_cache_is_behind(hub: Hub) -> None:
    one, two = await hub.connect(), await hub.connect()
    hub.enter(one, "vehicle:v1")
    hub.broadcaster.broadcast("vehicle:v1", event(5))  # could not be cached
    hub.enter(two, "vehicle:v1")
    for member in (one, two):
        hub.broadcaster.send_current(member.sid, "vehicle:v1", event(4))
    assert one.frames == [frame(5), frame(5)]
    assert two.frames == [frame(5)]


async def test_the_newest_of_a_member_is_live_or_from_the_cache(hub: Hub) -> None:
    one, two = await hub.connect(), await hub.connect()
    for member in (one, two):
        hub.enter(member, "vehicle:v1")
    assert hub.broadcaster.newest("vehicle:v1", one.sid) is None
    hub.broadcaster.broadcast("vehicle:v1", event(4))
    hub.broadcaster.send_current(one.sid, "vehicle:v1", event(5))
    newest = [hub.broadcaster.newest("vehicle:v1", member.sid) for member in (one, two)]
    assert newest == [event(5), event(4)]


async def test_members_that_leave_are_forgotten(hub: Hub) -> None:
    members = [await hub.connect() for _ in range(3)]
    for member in members:
        hub.enter(member, "vehicle:v1")
        hub.broadcaster.send_current(member.sid, "vehicle:v1", event(1))
    hub.leave(members[0], "vehicle:v1")
    await hub.disconnect(members[1])
    watermarks = hub.broadcaster._watermarks.by_room
    assert watermarks["vehicle:v1"].keys() == {members[2].sid}
    hub.broadcaster.broadcast_current("vehicle:v1", event(2))
    hub.leave(members[2], "vehicle:v1")
    assert not hub.broadcaster.broadcast_current("vehicle:v1", event(3))
    assert watermarks == {}
