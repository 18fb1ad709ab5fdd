"""What sockets track, where no network is needed to see it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from atriz_realtime.api import (
    EntityRef,
    Identity,
    InvalidEntityId,
    InvalidRequest,
    LocationEvent,
    View,
)
from atriz_realtime.core.clients import current_locations, subscriptions
from atriz_realtime.core.clients.subscriptions import as_ids
from atriz_realtime.testing import payload, until
from tests.core.parts import Fanned, Hub, Member, user


@pytest.mark.parametrize(
    ("given", "ids"),
    [("v1", ["v1"]), (["v2", "v1", "v2"], ["v2", "v1"]), ([], []), ("", [""])],
)
def test_one_id_or_a_list_of_them(given: Any, ids: list[Any]) -> None:
    assert as_ids(given) == ids


@pytest.mark.parametrize("given", [7, {}, ["v1", 7], ["v1", ["v2"]], [None]])
def test_an_id_that_is_no_text_is_refused(given: Any) -> None:
    with pytest.raises(InvalidEntityId) as error:
        as_ids(given)
    assert error.value.field == "entityId"


def test_no_id_is_refused() -> None:
    with pytest.raises(InvalidRequest) as error:
        as_ids(None)
    assert error.value.field == "entityId"


@pytest.mark.parametrize(
    "event",
    [
        ["track:plane", "1"],
        ["untrack:plane", "1"],
        ["track:"],
        ["track", "1"],
        ["track:*"],
        ["track:*", 5],
        ["untrack:*", {}],
        ["track:" + "x" * 10_000],
    ],
    ids=lambda event: str(event)[:20],
)
async def test_an_unknown_type_is_refused_and_no_failure(event: list[Any]) -> None:
    hub = Hub()
    member = await hub.sign_in(user("u1"))
    answer = await hub.send(member, *event)
    assert (answer["success"], answer["code"]) == (False, "unknown_type")
    assert len(str(answer)) < 300
    assert dict(hub.incidents.counts) == {"refused unknown_type": 1}


async def test_only_a_socket_that_is_known_is_told_the_known_types() -> None:
    hub = Hub()
    member, stranger = await hub.sign_in(user("u1")), await hub.sign_in()
    told = (await hub.send(member, "track:boat", "b1"))["message"]
    assert told.startswith("Unknown entity type 'boat'; known: ")
    assert (await hub.send(stranger, "track:boat", "b1"))["message"] == "Unknown entity type 'boat'"


@pytest.mark.parametrize("event", ["track:boat", "untrack:boat"])
async def test_whoever_may_watch_one_entity_learns_no_types(event: str) -> None:
    hub = Hub()
    member = await hub.sign_in(user("u1"))
    hub.sockets[member.sid].identity = Identity(user_id="u1", only=EntityRef("vehicle", "v1"))
    assert (await hub.send(member, event, "b1"))["message"] == "Unknown entity type 'boat'"


async def test_an_unauthenticated_socket_may_not_track() -> None:
    hub = Hub()
    member = await hub.sign_in()
    answer = await hub.send(member, "track:vehicle", "v1")
    assert answer == {
        "success": False,
        "code": "not_authenticated",
        "message": "Not authenticated",
    }


@pytest.mark.parametrize("ids", [None, 5, [5], [None], [["v1"]], {"id": "v1"}])
async def test_ids_that_cannot_be_are_refused(ids: Any) -> None:
    hub = Hub()
    member = await hub.sign_in(user("u1"))
    answer = await hub.send(member, "untrack:vehicle", ids)
    assert answer["code"] in ("bad_request", "invalid_entity_id")
    assert answer["field"] == "entityId"


async def tracking_while_away(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Member:
    """A member that tracks ``v1`` while the cache is away; it is back when this returns."""
    monkeypatch.setattr(current_locations, "SNAPSHOT_RETRY", 0.05)
    hub.channels.start(Fanned(), lambda *_: None, lambda _: None)
    hub.positions.by_entity[EntityRef("vehicle", "v1")] = b'{"timestamp":"1"}'
    hub.positions.away = True
    member = await hub.sign_in(user("u1"))
    assert await hub.send(member, "track:vehicle", "v1") == {"success": True}
    await asyncio.sleep(0.12)
    assert member.frames == []
    hub.positions.away = False
    return member


async def test_the_current_location_is_owed_while_it_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub()
    member = await tracking_while_away(hub, monkeypatch)
    await until(member.count)
    await asyncio.sleep(0.12)
    assert len(member.frames) == 1


async def test_the_current_location_is_still_owed_when_an_older_fix_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub()
    member = await tracking_while_away(hub, monkeypatch)
    hub.broadcaster.broadcast("vehicle:v1", b'{"location":{"timestamp":"0"}}')
    assert len(member.frames) == 1
    await until(member.count)
    assert '"timestamp":"1"' in str(member.frames)


@pytest.mark.parametrize("what", ["left", "newer"])
async def test_the_current_location_is_not_owed_for_ever(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    hub = Hub()
    member = await tracking_while_away(hub, monkeypatch)
    if what == "left":
        await hub.send(member, "untrack:vehicle", "v1")
    else:
        hub.broadcaster.broadcast("vehicle:v1", b'{"location":{"timestamp":"2"}}')
        assert len(member.frames) == 1
    await asyncio.sleep(0.12)
    assert member.frames == []


async def test_the_current_location_is_sent_once_to_who_tracks_again_while_it_is_owed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub()
    member = await tracking_while_away(hub, monkeypatch)
    await hub.send(member, "untrack:vehicle", "v1")
    await hub.handle(member, ["track:vehicle", "v1"])
    await asyncio.sleep(0.12)
    assert sum("location:update" in str(frame) for frame in member.frames) == 1


async def test_one_location_that_cannot_be_read_keeps_back_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = watching()
    read = hub.positions.unchecked

    async def current(entity: EntityRef) -> bytes | None:
        if entity.id == "other":
            raise ValueError("a plugin's cache may raise anything")
        return await read(entity)

    monkeypatch.setattr(hub.positions, "unchecked", current)
    member = await hub.sign_in(user("u1"))
    assert await updates(hub, member, "track:vehicle", ["other", "v1"]) == [update(1)]
    assert hub.incidents.counts["cache unavailable"] == 1
    assert hub.sockets[member.sid].tracked == {"vehicle:other", "vehicle:v1"}


# -- the newest, wherever it is --------------------------------------------------------------


async def updates(hub: Hub, member: Member, *event: Any) -> list[str]:
    """The locations that a member is sent while an event of its own is handled."""
    _ = member.frames  # drops what was sent before
    await hub.handle(member, list(event))
    return [str(frame) for frame in member.frames if "location:update" in str(frame)]


def watching(*views: View) -> Hub:
    """A hub where a location of the first second is cached for ``v1``."""
    hub = Hub(*views)
    hub.channels.start(Fanned(), lambda *_: None, lambda _: None)
    hub.positions.by_entity[EntityRef("vehicle", "v1")] = payload(seconds=1).location
    return hub


def update(seconds: int) -> str:
    return f'2["location:update",{payload(seconds=seconds).event.decode()}]'


async def test_a_watcher_is_sent_what_others_have_had_if_the_cache_is_behind() -> None:
    hub = watching()
    one, two = await hub.sign_in(user("u1")), await hub.sign_in(user("u2"))
    assert await updates(hub, one, "track:vehicle", "v1") == [update(1)]
    hub.broadcaster.broadcast("vehicle:v1", payload(seconds=2).event)  # could not be cached
    assert await updates(hub, two, "track:vehicle", "v1") == [update(2)]
    assert update(1) not in await updates(hub, one, "track:vehicle", "v1")


async def test_a_new_token_shows_the_newest_anew_live_or_from_the_cache() -> None:
    hidden = False

    async def applies(*_: object) -> bool:
        return hidden

    def apply(event: LocationEvent) -> LocationEvent:
        return attrs.evolve(event, location=attrs.evolve(event.location, device_id="hidden"))

    hub = watching(View("device", applies, apply))
    one, two = await hub.sign_in(user("u1")), await hub.sign_in(user("u2"))
    await updates(hub, two, "track:vehicle", "v1")
    hub.broadcaster.broadcast("vehicle:v1", payload(seconds=2).event)
    hub.positions.by_entity[EntityRef("vehicle", "v1")] = payload(seconds=3).location  # throttled
    assert await updates(hub, one, "track:vehicle", "v1") == [update(3)]
    hidden = True
    newest = [
        await updates(hub, each, "authenticate", f"user:u{n}") for n, each in ((1, one), (2, two))
    ]
    assert newest == [[update(s).replace('"v1","userId"', '"hidden","userId"')] for s in (3, 2)]


def ids(count: int, prefix: str = "v") -> list[str]:
    """The ids of many entities."""
    return [f"{prefix}{number}" for number in range(count)]


class Reading:
    """Stands for the cache; a read lasts until :meth:`answer` is called."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.waiting: list[asyncio.Future[bytes | None]] = []

    def current(self, entity: EntityRef) -> asyncio.Future[bytes | None]:
        self.asked.append(entity.id)
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for read in waiting:
            read.set_result(None)


