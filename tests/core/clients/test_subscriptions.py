"""What sockets track, where no network is needed to see it."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from atriz_realtime.api import EntityRef, Identity, InvalidRequest
from atriz_realtime.core.clients import subscriptions
from atriz_realtime.core.clients.subscriptions import as_ids
from atriz_realtime.testing import until
from tests.core.parts import Fanned, Hub, Member, user


@pytest.mark.parametrize(
    ("given", "ids"),
    [("v1", ["v1"]), (["v1", "v2"], ["v1", "v2"]), ([], []), (7, [7]), ({}, [{}]), ("", [""])],
)
def test_one_id_or_a_list_of_them(given: Any, ids: list[Any]) -> None:
    assert as_ids(given) == ids


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
    monkeypatch.setattr(subscriptions, "SNAPSHOT_RETRY", 0.05, raising=False)
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


V1 = EntityRef("vehicle", "v1")


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
    asking = asyncio.ensure_future(hub.send(member, "track:vehicle", "v1"))
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
