"""Which users may track, read and publish which entities, and revocation on every server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from atriz_realtime.api import EntityRef, InvalidEntityId, UnknownEntityType
from atriz_realtime.core.clients.permissions import REVOKE
from tests.support.clients.node import js_connect, node_clients
from tests.support.clients.python_socketio import Client
from tests.support.servers.serving import Live, serving, token, until, watching
from tests.support.servers.transports import BOTH_ON_UVICORN

OWN = {"vehicle": ["own-*", "v7"], "delivery": "*"}
CLAIMS = {"claims": {"track": "see", "publish": "move"}}
V1 = EntityRef("vehicle", "own-1")


def bearer(**claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(**claims)}"}


@pytest.fixture
async def two(redis_url: str) -> AsyncIterator[tuple[Live, Live]]:
    """Two servers that share a Redis; the other one is served over ASGI."""
    async with (
        serving(redis_url=redis_url, plugins=CLAIMS) as one,
        serving(redis_url=redis_url, plugins=CLAIMS, portable=True) as other,
    ):
        yield one, other


@contextlib.asynccontextmanager
async def clients(*lives: Live, auth: str, node_port: int) -> AsyncIterator[list[Client]]:
    """The JavaScript client on each server."""
    async with node_clients(node_port) as process, contextlib.AsyncExitStack() as stack:
        connect = js_connect(process, transports=["websocket"])
        yield [await stack.enter_async_context(connect(x, auth={"token": auth})) for x in lives]


@BOTH_ON_UVICORN
async def test_a_socket_tracks_what_its_claims_allow(portable: bool) -> None:
    async with (
        serving(plugins=CLAIMS, portable=portable) as live,
        watching(live, user=None) as watcher,
    ):
        assert (await watcher.call("authenticate", token(see=OWN)))["success"]
        assert (await watcher.call("track:vehicle", ["own-1", "v7"]))["success"]
        refused = await watcher.call("track:vehicle", ["own-1", "v8"])
        assert refused["code"] == "unauthorized"
        assert (await watcher.call("track:delivery", "d1"))["success"]


@pytest.mark.parametrize("see", [None, "vehicle", ["own-*"], {"vehicle": 7}, {"vehicle": [1]}])
async def test_a_malformed_claim_allows_nothing(see: Any) -> None:
    async with serving(plugins=CLAIMS) as live, watching(live, user=None) as watcher:
        await watcher.call("authenticate", token(see=see))
        assert (await watcher.call("track:vehicle", "own-1"))["code"] == "unauthorized"
        status, _ = await live.get("/api/tracking/vehicle/own-1", headers=bearer(see=see))
        assert status == 403


@BOTH_ON_UVICORN
async def test_refusals_are_the_same_whether_the_entity_exists(portable: bool) -> None:
    async with (
        serving(plugins=CLAIMS, portable=portable) as live,
        watching(live, user=None) as watcher,
    ):
        body = {"vehicleId": "x1", "latitude": 1, "longitude": 2}
        mover = bearer(move={"vehicle": "x1"})
        assert (await live.post("/api/tracking/location", body, headers=mover))[0] == 200
        await watcher.call("authenticate", token(see=OWN))
        answers = []
        for entity_id in ("x1", "x2"):
            update = {**body, "vehicleId": entity_id}
            answers.append(
                [
                    await watcher.call("track:vehicle", entity_id),
                    await live.get(f"/api/tracking/vehicle/{entity_id}", headers=bearer(see=OWN)),
                    await live.post("/api/tracking/location", update, headers=bearer(move=OWN)),
                    await watcher.call("location:publish", update),
                ]
            )
        known, unknown = answers
        assert known == unknown
        assert known[0]["code"] == known[3]["code"] == "unauthorized"
        assert known[1][0] == known[2][0] == 403


@BOTH_ON_UVICORN
async def test_nothing_is_looked_up_before_a_refusal(
    monkeypatch: pytest.MonkeyPatch, portable: bool
) -> None:
    """So neither the time nor the content of an answer depends on whether the entity exists."""
    async with (
        serving(plugins=CLAIMS, portable=portable) as live,
        watching(live, user=None) as watcher,
    ):
        await watcher.call("authenticate", token(see=OWN, move=OWN))
        for touched in ("get", "put"):  # using either would fail, with another answer
            monkeypatch.delattr(type(live.server.delivery._cache), touched)
        update = {"vehicleId": "v8", "latitude": 1, "longitude": 2}
        headers = bearer(see=OWN, move=OWN)
        answers = [
            await watcher.call("track:vehicle", "v8"),
            await watcher.call("track:vehicle", ["v7", "v8"]),
            await watcher.call("location:publish", update),
            (await live.get("/api/tracking/vehicle/v8", headers=headers))[1],
            (await live.post("/api/tracking/location", update, headers=headers))[1],
        ]
        assert [answer["code"] for answer in answers] == ["unauthorized"] * 5
        assert watcher_rooms(live) == []
        assert "cache unavailable" not in live.server.incidents.counts


async def test_entities_of_lists_and_batches_are_authorized_one_by_one() -> None:
    async with serving(plugins=CLAIMS) as live:
        updates = [
            {"vehicleId": each, "latitude": 1, "longitude": 2} for each in ("own-1", "x1", "v7")
        ]
        everything = bearer(move={"vehicle": "*"})
        assert (await live.post("/api/tracking/batch", {"updates": updates}, headers=everything))[
            0
        ] == 200
        _, page = await live.get("/api/tracking/vehicle", headers=bearer(see=OWN))
        assert {each["entityId"] for each in page["locations"]} == {"own-1", "v7"}
        _, answer = await live.post(
            "/api/tracking/batch", {"updates": updates}, headers=bearer(move=OWN)
        )
        assert answer["accepted"] == 2
        (rejected,) = answer["rejected"]
        assert (rejected["index"], rejected["code"]) == (1, "unauthorized")


async def test_revoke_removes_watchers_on_every_server(
    two: tuple[Live, Live], node_port: int
) -> None:
    async with clients(*two, auth=token(see=OWN, move=OWN), node_port=node_port) as watchers:
        for watcher in watchers:
            assert (await watcher.call("track:vehicle", ["own-1", "v7"]))["success"]
        await two[0].server.permissions.revoke("u1", V1)
        for watcher in watchers:
            assert await watcher.next("tracking:revoked") == {
                "type": "vehicle",
                "entityId": "own-1",
            }
        update = {"latitude": 1, "longitude": 2}
        for vehicle in ("own-1", "v7"):
            await two[1].post(
                "/api/tracking/location", {"vehicleId": vehicle, **update}, headers=bearer(move=OWN)
            )
        for watcher in watchers:
            assert (await watcher.next("location:update"))["entityId"] == "v7"
            assert len(watcher.updates) == 1
            assert (await watcher.call("track:vehicle", "own-1"))[
                "success"
            ]  # the authorizers still allow it


async def test_an_entity_that_cannot_be_tracked_cannot_be_revoked() -> None:
    async with serving() as live:
        with pytest.raises(UnknownEntityType):
            await live.server.permissions.revoke("u1", EntityRef("vehcile", "v1"))
        with pytest.raises(InvalidEntityId):
            await live.server.permissions.revoke("u1", EntityRef("vehicle", "a:b"))


async def test_a_renewed_token_that_allows_less_takes_effect(two: tuple[Live, Live]) -> None:
    async with watching(two[0], user=None) as watcher:
        await watcher.call("authenticate", token(see=OWN))
        await watcher.call("track:vehicle", ["own-1", "v7"])
        await watcher.call("authenticate", token(see={"vehicle": "v7"}))
        await until(lambda: watcher_rooms(two[0]) == ["vehicle:v7"])


def watches_only_v7(live: Live) -> bool:
    return watcher_rooms(live) == ["vehicle:v7"]


def watcher_rooms(live: Live) -> list[str]:
    return sorted(live.server.delivery._channels.watched_rooms())


async def test_recheck_asks_authorizers_again_on_every_server(
    redis_url: str,
) -> None:
    allowed = {"own-1", "v7"}

    async def may(_: Any, entity: EntityRef) -> bool:
        return entity.id in allowed

    async with (
        serving(redis_url=redis_url) as one,
        serving(redis_url=redis_url) as other,
        watching(one) as here,
        watching(other) as there,
    ):
        for live in (one, other):
            live.server.permissions._access._may_track.append(("test", "authorizer 'test'", may))
        for watcher in (here, there):
            await watcher.call("track:vehicle", ["own-1", "v7"])
        allowed.discard("own-1")
        await one.server.permissions.recheck("u1")
        for live in (one, other):
            await until(partial(watches_only_v7, live))
        allowed.clear()
        other.server.delivery.hearing()  # as after a gap in which a signal may be lost
        await until(lambda: watcher_rooms(other) == [])


async def test_a_revocation_during_an_authorization_repeats_it() -> None:
    asked: list[str] = []
    gate = asyncio.Event()

    async def may(_: Any, entity: EntityRef) -> bool:
        asked.append(entity.id)
        if len(asked) == 1:
            await gate.wait()
            return True
        return False

    async with serving() as live, watching(live) as watcher:
        live.server.permissions._access._may_track.append(("test", "authorizer 'test'", may))
        call = asyncio.ensure_future(watcher.call("track:vehicle", "own-1"))
        await until(lambda: asked)
        await live.server.permissions.revoke("u1", V1)
        gate.set()
        assert (await call)["code"] == "unauthorized"


async def test_signals_reach_every_server_and_invalid_ones_are_counted(
    two: tuple[Live, Live], redis_client: Any
) -> None:
    heard: list[Any] = []
    for live in two:
        live.server.signals.listen("test", heard.append)
    await two[0].server.signals.send("test", {"a": [1]})
    await until(lambda: heard == [{"a": [1]}] * 2)
    await redis_client.publish("realtime:signal", b"[]")
    await two[0].server.signals.send(REVOKE, "nonsense")
    kinds = {"signal handler failed", "foreign signal ignored"}
    await until(lambda: kinds <= two[1].server.incidents.counts.keys())


async def test_signals_of_a_server_are_handled_in_order_before_its_recheck(
    two: tuple[Live, Live],
) -> None:
    heard: list[tuple[int, Any]] = []

    def observe(number: int, live: Live) -> None:
        live.server.signals.listen("first", lambda data: heard.append((number, data)))
        live.server.signals.listen("second", lambda data: heard.append((number, -data)))

        async def recheck(user_id: str | int | None = None) -> None:
            heard.append((number, user_id))

        live.server.permissions.recheck_here = recheck  # type: ignore[method-assign]

    for number, live in enumerate(two):
        observe(number, live)
    for data in range(1, 50):
        await two[0].server.signals.send("first", data)
        await two[0].server.signals.send("second", data)
    await two[0].server.permissions.recheck("u1")
    await until(lambda: len(heard) == 2 * 99)
    expected = [signed for data in range(1, 50) for signed in (data, -data)]
    for number in range(2):
        assert [data for n, data in heard if n == number] == [*expected, "u1"]


async def test_recheck_here_returns_when_all_have_answered(two: tuple[Live, Live]) -> None:
    allowed = {"own-1"}

    async def may(_: Any, entity: EntityRef) -> bool:
        await asyncio.sleep(0)
        return entity.id in allowed

    claims = {"see": OWN}
    async with watching(two[0], claims=claims) as here, watching(two[1], claims=claims) as there:
        for live, watcher in zip(two, (here, there), strict=True):
            live.server.permissions._access._may_track.append(("test", "authorizer 'test'", may))
            assert (await watcher.call("track:vehicle", "own-1"))["success"]
        allowed.clear()
        await two[0].server.permissions.recheck_here("u1")
        assert watcher_rooms(two[0]) == []
        assert watcher_rooms(two[1]) == ["vehicle:own-1"]


async def test_after_a_gap_plugins_are_told_before_authorizers_are_asked(
    two: tuple[Live, Live],
) -> None:
    order: list[str] = []

    async def may(_: Any, __: EntityRef) -> bool:
        order.append("asked")
        return True

    live = two[0]
    async with watching(live, "own-1", claims={"see": OWN}):
        live.server.permissions._access._may_track.append(("test", "authorizer 'test'", may))
        live.server.signals.on_gap(lambda: order.append("told"))
        live.server.delivery.hearing()
        await until(lambda: len(order) == 2)
    assert order == ["told", "asked"]
