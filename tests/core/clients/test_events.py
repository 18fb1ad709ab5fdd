"""The order in which a socket's events are handled and answered, while Redis takes its time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from atriz_realtime.api import EntityRef, Identity
from atriz_realtime.core.clients import current_locations, events
from atriz_realtime.engine.session import Reason
from atriz_realtime.testing import payload, until
from tests.core.parts import Fanned, Hub, Member, channel, user

SUCCESS = {"success": True}


class Far(Hub):
    """A hub whose fan-out confirms subscriptions when it is told to."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.fanned = Fanned(confirms=False)
        self.channels.start(self.fanned, lambda *_: None, lambda _: None)
        for number in range(1, 5):
            entity = EntityRef("vehicle", f"v{number}")
            self.positions.by_entity[entity] = payload(entity.id).location

    @property
    def asked(self) -> list[str]:
        """The vehicles whose channels are to be subscribed."""
        return [each.removeprefix("+tracking:vehicle:") for each in self.fanned.asked]


def send(member: Member, *sent: list[Any]) -> None:
    """Send events as the client would, in one read, each with a number for its answer."""
    for number, event in enumerate(sent, 1):
        member.session.receive_message(f"2{number}{json.dumps(event, separators=(',', ':'))}")


def track(entity_id: str) -> list[Any]:
    """The event that tracks a vehicle."""
    return ["track:vehicle", entity_id]


async def settled() -> None:
    """Let the loop run until it has nothing to do but to wait."""
    for _ in range(100):
        await asyncio.sleep(0)


def received(member: Member) -> list[str]:
    """What a member was sent: the ids of locations, other events, answers and their codes."""
    told = []
    for frame in member.frames:
        head, _, rest = str(frame).partition("[")
        arguments = json.loads("[" + rest)
        if head == "2":
            name, data = arguments
            told.append(data["entityId"] if name == "location:update" else name)
        else:
            told.append(f"{head[1:]} {arguments[0].get('code', 'ok')}")
    return told


async def test_events_that_wait_for_nothing_are_answered_at_once() -> None:
    hub = Far()
    member = await hub.sign_in(user("u1"))
    send(member, ["authenticate", "user:u1"], ["untrack:vehicle", "v1"])
    assert received(member) == ["authenticated", "1 ok", "2 ok"]


async def test_entities_that_are_tracked_one_by_one_are_subscribed_and_read_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub, reading = Far(), list[str]()
    member = await hub.sign_in(user("u1"))
    current = hub.positions.unchecked

    def noting(entity: EntityRef) -> Any:
        reading.append(entity.id)
        return current(entity)

    monkeypatch.setattr(hub.positions, "unchecked", noting)
    send(member, track("v1"), track("v2"), track("v3"))
    await settled()
    assert (hub.asked, reading, received(member)) == (["v1", "v2", "v3"], [], [])
    hub.fanned.confirm()
    await member.session.handled()
    assert reading == ["v1", "v2", "v3"]
    told = received(member)
    assert [each for each in told if "ok" in each] == ["1 ok", "2 ok", "3 ok"]
    assert [each for each in told if "ok" not in each] == ["v1", "v2", "v3"]
    for number in (1, 2, 3):
        assert told.index(f"v{number}") < told.index(f"{number} ok")


async def test_events_of_later_reads_join_those_that_wait() -> None:
    hub = Far()
    member = await hub.sign_in(user("u1"))
    send(member, track("v1"))
    await settled()
    send(member, track("v2"), track("v3"))
    await settled()
    assert hub.asked == ["v1"]  # the round trip of the first is under way
    hub.fanned.confirm()
    await settled()
    assert hub.asked == ["v1", "v2", "v3"]
    hub.fanned.confirm()
    await member.session.handled()
    assert len(received(member)) == 6


async def test_errors_are_answered_in_their_place_and_touch_no_other_event() -> None:
    hub = Far()
    hub.access.refused.add("v2")
    member = await hub.sign_in(user("u1"))
    send(
        member, track("v1"), track("v2"), ["track:plane", "p"], track(""), track("v3"), track("v1")
    )
    await settled()
    assert (hub.asked[0], hub.asked[-1], received(member)) == ("v1", "v3", [])
    hub.fanned.confirm()
    await member.session.handled()
    told = [each for each in received(member) if not each.startswith("v")]
    assert told == [
        *("1 ok", "error", "2 unauthorized", "error", "3 unknown_type"),
        *("error", "4 invalid_entity_id", "5 ok", "6 ok"),
    ]
    assert hub.sockets[member.sid].tracked == {"vehicle:v1", "vehicle:v3"}


