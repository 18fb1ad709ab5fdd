"""Membership of rooms, and emits: python-socketio's client manager."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import socketio

from atriz_realtime.core.hub.rooms import DEFAULT_NAMESPACE
from atriz_realtime.engine.protocol.packets import Packet
from atriz_realtime.engine.session import State
from tests.core.parts import REQUEST, Hub, Member, Wire, messages
from tests.support.servers.serving import until


def event(number: int) -> bytes:
    return b'{"n":%d,"location":{"timestamp":"2026-01-31T12:00:%02d.000Z"}}' % (number, number)


class Watched:
    """Notes which rooms filled and emptied."""

    def __init__(self, hub: Hub) -> None:
        self.notes: list[str] = []
        hub.rooms.follow(
            lambda room: self.notes.append(f"+{room}"), lambda room: self.notes.append(f"-{room}")
        )


# -- membership ----------------------------------------------------------------------------


async def test_a_socket_is_in_its_own_room(hub: Hub) -> None:
    member = await hub.connect()
    assert hub.rooms.get_rooms(member.sid, DEFAULT_NAMESPACE) == [member.sid]
    assert hub.rooms.is_connected(member.sid, DEFAULT_NAMESPACE)
    assert hub.rooms.sid_from_eio_sid(member.eio_sid, DEFAULT_NAMESPACE) == member.sid
    assert hub.rooms.eio_sid_from_sid(member.sid, DEFAULT_NAMESPACE) == member.eio_sid
    assert hub.rooms.session(member.sid) is member.session
    assert hub.rooms.room_count == 1


async def test_entering_and_leaving(hub: Hub) -> None:
    one, two = await hub.connect(), await hub.connect()
    hub.enter(one, "vehicle:v1")
    hub.enter(one, "vehicle:v1")
    hub.enter(two, "vehicle:v1")
    hub.enter(one, "other")
    assert set(hub.rooms.get_rooms(one.sid, DEFAULT_NAMESPACE)) == {one.sid, "vehicle:v1", "other"}
    assert dict(hub.rooms.get_participants(DEFAULT_NAMESPACE, "vehicle:v1")) == {
        one.sid: one.eio_sid,
        two.sid: two.eio_sid,
    }
    assert hub.rooms.room_count == 4
    hub.leave(one, "vehicle:v1")
    hub.leave(one, "vehicle:v1")
    hub.leave(one, "never entered")
    assert [sid for sid, _ in hub.rooms.get_participants(DEFAULT_NAMESPACE, "vehicle:v1")] == [
        two.sid
    ]
    assert hub.rooms.room_count == 4
    hub.leave(two, "vehicle:v1")
    assert hub.rooms.room_count == 3


async def test_the_room_of_authenticated_sockets_is_not_counted(hub: Hub) -> None:
    member = await hub.connect()
    hub.enter(member, "realtime:authenticated")
    assert hub.rooms.room_count == 1


async def test_first_and_last_members_are_told(hub: Hub) -> None:
    watched = Watched(hub)
    one, two = await hub.connect(), await hub.connect()
    hub.enter(one, "vehicle:v1")
    hub.enter(two, "vehicle:v1")
    hub.leave(one, "vehicle:v1")
    assert watched.notes == ["+vehicle:v1"]
    await hub.disconnect(two)
    assert watched.notes == ["+vehicle:v1", "-vehicle:v1"]
    hub.enter(one, "vehicle:v1")
    await hub.disconnect(one)
    assert watched.notes == ["+vehicle:v1", "-vehicle:v1"] * 2


async def test_whoever_follows_late_is_told_what_is_there(hub: Hub) -> None:
    member = await hub.connect()
    hub.enter(member, "vehicle:v1")
    assert Watched(hub).notes == ["+vehicle:v1"]


async def test_a_socket_cannot_enter_another_s_own_room(hub: Hub) -> None:
    one, two = await hub.connect(), await hub.connect()
    with pytest.raises(ValueError, match="cannot enter a sid room"):
        hub.enter(one, two.sid)


async def test_a_disconnected_socket_cannot_enter_a_room(hub: Hub) -> None:
    member = await hub.connect()
    await hub.disconnect(member)
    with pytest.raises(ValueError, match="not connected"):
        hub.enter(member, "vehicle:v1")
    hub.leave(member, "vehicle:v1")
    assert hub.rooms.get_rooms(member.sid, DEFAULT_NAMESPACE) == []


async def test_closing_a_room(hub: Hub) -> None:
    watched = Watched(hub)
    members = [await hub.connect() for _ in range(3)]
    for member in members:
        hub.enter(member, "vehicle:v1")
    await hub.server.close_room("vehicle:v1")
    assert watched.notes == ["+vehicle:v1", "-vehicle:v1"]
    for member in members:
        assert hub.rooms.get_rooms(member.sid, DEFAULT_NAMESPACE) == [member.sid]
    await hub.server.close_room("vehicle:v1")
    with pytest.raises(ValueError, match="cannot close a sid room"):
        await hub.server.close_room(members[0].sid)


async def test_the_life_of_a_connection(hub: Hub) -> None:
    rooms = hub.rooms
    sid = rooms.register("eio", DEFAULT_NAMESPACE)
    assert sid is not None
    assert not rooms.is_connected(sid, DEFAULT_NAMESPACE)
    assert rooms.register("eio", DEFAULT_NAMESPACE) is None  # once is enough
    rooms.accept(sid, DEFAULT_NAMESPACE, Packet(b"40"))
    assert rooms.is_connected(sid, DEFAULT_NAMESPACE)
    assert rooms.pre_disconnect(sid, DEFAULT_NAMESPACE) == "eio"
    assert not rooms.is_connected(sid, DEFAULT_NAMESPACE)
    await rooms.disconnect(sid, DEFAULT_NAMESPACE)
    await rooms.disconnect(sid, DEFAULT_NAMESPACE)
    assert rooms.sid_from_eio_sid("eio", DEFAULT_NAMESPACE) is None


async def test_nothing_is_left_of_a_connection(hub: Hub) -> None:
    def size() -> list[int]:
        containers = [value for value in vars(hub.rooms).values() if hasattr(value, "__len__")]
        return [len(container) for container in containers]

    before = size()
    for _ in range(3):
        members = [await hub.connect() for _ in range(3)]
        for member in members:
            for room in ("vehicle:v1", "vehicle:v2", "other"):
                hub.enter(member, room)
            hub.broadcaster.broadcast("vehicle:v1", event(1))
            hub.broadcaster.send_current(member.sid, "vehicle:v2", event(1))
            await hub.rooms.emit("ask", None, DEFAULT_NAMESPACE, to=member.sid, callback=print)
        for member in members:
            await hub.disconnect(member)
    assert size() == before
    assert not hub.broadcaster._watermarks.by_room


async def test_namespaces_are_apart(hub: Hub) -> None:
    watched = Watched(hub)
    member = await hub.connect("/admin")
    hub.rooms.basic_enter_room(member.sid, "/admin", "vehicle:v1")
    assert watched.notes == []
    assert hub.rooms.room_count == 0
    hub.broadcaster.broadcast("vehicle:v1", event(1))
    assert member.frames == []
    await hub.rooms.emit("hello", 1, "/admin")
    assert member.frames == ['2/admin,["hello",1]']
    await hub.disconnect(member, "/admin")
    assert "/admin" not in hub.rooms.rooms


# -- emits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "encoded"),
    [
        (None, '2["e"]'),
        ({"a": 1}, '2["e",{"a":1}]'),
        ([1, 2], '2["e",[1,2]]'),
        ((1, "two"), '2["e",1,"two"]'),
        ("text", '2["e","text"]'),
    ],
)
async def test_the_arguments_of_an_emit(hub: Hub, data: Any, encoded: str) -> None:
    member = await hub.connect()
    await hub.server.emit("e", data, to=member.sid)
    hub.rooms.send(member.sid, "e", data)
    assert member.frames == [encoded, encoded]


@pytest.mark.parametrize(
    ("data", "namespace", "number", "text"),
    [
        (None, "/", None, '2["e"]'),
        ({"a": 1}, "/", 7, '27["e",{"a":1}]'),
        (("a", None), "/other", None, '2/other,["e","a",null]'),
        ([1], "/other", 0, '2/other,0["e",[1]]'),
    ],
)
def test_an_event_is_encoded_as_the_protocol_has_it(
    data: Any, namespace: str, number: int | None, text: str
) -> None:
    assert Hub().rooms.encoded("e", data, namespace, number) == [text]


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(TypeError):
        Hub().rooms.encoded("e", {"a": object()}, "/")


async def test_binary_data_follows_as_attachments(hub: Hub) -> None:
    member = await hub.connect()
    await hub.server.emit("e", {"image": b"\x00\xff"})
    assert member.frames == ['51-["e",{"image":{"_placeholder":true,"num":0}}]', b"\x00\xff"]


async def test_the_recipients_of_an_emit(hub: Hub) -> None:
    one, two, three = [await hub.connect() for _ in range(3)]
    hub.enter(one, "a")
    hub.enter(two, "a")
    hub.enter(two, "b")
    hub.enter(three, "b")
    everyone = {"one": one, "two": two, "three": three}

    async def reached(**target: Any) -> list[str]:
        await hub.server.emit("e", **target)
        return [name for name, member in everyone.items() for _ in member.frames]

    assert await reached() == ["one", "two", "three"]
    assert await reached(room="a") == ["one", "two"]
    assert await reached(to="b") == ["two", "three"]
    assert await reached(room=["a", "b"]) == ["one", "two", "three"]  # two once
    assert await reached(room=["a", "nobody"]) == ["one", "two"]
    assert await reached(room="nobody") == []
    assert await reached(to=three.sid) == ["three"]
    assert await reached(skip_sid=two.sid) == ["one", "three"]
    assert await reached(room="a", skip_sid=[one.sid, two.sid]) == []
    assert await reached(room="b", skip_sid=["gone"]) == ["two", "three"]


async def test_a_callback_gets_its_own_packet_and_its_answer(hub: Hub) -> None:
    member = await hub.connect()
    answers: list[Any] = []

    async def answered(*arguments: Any) -> None:
        answers.append(arguments)

    await hub.server.emit("ask", 1, to=member.sid, callback=answered)
    assert member.frames == ['21["ask",1]']
    await hub.rooms.trigger_callback(member.sid, 1, ["yes", 2])
    assert answers == [("yes", 2)]


async def greeted(hub: Hub) -> Member:
    """A socket that is accepted after its ``connect`` handler has sent it something."""
    session = hub.server.eio.sessions.create(REQUEST, wire := Wire())
    session.state = State.OPEN
    sid = hub.rooms.register(session.sid, DEFAULT_NAMESPACE)
    assert sid is not None
    await hub.rooms.emit("a", None, DEFAULT_NAMESPACE, to=sid)
    await hub.rooms.emit("b", None, DEFAULT_NAMESPACE, to=sid, callback=print)
    hub.rooms.send(sid, "c", None)
    member = Member(sid, session, wire)
    assert member.frames == []
    hub.rooms.accept(sid, DEFAULT_NAMESPACE, Packet(b"40"))
    assert member.frames == ["0"]
    return member


async def test_everything_sent_after_the_welcome_keeps_its_order(hub: Hub) -> None:
    member = await greeted(hub)
    await hub.rooms.emit("d", None, DEFAULT_NAMESPACE, to=member.sid, callback=print)
    hub.server._own_events.acknowledge(member.session, 7, "ok")
    await hub.rooms.emit("e", None, DEFAULT_NAMESPACE, to=member.sid)
    await until(lambda: member.count() == 6)
    assert member.frames == ['2["a"]', '21["b"]', '2["c"]', '22["d"]', '37["ok"]', '2["e"]']


@pytest.mark.parametrize("closes", [False, True])
async def test_a_disconnect_right_after_the_welcome_loses_nothing(hub: Hub, closes: bool) -> None:
    member = await greeted(hub)
    await hub.rooms.emit("denied", None, DEFAULT_NAMESPACE, to=member.sid)
    await hub.server.disconnect(member.sid)
    if closes:
        await hub.server.eio.disconnect(member.eio_sid)
        assert messages(member.wire.sent).pop() == "1"
        member.wire.sent.pop()
    await until(lambda: member.count() == 5)
    assert member.frames == ['2["a"]', '21["b"]', '2["c"]', '2["denied"]', "1"]


async def test_an_emit_that_newer_ones_replace() -> None:
    hub = Hub(max_pending_frames=2)
    member = await hub.connect()
    member.session.hold()
    for number in range(10):
        await hub.rooms.emit("e", number, DEFAULT_NAMESPACE, conflation_key="a")
    member.session.release()
    assert member.frames == ['2["e",9]']


async def test_an_emit_to_whom_is_gone_is_harmless(hub: Hub) -> None:
    member = await hub.connect()
    hub.server.eio.sockets.pop(member.eio_sid)  # the session is being torn down
    await hub.server.emit("e")
    hub.rooms.send(member.sid, "e", None)
    hub.rooms.send("nobody", "e", None)
    hub.broadcaster.send_current("nobody", "vehicle:v1", event(1))
    assert member.frames == []


async def test_emits_are_relayed_unless_they_are_for_a_socket_here(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    relayed: list[Any] = []
    monkeypatch.setattr(hub.relay, "send", lambda *arguments: relayed.append(arguments))
    member = await hub.connect()
    await hub.server.emit("e", 1, to=member.sid)
    await hub.server.emit("e", 2, to=member.sid, callback=print)
    assert relayed == []
    await hub.server.emit("e", 3, room=["a", "b"], skip_sid=member.sid)
    await hub.server.emit("e", 4)
    await hub.rooms.emit("e", 5, DEFAULT_NAMESPACE, room="a", conflation_key="a")
    assert relayed == [
        ("/", ["a", "b"], [member.sid], ['2["e",3]'], None),
        ("/", None, [], ['2["e",4]'], None),
        ("/", ["a"], [], ['2["e",5]'], "a"),
    ]


# -- python-socketio's own tools -----------------------------------------------------------


@pytest.mark.parametrize("mode", ["development", "production"])
async def test_the_admin_ui_attaches(hub: Hub, mode: str) -> None:
    instrumented = hub.server.instrument(auth=False, mode=mode, server_stats_interval=3600)
    try:
        member = await hub.connect()
        hub.enter(member, "vehicle:v1")
        await hub.server.emit("e", 1, room="vehicle:v1")
        await hub.server.leave_room(member.sid, "vehicle:v1")
        await asyncio.sleep(0)
        assert '2["e",1]' in member.frames
        assert isinstance(hub.server, socketio.AsyncServer)
    finally:
        instrumented.uninstrument()
        await instrumented.shutdown()
