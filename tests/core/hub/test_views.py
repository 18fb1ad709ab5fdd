"""Who sees what otherwise than it was published, and what that costs the others."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from atriz_realtime.api import EntityRef, Identity, LocationEvent, View, encode
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE
from atriz_realtime.core.hub.views import Views
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.testing import location
from tests.core.parts import Hub, Member
from tests.support.servers.serving import until

ROOM = "vehicle:v1"
VEHICLE = EntityRef("vehicle", "v1")
ME = Identity(user_id="u1")


@attrs.define(eq=False)
class Marks:
    """Views that write their name into the device's."""

    made: list[str] = attrs.field(factory=list)

    def view(self, name: str, order: int = 0, *, users: str = "u1") -> View:
        async def applies(identity: Identity, _: EntityRef) -> bool:
            return identity.user_id in users.split()

        def apply(event: LocationEvent) -> LocationEvent:
            self.made.append(name)
            device = f"{event.location.device_id}+{name}"
            return attrs.evolve(event, location=attrs.evolve(event.location, device_id=device))

        return View(name, applies, apply, order=order)


@pytest.fixture
def marks() -> Marks:
    return Marks()


def access_of(hub: Hub) -> AccessControl:
    return AccessControl(hub.registry, hub.plugin_runner, hub.incidents, hub.clock, hub.views)


@pytest.fixture
async def hub(marks: Marks) -> Hub:
    """A hub with two views: ``a`` applies to u1, u2 and u3, ``b`` to u2 and u3."""
    return Hub(marks.view("a", users="u1 u2 u3"), marks.view("b", users="u2 u3"))


@pytest.fixture
def views(hub: Hub) -> Views:
    assert hub.views is not None
    return hub.views


async def enter(hub: Hub, views: Views, user: str) -> Member:
    """A watcher, with the views that apply to a user."""
    member = await hub.connect()
    views.set(ROOM, member.sid, await views.chain(Identity(user_id=user), VEHICLE))
    hub.enter(member, ROOM)
    return member


def fix(second: int = 0) -> bytes:
    time = datetime(2026, 1, 31, 12, 0, second, tzinfo=UTC)
    return encode(LocationEvent(VEHICLE, location(device_id="d1", timestamp=time))).event


def frame(event: bytes, device: str = "d1") -> str:
    return f'2["location:update",{event.decode()}]'.replace('"d1"', f'"{device}"')


async def test_without_views_a_location_stays_as_it_is() -> None:
    assert await access_of(Hub()).shown(ME, VEHICLE, b"anything") == b"anything"


async def test_what_several_share_is_made_once(hub: Hub, views: Views, marks: Marks) -> None:
    members = [await enter(hub, views, user) for user in ("u1", "u2", "u3", "u1", "other")]
    hub.broadcaster.broadcast(ROOM, fix())
    seen = [member.frames for member in members]
    one, both = frame(fix(), "d1+a"), frame(fix(), "d1+a+b")
    assert seen == [[one], [both], [both], [one], [frame(fix())]]
    assert marks.made == ["a", "b"]
    assert hub.broadcaster.statistics()["queued"] == len(members)


async def test_the_same_again_is_sent_once(hub: Hub, views: Views, marks: Marks) -> None:
    member = await enter(hub, views, "u1")
    hub.broadcaster.broadcast(ROOM, fix())
    hub.broadcaster.broadcast(ROOM, fix())
    assert member.frames == [frame(fix(), "d1+a")]
    assert marks.made == ["a"]


async def test_what_was_shown_is_not_followed_by_older(hub: Hub, views: Views) -> None:
    member = await enter(hub, views, "u1")
    hub.broadcaster.send_current(member.sid, ROOM, fix(5))
    for second in (4, 5, 6):
        hub.broadcaster.broadcast(ROOM, fix(second))
    assert member.frames == [frame(fix(5), "d1+a"), frame(fix(6), "d1+a")]
    assert not hub.broadcaster.broadcast_current(ROOM, fix(5))
    assert hub.broadcaster.broadcast_current(ROOM, fix(7))
    assert member.frames == [frame(fix(7), "d1+a")]