@pytest.mark.parametrize(
    "between",
    [
        ["untrack:vehicle", "v1"],
        ["track:vehicle", ["v1", "v4"]],
        ["authenticate", "user:u1"],
        ["nobody:handles", "this"],
    ],
    ids=lambda event: str(event[0]),
)
async def test_any_other_event_keeps_its_place(between: list[Any]) -> None:
    hub = Far()
    seen: list[set[str]] = []
    find = hub.server._own_handlers.find

    def noting(event: str, data: list[Any]) -> Any:
        if data == between:
            seen.append({*hub.sockets[member.sid].tracked, *received(member)})
        return find(event, data)

    hub.server._own_handlers.find = noting  # type: ignore[method-assign]
    member = await hub.sign_in(user("u1"))
    send(member, track("v1"), track("v2"), between, track("v1"), track("v3"))
    await settled()
    assert (hub.asked, seen) == (["v1", "v2"], [])
    while member.session._handling is not None:
        hub.fanned.confirm()
        await settled()
    assert seen == [{"vehicle:v1", "vehicle:v2", "v1", "v2", "1 ok", "2 ok"}]
    told = [each for each in received(member) if each[0].isdigit()]
    third = "3 bad_request" if "nobody:handles" in between else "3 ok"
    assert told == [third, "4 ok", "5 ok"]
    assert {"vehicle:v1", "vehicle:v2", "vehicle:v3"} <= hub.sockets[member.sid].tracked


async def test_an_event_that_nobody_handles_is_answered_if_its_client_waits() -> None:
    hub = Hub(max_errors_burst=5)
    member = await hub.sign_in(user("u1"))
    member.session.receive_message('2["ring",1]')
    await settled()
    assert (member.frames, dict(hub.incidents.counts)) == ([], {})
    send(member, ["ring", 1])
    await settled()
    refusal = '{"success":false,"code":"bad_request","message":"unknown event"}'
    assert member.frames == [f"31[{refusal}]"]
    assert dict(hub.incidents.counts) == {"refused bad_request": 1}
    send(member, *[["ring", 1]] * 10)
    await settled()
    assert "misbehaving client cut" in hub.incidents.counts


async def test_the_host_s_handlers_come_before_the_refusal_of_an_unknown_event() -> None:
    hub = Hub()
    member = await hub.sign_in(user("u1"))
    hub.server.on("*", lambda event, _, *data: {"heard": [event, *data]})
    send(member, ["ring", 1])
    await settled()
    assert member.frames == ['31[{"heard":["ring",1]}]']
    assert dict(hub.incidents.counts) == {}


async def test_what_is_untracked_and_tracked_again_is_sent_again() -> None:
    hub = Far()
    member = await hub.sign_in(user("u1"))
    send(member, track("v1"), ["untrack:vehicle", "v1"], track("v1"), ["untrack:vehicle", "v1"])
    while member.session._handling is not None:
        await settled()
        hub.fanned.confirm()
    assert received(member) == ["v1", "1 ok", "2 ok", "v1", "3 ok", "4 ok"]
    assert hub.sockets[member.sid].tracked == set()


async def test_a_payload_that_is_no_json_is_refused_in_its_place() -> None:
    hub = Far()
    member = await hub.sign_in(user("u1"))
    send(member, track("v1"))
    member.session.receive_message('22["track:vehicle","v\x01"]')
    member.session.receive_message('23["track:vehicle","v3"]')
    await settled()
    assert (hub.asked, received(member)) == (["v1"], [])
    hub.fanned.confirm()
    await settled()
    hub.fanned.confirm()
    await member.session.handled()
    assert received(member) == ["v1", "1 ok", "error", "2 bad_request", "v3", "3 ok"]