async def settled() -> None:
    """Let the loop run until it has nothing to do but to wait."""
    for _ in range(100):
        await asyncio.sleep(0)


async def test_a_list_that_is_tracked_already_is_read_and_sent_nothing_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub()
    hub.positions.by_entity[EntityRef("vehicle", "v1")] = b'{"timestamp":"1"}'
    member = await hub.sign_in(user("u1"))
    await hub.handle(member, ["track:vehicle", ["v1", "v2"]], None)
    assert len(member.frames) == 1
    reading = Reading()
    monkeypatch.setattr(hub.positions, "unchecked", reading.current)
    assert await hub.send(member, "track:vehicle", ["v1", "v2"]) == {"success": True}
    assert (reading.asked, member.frames) == ([], [])


async def test_lists_take_turns_to_read_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, reading = Hub(), Reading()
    monkeypatch.setattr(hub.positions, "unchecked", reading.current)
    members = [await hub.sign_in(user(name)) for name in ("u1", "u2", "u3")]
    most = current_locations.MAX_READING
    tracking = [
        asyncio.create_task(hub.send(member, "track:vehicle", tracked))
        for member, tracked in zip(members, (ids(250), ids(250, "w"), ["x"]), strict=True)
    ]
    turns = []
    while not all(task.done() for task in tracking):
        await settled()
        assert len(reading.waiting) <= most
        turns.append("".join(sorted({asked[0] for asked in reading.asked})))
        reading.asked.clear()
        reading.answer()
    assert turns == ["x", "v", "w", "v", "w", "vw", ""]  # the last turn ends without a read
    assert [task.result() for task in tracking] == [{"success": True}] * 3