@pytest.mark.parametrize("leave", ["leaves", "goes"])
async def test_a_socket_that_left_leaves_no_state(hub: Hub, views: Views, leave: str) -> None:
    one, two = await enter(hub, views, "u1"), await enter(hub, views, "u2")
    for member in (one, two):
        assert ROOM in views.by_room
        if leave == "leaves":
            hub.leave(member, ROOM)
        else:
            await hub.disconnect(member)
    assert views.by_room == {}
    member = await enter(hub, views, "u1")
    assert not views.set(ROOM, member.sid, await views.chain(ME, VEHICLE))
    assert views.set(ROOM, member.sid, ())
    assert views.by_room == {}
    assert not views.set(ROOM, member.sid, ())


async def test_an_emitted_position_is_shown_like_a_fix(hub: Hub, views: Views) -> None:
    viewer, other, skipped = [await enter(hub, views, user) for user in ("u1", "u9", "u1")]
    data = {"type": "vehicle", "entityId": "v1", "location": location(device_id="d1").to_wire()}
    whole = encode(LocationEvent.from_wire(data)).event
    for room, skip in ((ROOM, skipped.sid), (["elsewhere", ROOM], None)):
        await hub.rooms.emit("location:update", data, DEFAULT_NAMESPACE, room=room, skip_sid=skip)
        assert viewer.frames == [frame(whole, "d1+a")]
        assert other.frames == [frame(whole)]
    assert skipped.frames == [frame(whole, "d1+a")]


@pytest.mark.parametrize("data", [None, "anything", {"type": "vehicle"}, (1, 2), b"binary"])
async def test_an_emit_that_is_no_position_is_not_shown(hub: Hub, views: Views, data: Any) -> None:
    viewer, other = await enter(hub, views, "u1"), await enter(hub, views, "u9")
    await hub.rooms.emit("location:update", data, DEFAULT_NAMESPACE, room=ROOM)
    assert viewer.frames == []
    assert other.frames != []
    assert hub.incidents.counts == {"unreadable fix hidden": 1}


async def test_other_emits_go_out_as_they_are(hub: Hub, views: Views, marks: Marks) -> None:
    viewer, other = await enter(hub, views, "u1"), await enter(hub, views, "u9")
    for event, room in (("news", ROOM), ("location:updated", ROOM), ("location:update", None)):
        await hub.rooms.emit(event, {"n": 1}, DEFAULT_NAMESPACE, room=room)
        assert viewer.frames == other.frames == [f'2["{event}",{{"n":1}}]']
    await hub.rooms.emit("location:update", {"n": 1}, DEFAULT_NAMESPACE, room=viewer.sid)
    assert viewer.frames == ['2["location:update",{"n":1}]']
    assert marks.made == []


async def test_what_another_program_publishes_is_not_shown(hub: Hub, views: Views) -> None:
    viewer, other = await enter(hub, views, "u1"), await enter(hub, views, "u9")
    hub.broadcaster.broadcast(ROOM, b'{"anything":1}')
    assert (viewer.frames, other.frames) == ([], ['2["location:update",{"anything":1}]'])
    assert hub.incidents.counts == {"unreadable fix hidden": 1}


async def test_packets_wait_until_the_socket_is_accepted(hub: Hub, views: Views) -> None:
    member = await enter(hub, views, "u1")
    hub.rooms.unconfirmed[member.sid] = []
    hub.broadcaster.broadcast(ROOM, fix())
    assert member.frames == []
    hub.rooms.accept(member.sid, DEFAULT_NAMESPACE, Packet(b"40"))
    await until(lambda: member.count() == 2)
    assert member.frames == ["0", frame(fix(), "d1+a")]


async def test_a_view_that_cannot_say_in_time_hides() -> None:
    async def never(_: Identity, __: EntityRef) -> bool:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    hub = Hub(View("slow", never, lambda event: event), plugin_timeout=0.05)
    event = LocationEvent(VEHICLE, location())
    assert await access_of(hub).shown(ME, VEHICLE, encode(event).location) is None
    assert hub.incidents.counts == {"plugin plugin-of-slow timed out": 1}