async def test_an_event_beyond_the_limits_is_refused_in_its_place() -> None:
    hub = Far(max_events_burst=3, max_events_per_second=1)
    member = await hub.sign_in(user("u1"))
    send(member, *(track(f"v{number}") for number in range(1, 5)))
    await settled()
    assert (hub.asked, received(member)) == (["v1", "v2", "v3"], [])
    hub.fanned.confirm()
    await member.session.handled()
    assert received(member)[-3:] == ["3 ok", "error", "4 rate_limited"]
    assert hub.sockets[member.sid].bucket.refused == 1


async def test_the_limit_of_entities_holds_for_events_that_come_together() -> None:
    hub = Far(max_subscriptions=2)
    member = await hub.sign_in(user("u1"))
    send(member, track("v1"), track("v2"), track("v3"), track("v1"))
    await settled()
    hub.fanned.confirm()
    await member.session.handled()
    told = [each for each in received(member) if each[0].isdigit()]
    assert told == ["1 ok", "2 ok", "3 subscription_limit", "4 ok"]


async def test_what_is_revoked_between_is_refused_alone() -> None:
    hub = Far()
    member = await hub.sign_in(user("u1"))
    send(member, track("v1"), track("v2"), track("v3"))
    await settled()
    hub.subscriptions.kick("u1", EntityRef("vehicle", "v2"))
    hub.fanned.confirm()
    await member.session.handled()
    told = received(member)
    assert "v2" not in told
    assert [each for each in told if each[0].isdigit()] == ["1 ok", "2 unauthorized", "3 ok"]
    assert hub.sockets[member.sid].tracked == {"vehicle:v1", "vehicle:v3"}


async def test_what_is_revoked_before_it_is_answered_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub, may_answer = Far(), asyncio.Event()
    member = await hub.sign_in(user("u1"))
    send(member, track("v1"))
    await settled()
    hub.fanned.confirm()
    await member.session.handled()
    current = hub.positions.unchecked

    async def late(entity: EntityRef) -> bytes | None:
        await may_answer.wait()
        return await current(entity)

    monkeypatch.setattr(hub.positions, "unchecked", late)
    send(member, track("v2"), track("v1"))  # the second need not wait, but it is not its turn
    await settled()
    hub.fanned.confirm()
    await settled()
    hub.subscriptions.kick("u1", EntityRef("vehicle", "v1"))
    may_answer.set()
    await member.session.handled()
    assert [each for each in received(member) if each[0].isdigit()][1:] == [
        *("1 ok", "2 unauthorized"),
    ]


async def test_no_answer_waits_for_the_authorizer_of_a_later_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub, may_answer = Far(), asyncio.Event()
    member = await hub.sign_in(user("u1"))

    async def may_track(_: Identity, entity: EntityRef) -> bool:
        if entity.id == "v3":
            await may_answer.wait()
        return entity.id != "v2"

    monkeypatch.setattr(hub.access, "may_track", may_track)
    send(member, track("v1"), track("v2"), track("v3"), track("v4"))
    await settled()
    hub.fanned.confirm()
    await settled()
    assert received(member) == ["v1", "1 ok", "error", "2 unauthorized"]
    may_answer.set()
    await settled()
    hub.fanned.confirm()
    await member.session.handled()
    assert [each for each in received(member) if each[0].isdigit()] == ["3 ok", "4 ok"]


async def test_nor_does_that_of_one_that_had_to_wait_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Far()
    may_answer = {"v1": asyncio.Event(), "v2": asyncio.Event(), "v3": asyncio.Event()}
    may_answer["v1"].set()
    member = await hub.sign_in(user("u1"))

    async def may_track(_: Identity, entity: EntityRef) -> bool:
        return await may_answer[entity.id].wait()

    monkeypatch.setattr(hub.access, "may_track", may_track)
    send(member, track("v1"), track("v2"), track("v3"))
    for answered in ("v1", "v2"):
        may_answer[answered].set()
        await settled()
        hub.fanned.confirm()
        await settled()
    assert received(member) == ["v1", "1 ok", "v2", "2 ok"]
    may_answer["v3"].set()
    await settled()
    hub.fanned.confirm()
    await member.session.handled()
    assert received(member) == ["v3", "3 ok"]


