"""Locations to the members of entities' rooms."""

from __future__ import annotations

from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.testing import until
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
    assert hub.broadcaster.last("vehicle:v1") == event(1)
    assert hub.broadcaster.last("vehicle:nobody") is None


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


async def test_watermarks_expire(hub: Hub) -> None:
    member = await hub.connect()
    hub.enter(member, "vehicle:v1")
    hub.broadcaster.send_current(member.sid, "vehicle:v1", event(5))
    hub.clock.advance(60)
    hub.broadcaster.broadcast("vehicle:v1", event(4))  # a device whose clock was set back
    assert member.frames == [frame(5), frame(4)]
    assert not hub.broadcaster._watermarks


async def test_a_socket_that_has_left_is_not_sent_the_current_location(hub: Hub) -> None:
    member, other = await hub.connect(), await hub.connect()
    hub.enter(member, "vehicle:v1")
    hub.enter(other, "vehicle:v1")
    hub.leave(member, "vehicle:v1")
    hub.broadcaster.send_current(member.sid, "vehicle:v1", event(1))
    hub.leave(other, "vehicle:v1")
    hub.broadcaster.send_current(other.sid, "vehicle:v1", event(1))
    assert (member.frames, other.frames) == ([], [])
