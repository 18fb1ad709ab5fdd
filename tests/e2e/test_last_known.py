"""Last known locations: what is known of entities that have not reported for a while."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from redis.asyncio import Redis

from atriz_realtime import TrackingService
from atriz_realtime.core.publish import last_known
from tests.cli.processes import environment
from tests.cli.processes import serve as serve_process
from tests.support.clients.python_socketio import Serve
from tests.support.servers.redis_monitor import eventually
from tests.support.servers.serving import Live, serving, token, until
from tests.support.servers.tcp_proxy import proxying

SOON = 1.0
"""Seconds after which a current location expires here; it is kept before that."""

INCLUDE = {"expired": "include"}
KEY, INDEX = "location:last:vehicle:v1", "location:last-index:vehicle"


async def expired(live: Live, entity_id: str = "v1") -> Any:
    """Wait until a vehicle's current location has expired; returns the last known one."""
    path = f"/api/tracking/vehicle/{entity_id}"

    async def missing() -> bool:
        return (await live.get(path))[0] == 404

    await eventually(missing, True)
    return (await live.get(path, params=INCLUDE))[1]


async def listing(live: Live, **params: str) -> list[Any]:
    """The entries of a listing, page by page."""
    found: list[Any] = []
    cursor: str | None = None
    while True:
        query = params | ({} if cursor is None else {"cursor": cursor})
        status, page = await live.get("/api/tracking/vehicle", params=query)
        assert status == 200, page
        found += page["locations"]
        if (cursor := page["nextCursor"]) is None:
            return found


async def test_what_expired_is_still_known_to_who_asks_for_it(serve: Serve) -> None:
    async with serve(cache_ttl=SOON) as live:
        await live.publish("v1", speed=1)
        await live.publish("v1", speed=2)
        status, current = await live.get("/api/tracking/vehicle/v1", params=INCLUDE)
        assert (status, "expired" in current) == (200, False)
        assert await expired(live) == current | {"expired": True}
        status, answer = await live.get("/api/tracking/vehicle/v1")
        assert (status, answer["code"]) == (404, "not_found")
        assert await listing(live) == []
        entry = {"entityId": "v1", "location": current, "expired": True}
        assert await listing(live, **INCLUDE) == [entry]
        _, report = await live.get("/health/realtime")
        assert report["tracking"]["totalTracking"] == 0
        numbers = report["statistics"]["last known"]
        assert (numbers["waiting"], numbers["failed"]) == (0, 0)
        assert numbers["written"] >= 1
        await live.publish("v1", speed=3)
        (entry,) = await listing(live, **INCLUDE)
        assert (entry["location"]["speed"], "expired" in entry) == (3, False)
        assert await live.get("/api/tracking/vehicle/v2", params=INCLUDE) == (404, answer)


@pytest.mark.parametrize("limit", ["1", "3", "1000"])
async def test_pages_go_on_from_the_current_ones_to_the_others(serve: Serve, limit: str) -> None:
    async with serve(cache_ttl=SOON) as live:
        for number in range(3):
            await live.publish(f"old{number}")
        await expired(live, "old2")
        for number in range(2):
            await live.publish(f"new{number}")
        found = await listing(live, limit=limit, **INCLUDE)
        names = [entry["entityId"] for entry in found]
        assert (set(names[:2]), set(names[2:])) == ({"new0", "new1"}, {"old0", "old1", "old2"})
        assert len(names) == 5
        assert [entry.get("expired", False) for entry in found] == [False] * 2 + [True] * 3


async def test_a_bad_parameter_or_another_listing_s_cursor_is_refused(live: Live) -> None:
    for path in ("vehicle", "vehicle/v1"):
        for value in ("", "true", "exclude"):
            status, answer = await live.get(f"/api/tracking/{path}", params={"expired": value})
            assert (status, answer["code"], answer["field"]) == (400, "bad_request", "expired")
    for number in range(2):
        await live.publish(f"v{number}")
    for first, then in (({}, INCLUDE), (INCLUDE, {})):
        _, page = await live.get("/api/tracking/vehicle", params={"limit": "1", **first})
        query = {"cursor": page["nextCursor"], **then}
        status, answer = await live.get("/api/tracking/vehicle", params=query)
        assert (status, answer["field"]) == (400, "cursor")