@pytest.mark.parametrize("reason", [Reason.TRANSPORT_CLOSE, Reason.PING_TIMEOUT])
async def test_a_session_that_ends_meanwhile_leaves_nothing_behind(reason: str) -> None:
    hub = Far()
    member = await hub.sign_in(user("u1"))
    send(member, track("v1"), track("v2"))
    await settled()
    member.session.receive_message('23["track:vehicle","v3"]')
    hub.server.eio.sessions.end(member.session, reason, farewell=None)
    await settled()
    assert member.sid in hub.sockets  # what has come is finished first
    while member.sid in hub.sockets:
        hub.fanned.confirm()
        await settled()
    assert (hub.rooms.room_count, hub.incidents.counts) == (0, {})


async def test_a_socket_that_leaves_before_an_event_begins_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Far()
    member = await hub.sign_in(user("u1"))
    following = hub.server._own_events._following

    def leaving(sid: str, text: str | bytes) -> Any:
        taken = following(sid, text)
        tasks.append(asyncio.get_running_loop().create_task(hub.server.disconnect(sid)))
        return taken

    tasks: list[asyncio.Task[None]] = []
    monkeypatch.setattr(hub.server._own_events, "_following", leaving)
    send(member, track("v1"), track("v2"))
    await settled()
    hub.fanned.confirm()
    await settled()
    assert (member.sid in hub.sockets, hub.incidents.counts) == (False, {})


async def test_a_disconnection_keeps_its_place() -> None:
    hub = Far()
    member = await hub.sign_in(user("u1"))
    send(member, track("v1"), track("v2"))
    member.session.receive_message("1")
    member.session.receive_message('23["track:vehicle","v3"]')
    await settled()
    assert hub.sockets[member.sid].tracked == {"vehicle:v1", "vehicle:v2"}
    hub.fanned.confirm()
    await member.session.handled()
    assert (member.sid in hub.sockets, hub.rooms.room_count) == (False, 0)
    assert [each for each in received(member) if each[0].isdigit()] == ["1 ok", "2 ok"]
    assert "v3" not in hub.asked


async def test_locations_that_cannot_be_read_are_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_locations, "SNAPSHOT_RETRY", 0.02)
    hub = Far()
    hub.positions.away = True
    member = await hub.sign_in(user("u1"))
    send(member, track("v1"), track("v2"), ["untrack:vehicle", "v1"], track("v3"))
    while member.session._handling is not None:
        hub.fanned.confirm()
        await settled()
    assert received(member) == ["1 ok", "2 ok", "3 ok", "4 ok"]
    hub.positions.away = False
    await until(lambda: member.count() == 2)
    assert received(member) == ["v2", "v3"]


async def test_a_fan_out_that_fails_touches_no_other_event(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Far()
    member = await hub.sign_in(user("u1"))
    subscribe = hub.fanned.subscribe

    async def failing() -> None:
        raise RuntimeError("a plugin's fan-out")

    monkeypatch.setattr(
        hub.fanned,
        "subscribe",
        lambda name, deliver: failing() if name == channel("v2") else subscribe(name, deliver),
    )
    send(member, track("v1"), track("v2"), track("v3"))
    await settled()
    hub.fanned.confirm()
    await member.session.handled()
    told = [each for each in received(member) if not each.startswith("v")]
    assert told == ["1 ok", "error", "2 internal", "3 ok"]


async def test_no_more_events_than_the_limit_wait_for_their_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "MAX_UNANSWERED", 10)
    hub = Far()
    member = await hub.sign_in(user("u1"))
    send(member, *(track(f"v{number}") for number in range(25)))
    asked = []
    while member.session._handling is not None:
        await settled()
        asked.append(len(hub.fanned.asked))
        hub.fanned.confirm()
        await settled()
    assert (asked[0], max(asked)) == (10, 25)
    assert [each for each in received(member) if " ok" in each][-1] == "25 ok"


async def test_the_events_of_one_socket_wait_for_no_other() -> None:
    hub = Far()
    one, two = await hub.sign_in(user("u1")), await hub.sign_in(user("u2"))
    send(one, *(track(f"w{number}") for number in range(30)))
    send(two, track("v1"))
    await settled()
    assert channel("v1") in {each.removeprefix("+") for each in hub.fanned.asked}
    hub.fanned.confirm()
    await two.session.handled()
    await one.session.handled()
    assert received(two) == ["v1", "1 ok"]


