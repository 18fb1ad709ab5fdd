"""What sockets track, where no network is needed to see it."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from atriz_realtime.api import EntityRef, InvalidRequest, LocationEvent, View
from atriz_realtime.core.clients import subscriptions
from atriz_realtime.core.clients.subscriptions import as_ids
from atriz_realtime.testing import payload, until
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


# -- the newest, wherever it is --------------------------------------------------------------


async def updates(hub: Hub, member: Member, *event: Any) -> list[str]:
    """The locations that a member is sent while an event of its own is handled."""
    _ = member.frames  # drops what was sent before
    await hub.server._handle_event(member.eio_sid, None, 1, list(event))
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