async def test_no_turn_of_the_loop_belongs_to_one_list() -> None:
    hub = Hub()
    members = [await hub.sign_in(user(name)) for name in ("u1", "u2", "u3")]
    loop, tracked = asyncio.get_running_loop(), [0]

    def count() -> None:
        tracked.append(sum(len(socket.tracked) for socket in hub.sockets.values()))
        counting.append(loop.call_soon(count))

    counting = [loop.call_soon(count)]
    for event in ("track:vehicle", "untrack:vehicle"):
        sent = [hub.send(member, event, ids(300)) for member in members]
        assert await asyncio.gather(*sent) == [{"success": True}] * 3
        await settled()
    counting[-1].cancel()
    steps = [abs(after - before) for before, after in itertools.pairwise(tracked)]
    assert max(tracked) == 900
    assert 0 < max(steps) <= subscriptions.ENTITIES_PER_TURN


async def test_a_user_joins_without_waiting_for_the_lists_of_another() -> None:
    hub, turns = Hub(), 0
    many = [await hub.sign_in(user("u1")) for _ in range(100)]
    other = await hub.sign_in(user("u2"))
    lists = [asyncio.ensure_future(hub.send(each, "track:vehicle", ids(30))) for each in many]
    await asyncio.sleep(0)
    lists.append(asyncio.ensure_future(hub.send(other, "track:vehicle", ids(10))))
    while len(hub.sockets[other.sid].tracked) < 10:
        await asyncio.sleep(0)
        turns += 1
    assert turns < 30  # of 100 sockets in one row, each turn would have time for half
    await asyncio.gather(*lists)


async def test_what_a_user_tracks_is_read_without_waiting_for_all_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub, reading, round_trips = Hub(), Reading(), 0
    monkeypatch.setattr(hub.positions, "unchecked", reading.current)
    many = [await hub.sign_in(user("u1")) for _ in range(20)]
    other = await hub.sign_in(user("u2"))
    tracking = [
        asyncio.create_task(hub.handle(each, ["track:vehicle", ids(100, f"m{number}-")]))
        for number, each in enumerate(many)
    ]
    for _ in range(10):
        await settled()
    tracking.append(asyncio.create_task(hub.handle(other, ["track:vehicle", "v1"])))
    await settled()
    while "v1" not in reading.asked:
        reading.answer()
        round_trips += 1
        await settled()
    assert round_trips <= 2
    while not all(task.done() for task in tracking):
        reading.answer()
        await settled()