async def test_a_channel_that_is_slow_holds_back_no_other() -> None:
    hub = Far()
    member = await hub.sign_in(user("u1"))
    send(member, track("v1"), track("v2"), track("v3"))
    await settled()
    hub.fanned.confirm(channel("v1"), channel("v3"))
    await settled()
    assert received(member) == ["v1", "v3", "1 ok"]
    hub.fanned.confirm()
    await member.session.handled()
    assert received(member) == ["v2", "2 ok", "3 ok"]


async def test_a_subscription_that_is_cancelled_is_a_failure() -> None:
    hub = Far()
    member = await hub.sign_in(user("u1"))
    send(member, track("v1"), track("v2"), track("v3"))
    await settled()
    hub.fanned.confirming(channel("v2")).cancel()
    hub.fanned.confirm(channel("v1"), channel("v3"))
    await member.session.handled()
    told = [each for each in received(member) if not each.startswith("v")]
    assert told == ["1 ok", "error", "2 internal", "3 ok"]


@pytest.mark.parametrize("listed", [False, True])
async def test_a_read_that_is_cancelled_is_read_again(
    monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    monkeypatch.setattr(current_locations, "SNAPSHOT_RETRY", 0.02)
    hub = Far()
    member = await hub.sign_in(user("u1"))
    current, is_cancelled = hub.positions.unchecked, True

    async def read(entity: EntityRef) -> bytes | None:
        if entity.id == "v2" and is_cancelled:
            raise asyncio.CancelledError
        return await current(entity)

    monkeypatch.setattr(hub.positions, "unchecked", read)
    names = ["v1", "v2", "v3"]
    send(member, *([["track:vehicle", names]] if listed else map(track, names)))
    await settled()
    hub.fanned.confirm()
    await member.session.handled()
    answers = 1 if listed else 3
    assert sorted(received(member)) == [*(f"{n + 1} ok" for n in range(answers)), "v1", "v3"]
    is_cancelled = False
    await until(lambda: "v2" in received(member))


async def test_a_read_that_hangs_holds_back_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, may_answer = Far(), asyncio.Event()
    member, other = await hub.sign_in(user("u1")), await hub.sign_in(user("u2"))
    current = hub.positions.unchecked

    async def read(entity: EntityRef) -> bytes | None:
        if entity.id == "v2":
            await may_answer.wait()
        return await current(entity)

    monkeypatch.setattr(hub.positions, "unchecked", read)
    send(member, track("v1"), track("v2"), track("v3"), *(track(f"w{n}") for n in range(40)))
    await settled()
    hub.fanned.confirm()
    await settled()
    assert sorted(received(member)) == ["1 ok", "v1", "v3"]
    assert hub.subscriptions._current._reading._free == current_locations.MAX_READING - 1
    send(other, track("v3"))
    await settled()
    hub.fanned.confirm()
    await other.session.handled()
    assert received(other) == ["v3", "1 ok"]
    may_answer.set()
    await member.session.handled()
    assert received(member)[:2] == ["v2", "2 ok"]


async def test_a_subscription_that_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, tries = Far(), list[int]()
    one, two = await hub.sign_in(user("u1")), await hub.sign_in(user("u2"))
    subscribe = hub.fanned.subscribe

    async def failing() -> None:
        raise RuntimeError("a plugin's fan-out")

    def subscribing(name: str, deliver: Any) -> Any:
        tries.append(len(tries))
        return failing() if len(tries) <= 2 else subscribe(name, deliver)

    monkeypatch.setattr(hub.fanned, "subscribe", subscribing)
    send(one, track("v1"), track("v1"))
    await one.session.handled()
    assert received(one)[:2] == ["error", "1 internal"]
    send(two, track("v1"))
    await settled()
    hub.fanned.confirm()
    await two.session.handled()
    assert received(two) == ["v1", "1 ok"]
    send(one, track("v1"))
    await settled()
    hub.fanned.confirm()
    await one.session.handled()
    assert received(one)[-2:] == ["v1", "1 ok"]