async def test_it_can_be_turned_off_for_all_or_for_one_type(serve: Serve) -> None:
    off: list[dict[str, Any]] = [
        {"last_known_ttl": 0},
        {"entities": {"vehicle": {"last_known_ttl": 0}}},
    ]
    for settings in off:
        async with serve(cache_ttl=SOON, **settings) as live:
            await live.publish("v1")
            assert (await expired(live))["code"] == "not_found"
            assert await listing(live, **INCLUDE) == []
    on = {"vehicle": {"last_known_ttl": 60}}
    async with serve(cache_ttl=SOON, last_known_ttl=0, entities=on) as live:
        await live.publish("v1")
        assert (await expired(live))["expired"] is True


async def test_a_last_known_location_expires_as_well(serve: Serve) -> None:
    async with serve(cache_ttl=SOON, last_known_ttl=2) as live:
        await live.publish("v1")
        assert (await expired(live))["expired"] is True

        async def forgotten() -> bool:
            return await listing(live, **INCLUDE) == []

        await eventually(forgotten, True)
        assert (await live.get("/api/tracking/vehicle/v1", params=INCLUDE))[0] == 404


async def test_only_what_the_caller_may_track_is_shown(serve: Serve) -> None:
    async with serve(cache_ttl=SOON, extra_plugins=["tests.support.plugins.own_vehicles"]) as live:
        theirs = {"Authorization": f"Bearer {token('u2')}"}
        await live.publish("u1-a")
        await live.publish("u2-a", headers=theirs)
        await expired(live, "u1-a")
        await until(lambda: live.server.delivery.last_known_locations.statistics()["waiting"] == 0)
        assert [entry["entityId"] for entry in await listing(live, **INCLUDE)] == ["u1-a"]
        status, answer = await live.get("/api/tracking/vehicle/u2-a", params=INCLUDE)
        assert (status, answer["code"]) == (403, "unauthorized")


async def test_a_view_applies_to_it_as_well(serve: Serve) -> None:
    rules = {"all": {"precision": 10_000, "hide": ["userId"]}}
    async with serve(cache_ttl=SOON, plugins={"privacy": {"rules": rules}}) as live:
        await live.publish("v1", speed=5)
        shown = await expired(live)
        assert (shown["userId"], shown["expired"], "speed" in shown) == ("hidden", True, False)
        (entry,) = await listing(live, **INCLUDE)
        assert entry == {
            "entityId": "v1",
            "location": {name: value for name, value in shown.items() if name != "expired"},
            "expired": True,
        }


async def test_the_holder_of_a_link_sees_no_location_that_has_expired(serve: Serve) -> None:
    sharing = {"sharing": {"url": "https://live.example.com/"}}
    async with serve(cache_ttl=SOON, plugins=sharing) as live:
        await live.publish("v1")
        body = {"type": "vehicle", "entityId": "v1", "seconds": 60}
        _, share = await live.post("/api/tracking/shares", body)
        assert (await expired(live))["expired"] is True
        bearer = {"Authorization": f"Bearer {share['token']}"}
        for params in ({}, INCLUDE):
            status, answer = await live.get(
                "/api/tracking/vehicle/v1", params=params, headers=bearer
            )
            assert (status, answer["code"]) == (404, "not_found")
        status, answer = await live.get("/api/tracking/vehicle", params=INCLUDE, headers=bearer)
        assert (status, answer["code"]) == (403, "unauthorized")


async def test_the_python_interface_reads_and_deletes_it(serve: Serve) -> None:
    async with serve(cache_ttl=SOON) as live:
        tracking: TrackingService = live.server.tracking
        await live.publish("v1", speed=7)
        current = await tracking.get_last_known_location("vehicle", "v1")
        await expired(live)
        assert await tracking.get_current_location("vehicle", "v1") is None
        known = await tracking.get_last_known_location("vehicle", "v1")
        assert known is not None
        assert known == current
        assert await tracking.get_all_locations("vehicle") == {}
        assert await tracking.get_all_locations("vehicle", expired=True) == {"v1": known}
        await tracking.cache_current_location("vehicle", "v2", known)
        await tracking.clear_current_location("vehicle", "v1")
        assert await tracking.get_last_known_location("vehicle", "v1") is None
        await until(lambda: live.server.delivery.last_known_locations.statistics()["waiting"] == 0)
        await tracking.clear_current_location("vehicle", "v2")
        assert await tracking.get_all_locations("vehicle", expired=True) == {}
        assert await listing(live, **INCLUDE) == []


# -- in Redis ------------------------------------------------------------------------------