@pytest.mark.parametrize("event", ["track", "authenticate"])
async def test_current_locations_are_sent_in_turns(
    monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    hidden = False

    async def applies(*_: object) -> bool:
        return hidden

    hub = watching(View("device", applies, lambda event: event))
    for name in ids(300):
        hub.positions.by_entity[EntityRef("vehicle", name)] = payload(seconds=1).location
    member = await hub.sign_in(user("u1"))
    if event == "authenticate":
        await hub.send(member, "track:vehicle", ids(300))
        hidden = True
    loop, sent, turns = asyncio.get_running_loop(), [0], []
    send = hub.broadcaster.send_current

    def count(*arguments: Any) -> None:
        sent[-1] += 1
        send(*arguments)

    def begin_turn() -> None:
        sent.append(0)
        turns.append(loop.call_soon(begin_turn))

    monkeypatch.setattr(hub.broadcaster, "send_current", count)
    begin_turn()
    arguments = ids(300) if event == "track" else "user:u1"
    name = "track:vehicle" if event == "track" else event
    assert await hub.send(member, name, arguments) == {"success": True}
    turns[-1].cancel()
    assert (sum(sent), max(sent)) == (300, subscriptions.ENTITIES_PER_TURN)


@pytest.mark.parametrize("meanwhile", [0, 2])
async def test_a_new_view_shows_the_newest_once_whatever_comes_live_meanwhile(
    meanwhile: int,
) -> None:
    hidden = False

    async def applies(*_: object) -> bool:
        return hidden

    def apply(event: LocationEvent) -> LocationEvent:
        return attrs.evolve(event, location=attrs.evolve(event.location, device_id="hidden"))

    hub = watching(View("device", applies, apply))
    for name in ids(300):
        hub.positions.by_entity[EntityRef("vehicle", name)] = payload(seconds=1).location
    member = await hub.sign_in(user("u1"))
    await hub.send(member, "track:vehicle", ids(300))
    hidden = True
    renewing = asyncio.create_task(updates(hub, member, "authenticate", "user:u1"))
    while not (member.count() or renewing.done()):
        await asyncio.sleep(0)
    for name in ids(300):
        hub.broadcaster.broadcast(f"vehicle:{name}", payload(seconds=meanwhile).event)
    sent = await renewing
    newest = f"12:00:{max(1, meanwhile):02}.000Z"
    assert sum(newest in frame for frame in sent) == 300  # each once, none before the new view
    assert all('"hidden"' in frame for frame in sent)


async def test_a_list_costs_its_user_what_is_in_it() -> None:
    hub = Hub(max_user_events_per_second=1, max_user_events_burst=400)
    member = await hub.sign_in(user("u1"))

    async def cost(event: str, tracked: list[str] | str) -> float:
        bucket = hub.sockets[member.sid].user_bucket
        assert bucket is not None
        before = bucket.left
        assert await hub.send(member, event, tracked) == {"success": True}
        return before - bucket.left

    assert await cost("track:vehicle", "v0") == 1
    assert await cost("track:vehicle", ids(1_000)) == pytest.approx(1 + 999 * 0.02 + 998 * 0.25)
    assert await cost("track:vehicle", ids(1_000)) == pytest.approx(1 + 999 * 0.02)
    assert await cost("untrack:vehicle", ids(1_000)) == pytest.approx(1 + 999 * 0.02)
    refused = await hub.send(member, "track:vehicle", ids(1_000))
    assert (refused["code"], hub.sockets[member.sid].tracked) == ("rate_limited", set())
    hub.clock.advance(400)
    assert await hub.send(member, "track:vehicle", ids(1_000)) == {"success": True}


async def test_a_new_token_costs_its_user_what_the_socket_tracks() -> None:
    hub = Hub(max_user_events_per_second=1, max_user_events_burst=400)
    member = await hub.sign_in(user("u1"))
    await hub.send(member, "track:vehicle", ids(1_000))
    hub.clock.advance(400)
    assert await hub.send(member, "authenticate", "user:u1") == {"success": True}
    bucket = hub.sockets[member.sid].user_bucket
    assert bucket is not None
    assert 400 - bucket.left == pytest.approx(1 + 999 * 0.02)


async def test_a_new_token_that_costs_more_than_the_burst_can_be_sent_after_a_pause() -> None:
    hub = Hub(max_user_events_per_second=1, max_user_events_burst=10)
    member = await hub.sign_in(user("u1"))
    await hub.send(member, "track:vehicle", ids(1_000))
    hub.clock.advance(5)
    refused = await hub.send(member, "authenticate", "user:u1")
    assert refused["code"] == "rate_limited"
    assert hub.rooms.is_connected(member.sid, "/")
    assert len(hub.sockets[member.sid].tracked) == 1_000
    hub.clock.advance(10)
    assert await hub.send(member, "authenticate", "user:u1") == {"success": True}


class Asked:
    """What is asked of the authorizers in each turn of the event loop."""

    def __init__(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by_turn = [0]
        self.half_way: Callable[[], object] = lambda: None
        """Called when 150 have been asked for."""
        monkeypatch.setattr(hub.access, "may_track", self._may_track)
        self._begin_turn()

    async def _may_track(self, *_: object) -> bool:
        self.by_turn[-1] += 1
        if sum(self.by_turn) == 150:
            self.half_way()
        return True

    def _begin_turn(self) -> None:
        self.by_turn.append(0)
        self._next = asyncio.get_running_loop().call_soon(self._begin_turn)

    def stop(self) -> list[int]:
        """How many in each turn."""
        self._next.cancel()
        return self.by_turn


async def test_the_entities_of_new_tokens_are_asked_for_in_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub()
    members = [await hub.sign_in(user(name)) for name in ("u1", "u2", "u3")]
    for member in members:
        await hub.send(member, "track:vehicle", ids(300))
    asked = Asked(hub, monkeypatch)
    sent = [
        hub.send(member, "authenticate", f"user:u{number}")
        for number, member in enumerate(members, start=1)
    ]
    assert await asyncio.gather(*sent) == [{"success": True}] * 3
    counts = asked.stop()
    assert (sum(counts), max(counts)) == (900, subscriptions.ENTITIES_PER_TURN)


@pytest.mark.parametrize(("revoked", "again"), [("u1", 299), ("u2", 0)])
async def test_a_new_token_is_judged_again_after_a_revocation_of_its_user_alone(
    monkeypatch: pytest.MonkeyPatch, revoked: str, again: int
) -> None:
    hub = Hub()
    first, second = [await hub.sign_in(user(name)) for name in ("u1", "u2")]
    for member in (first, second):
        await hub.send(member, "track:vehicle", ids(300))
    asked = Asked(hub, monkeypatch)
    asked.half_way = lambda: hub.subscriptions.kick(revoked, V1)
    assert await hub.send(first, "authenticate", "user:u1") == {"success": True}
    assert sum(asked.stop()) == 300 + again
    assert ("vehicle:v1" in hub.sockets[first.sid].tracked) == (revoked != "u1")


async def test_nothing_more_is_asked_for_a_socket_that_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub()
    member = await hub.sign_in(user("u1"))
    await hub.send(member, "track:vehicle", ids(300))
    asked = Asked(hub, monkeypatch)
    asked.half_way = lambda: hub.gateway.disconnected(member.sid)
    await hub.send(member, "authenticate", "user:u1")
    assert sum(asked.stop()) == 150
    assert not hub.incidents.counts


async def test_a_list_that_costs_more_than_the_burst_can_be_sent_after_a_pause() -> None:
    hub = Hub(max_user_events_per_second=1, max_user_events_burst=100)
    member = await hub.sign_in(user("u1"))
    assert await hub.send(member, "track:vehicle", ids(1_000)) == {"success": True}
    refused = await hub.send(member, "track:vehicle", "v1")
    assert refused["code"] == "rate_limited"  # nothing of the burst is left for the event
    hub.clock.advance(100)
    assert await hub.send(member, "untrack:vehicle", ids(1_000)) == {"success": True}


async def test_dashboards_that_come_back_at_once_are_not_refused() -> None:
    hub = Hub()
    for _ in range(15):
        member = await hub.sign_in(user("u1"))
        assert await hub.send(member, "track:vehicle", ids(1_000)) == {"success": True}


async def test_a_refusal_while_a_list_is_joined_leaves_nothing_of_it() -> None:
    hub = Hub()
    member = await hub.sign_in(user("u1"))
    socket = hub.sockets[member.sid]
    tracking = asyncio.create_task(hub.send(member, "track:vehicle", ids(500)))
    while len(socket.tracked) < 100:
        await asyncio.sleep(0)
    hub.access.refused.add("v499")
    hub.subscriptions.kick("u1", EntityRef("vehicle", "v499"))
    assert (await tracking)["code"] == "unauthorized"
    assert socket.tracked == set()
    assert hub.channels.watched_rooms() == []


async def test_untrack_keeps_its_place_behind_a_long_list() -> None:
    hub = Hub()
    member = await hub.sign_in(user("u1"))
    for event in ("track:vehicle", "untrack:vehicle"):
        member.session.receive_message("2" + json.dumps([event, ids(500)]))
    member.session.receive_message('21["track:vehicle","v7"]')
    await until(lambda: hub.sockets[member.sid].tracked == {"vehicle:v7"})
    await member.session.handled()
    assert member.frames == ['31[{"success":true}]']


async def test_a_fix_while_the_cache_is_read_is_not_followed_by_an_older_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub, reading = Hub(), Reading()
    monkeypatch.setattr(hub.positions, "unchecked", reading.current)
    member = await hub.sign_in(user("u1"))
    event = ["track:vehicle", "v1"]
    tracking = asyncio.create_task(hub.handle(member, event, None))
    await until(lambda: reading.waiting)
    newer = b'{"location":{"timestamp":"2"}}'
    hub.broadcaster.broadcast("vehicle:v1", newer)
    reading.waiting.pop().set_result(b'{"timestamp":"1"}')
    await tracking
    assert member.frames == [f'2["location:update",{newer.decode()}]']


async def test_an_older_fix_while_the_cache_is_read_does_not_replace_the_current_location(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub, reading = watching(), Reading()
    await hub.send(await hub.sign_in(user("u1")), "track:vehicle", "v1")
    monkeypatch.setattr(hub.positions, "unchecked", reading.current)
    member = await hub.sign_in(user("u2"))
    tracking = asyncio.create_task(updates(hub, member, "track:vehicle", "v1"))
    await until(lambda: reading.waiting)
    hub.broadcaster.broadcast("vehicle:v1", payload(seconds=2).event)  # was on its way
    reading.waiting.pop().set_result(payload(seconds=3).location)  # throttled
    assert await tracking == [update(2), update(3)]


@pytest.mark.parametrize(
    ("before", "meanwhile", "cached", "sent"),
    [
        (5, [4], 5, [4, 5]),  # the new one has not had what was the newest before
        (3, [5, 4], 5, [5, 4]),  # it had it live
        (5, [4, 6], 5, [4, 6]),
        (5, [], 4, [5]),
    ],
)
async def test_what_is_sent_is_newer_than_all_that_came_live_since_joining(
    monkeypatch: pytest.MonkeyPatch, before: int, meanwhile: list[int], cached: int, sent: list[int]
) -> None:
    hub, reading = watching(), Reading()
    await hub.send(await hub.sign_in(user("u1")), "track:vehicle", "v1")
    hub.broadcaster.broadcast("vehicle:v1", payload(seconds=before).event)
    monkeypatch.setattr(hub.positions, "unchecked", reading.current)
    member = await hub.sign_in(user("u2"))
    tracking = asyncio.create_task(updates(hub, member, "track:vehicle", "v1"))
    await until(lambda: reading.waiting)
    for seconds in meanwhile:
        hub.broadcaster.broadcast("vehicle:v1", payload(seconds=seconds).event)
    reading.waiting.pop().set_result(payload(seconds=cached).location)
    assert await tracking == [update(seconds) for seconds in sent]


V1 = EntityRef("vehicle", "v1")


async def after_a_gap(monkeypatch: pytest.MonkeyPatch) -> tuple[Hub, Reading, Member]:
    """A room whose member has had the current location, and got it anew after a gap."""
    hub, reading = watching(), Reading()
    hub.positions.by_entity[V1] = payload(seconds=5).location
    member = await hub.sign_in(user("u1"))
    assert await updates(hub, member, "track:vehicle", "v1") == [update(5)]
    hub.broadcaster.broadcast_current("vehicle:v1", bytes(bytearray(payload(seconds=5).event)))
    hub.clock.advance(3)
    monkeypatch.setattr(hub.positions, "unchecked", reading.current)
    return hub, reading, await hub.sign_in(user("u2"))


async def test_the_current_location_follows_an_older_fix_that_came_live(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub, reading, member = await after_a_gap(monkeypatch)
    tracking = asyncio.create_task(updates(hub, member, "track:vehicle", "v1"))
    await until(lambda: reading.waiting)
    hub.broadcaster.broadcast("vehicle:v1", payload(seconds=4).event)
    reading.waiting.pop().set_result(payload(seconds=5).location)
    assert await tracking == [update(4), update(5)]


@pytest.mark.parametrize("seconds", [4, 5])
async def test_the_current_location_does_not_follow_itself(
    monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    hub, reading, member = await after_a_gap(monkeypatch)
    tracking = asyncio.create_task(updates(hub, member, "track:vehicle", "v1"))
    await until(lambda: reading.waiting)
    hub.broadcaster.broadcast("vehicle:v1", payload(seconds=seconds, speed=7).event)
    hub.broadcaster.broadcast("vehicle:v1", payload(seconds=5).event)
    reading.waiting.pop().set_result(payload(seconds=5).location)
    assert (await tracking).count(update(5)) == 1


async def test_a_track_that_is_revoked_while_it_waits_for_redis_is_refused() -> None:
    hub, fanned = Hub(), Fanned(confirms=False)
    hub.channels.start(fanned, lambda *_: None, lambda _: None)
    member = await hub.sign_in(user("u1"))
    asking = asyncio.ensure_future(hub.send(member, "track:vehicle", ["v1", "v2"]))
    await until(lambda: fanned._late)
    hub.gateway._subscriptions.kick("u1", V1)
    fanned.confirm()
    await until(lambda: fanned._late or asking.done())
    fanned.confirm()
    assert (await asking)["code"] == "unauthorized"
    assert hub.sockets[member.sid].tracked == set()


async def test_tracking_again_what_is_revoked_meanwhile_is_refused() -> None:
    hub = Hub()
    hub.channels.start(Fanned(), lambda *_: None, lambda _: None)
    member = await hub.sign_in(user("u1"))
    await hub.send(member, "track:vehicle", "v1")
    hub.access.may_track_gate.clear()
    asking = asyncio.ensure_future(hub.send(member, "track:vehicle", ["v1", "v2"]))
    await asyncio.sleep(0)
    hub.gateway._subscriptions.kick("u1", V1)
    hub.access.may_track_gate.set()
    assert (await asking)["code"] == "unauthorized"
    assert hub.sockets[member.sid].tracked == set()


async def test_a_socket_that_disconnects_during_authorization_joins_nothing() -> None:
    hub, fanned = Hub(), Fanned()
    hub.channels.start(fanned, lambda *_: None, lambda _: None)
    member = await hub.sign_in(user("u1"))
    hub.access.may_track_gate.clear()
    asking = asyncio.ensure_future(hub.send(member, "track:vehicle", "v1"))
    await asyncio.sleep(0)
    await hub.disconnect(member)
    hub.gateway.disconnected(member.sid)
    hub.access.may_track_gate.set()
    assert await asking is None
    assert hub.rooms.room_count == 0
    assert not hub.incidents.counts


async def test_a_new_token_is_not_judged_by_what_the_old_one_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub()
    hub.channels.start(Fanned(), lambda *_: None, lambda _: None)
    member = await hub.sign_in(user("u1"))
    await hub.send(member, "track:vehicle", "v1")
    ((_, old),) = hub.gateway.identities()

    async def may_track(identity: Identity, _: EntityRef) -> bool:
        await hub.access.may_track_gate.wait()
        return identity is not old

    monkeypatch.setattr(hub.access, "may_track", may_track)
    monkeypatch.setattr(hub.access, "authorizes", True)
    hub.access.may_track_gate.clear()
    asking = asyncio.ensure_future(hub.gateway._subscriptions.reauthorize_all("u1"))
    await asyncio.sleep(0)
    hub.sockets[member.sid].identity = attrs.evolve(old)
    hub.access.may_track_gate.set()
    await asking
    assert hub.sockets[member.sid].tracked == {"vehicle:v1"}