async def test_it_is_written_behind_the_fixes_under_its_own_key(
    redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_known, "KEEP_INTERVAL", 3_600)
    async with serving(redis_url=redis_url) as live:
        for speed in range(20):
            await live.publish("v1", speed=speed)
        assert await redis_client.exists(KEY) == 0  # not with each fix
        current = await redis_client.get("location:current:vehicle:v1")
    assert await redis_client.get(KEY) == current  # when the server stops
    assert 604_795 <= await redis_client.ttl(KEY) <= 604_800
    assert await redis_client.zrange(INDEX, 0, -1) == [b"v1"]
    assert 604_795 <= await redis_client.ttl(INDEX) <= 604_800
    assert 295 <= await redis_client.ttl("location:current:vehicle:v1") <= 300


async def test_a_server_that_starts_again_knows_it(redis_url: str, redis_client: Redis) -> None:
    async with serving(redis_url=redis_url) as live:
        await live.publish("v1", speed=5)
    await redis_client.delete("location:current:vehicle:v1", "location:index:vehicle")
    async with serving(redis_url=redis_url) as live:
        assert (await expired(live))["speed"] == 5
        assert [entry["entityId"] for entry in await listing(live, **INCLUDE)] == ["v1"]


async def test_the_newest_of_two_servers_is_kept(redis_url: str, redis_client: Redis) -> None:
    """Whichever of them writes last."""
    async with serving(redis_url=redis_url) as one, serving(redis_url=redis_url) as other:
        for live, second in ((one, 1), (other, 3), (one, 2)):
            await live.publish("v1", speed=second, timestamp=f"2026-01-31T12:00:0{second}Z")
        for live in (other, one):
            await live.server.delivery.last_known_locations.write()
        kept: Any = await redis_client.get(KEY)
        assert json.loads(kept)["speed"] == 3


async def test_what_one_server_deletes_another_does_not_bring_back(
    redis_url: str, redis_client: Redis
) -> None:
    async with serving(redis_url=redis_url) as one, serving(redis_url=redis_url) as other:
        await other.publish("v1")
        await one.server.tracking.clear_current_location("vehicle", "v1")
        await other.server.delivery.last_known_locations.write()
        assert await redis_client.keys("location:last*") == []


async def test_a_server_that_is_killed_leaves_what_it_has_written(
    redis_url: str, redis_client: Redis
) -> None:
    async with serve_process(env=environment(REDIS_URL=redis_url)) as served:
        live = Live(None, served.port)
        await live.publish("v1", speed=1)

        async def is_kept() -> bool:
            return bool(await redis_client.exists(KEY))

        await eventually(is_kept, True)
        await live.publish("v1", speed=2)
        await served.command.ended(signal.SIGKILL)
    await redis_client.delete("location:current:vehicle:v1", "location:index:vehicle")
    async with serving(redis_url=redis_url) as live:
        assert (await expired(live))["speed"] in (1, 2)


async def test_what_an_outage_holds_up_is_written_afterwards(
    valkey: Any, redis_url: str, redis_client: Redis
) -> None:
    async with (
        proxying(valkey.port) as proxy,
        serving(redis_url=proxy.url) as live,
    ):
        locations = live.server.delivery.last_known_locations
        await live.publish("v1", speed=1)
        await locations.write()
        async with proxy.outage():
            await live.publish("v1", speed=2)
            await locations.write()
            numbers = locations.statistics()
            assert (numbers["waiting"], numbers["failed"]) == (1, 1)
            assert live.server.incidents.counts["last known locations not written"] == 1
            kept: Any = await redis_client.get(KEY)
            assert json.loads(kept)["speed"] == 1

        async def is_newest() -> bool:
            await locations.write()
            kept: Any = await redis_client.get(KEY)
            return bool(json.loads(kept)["speed"] == 2)

        await eventually(is_newest, True)
        await until(lambda: locations.statistics()["waiting"] == 0)


@pytest.mark.parametrize(
    "written", ["[1]", "nonsense", '{"a":1} \n', "{ }", '{"latitude":1,"longitude":2}']
)
async def test_what_another_program_wrote_is_marked_or_hidden(
    redis_url: str, redis_client: Redis, written: str
) -> None:
    await redis_client.set(KEY, written, ex=60)
    async with serving(redis_url=redis_url) as live:
        status, answer = await live.get("/api/tracking/vehicle/v1", params=INCLUDE)
        if written.startswith("{"):
            assert (status, answer) == (200, json.loads(written) | {"expired": True})
        else:
            assert (status, answer["code"]) == (404, "not_found")
