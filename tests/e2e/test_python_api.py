"""The Python interface, which has a counterpart for each call of the TypeScript package."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
import redis.asyncio
import socketio
from starlette.applications import Starlette

from atriz_realtime import (
    EntityRef,
    Location,
    LocationEvent,
    RealtimeConfig,
    RealtimeError,
    RealtimeServer,
    TrackingService,
)
from tests.support.clients.python_socketio import Serve
from tests.support.servers.serving import SECRET, Live, config, serving, until, watching

LOCATION = Location(
    device_id="d1",
    user_id="u1",
    latitude=40.7128,
    longitude=-74.006,
    speed=65,
    timestamp=datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC),
)
EVENT = LocationEvent(EntityRef("vehicle", "v1"), LOCATION)


@pytest.fixture
def tracking(live: Live) -> TrackingService:
    """The service, constructed as the documentation shows."""
    return TrackingService(live.server.redis, live.server.socket_io)


def test_settings_accept_the_documented_values() -> None:
    given = RealtimeConfig(cors_origin="https://a.example, https://b.example", redis_url=None)
    assert given.cors_origin == ("https://a.example", "https://b.example")
    listed = RealtimeConfig(
        cors_origin=["https://a.example"],
        disabled_plugins=["delivery"],
        disabled_hooks=["http_api:register_routes"],
        entities={"vehicle": {"throttle": "none"}},
    )
    assert listed.cors_origin == ("https://a.example",)
    assert listed.disabled_plugins == ("delivery",)
    assert listed.entities["vehicle"].throttle == "none"
    assert RealtimeConfig(cors_origin="*").cors_origin == ("*",)


async def test_the_service_is_constructed_before_the_server_starts(backend_url: str | None) -> None:
    app = Starlette()
    server = RealtimeServer(
        app,
        RealtimeConfig(
            redis_url=backend_url,
            cors_origin="http://localhost:5173",
            jwt_secret=SECRET,
            ping_interval=25_000,
            ping_timeout=20_000,
        ),
    )
    tracking = TrackingService(server.redis, server.socket_io)
    app.state.realtime = server
    assert (server.redis is None) is (backend_url is None)
    assert isinstance(server.socket_io, socketio.AsyncServer)
    assert server.get_stats() == {"connections": 0, "rooms": 0, "uptime": 0}
    async with serving(app) as live, watching(live, "v1") as watcher:
        await tracking.publish_location_update("vehicle", "v1", LOCATION)
        await until(lambda: watcher.updates)
        assert watcher.updates == [EVENT.to_wire()]
        assert isinstance(server.tracking, TrackingService)
        if server.redis is not None:
            assert isinstance(server.redis, redis.asyncio.Redis)
            assert await server.redis.ping()


async def test_a_service_belongs_to_its_server(live: Live) -> None:
    stranger = redis.asyncio.Redis()
    for client, socket_io in [
        (live.server.redis, socketio.AsyncServer(async_mode="asgi")),
        (live.server.redis, None),
        (stranger, live.server.socket_io),
    ]:
        with pytest.raises(RealtimeError, match=r"TrackingService\(server.redis"):
            TrackingService(client, socket_io)


async def test_publish_and_read(live: Live, tracking: TrackingService) -> None:
    assert await tracking.get_current_location("vehicle", "v1") is None
    async with watching(live, "v1") as watcher:
        result = await tracking.publish_location_update("vehicle", "v1", LOCATION)
        assert (result.outcome, result.throttled) == ("published", False)
        assert result.location == LOCATION
        await until(lambda: watcher.updates)
        assert watcher.updates == [EVENT.to_wire()]
    assert await tracking.get_current_location("vehicle", "v1") == LOCATION
    assert await live.server.tracking.get_current_location("vehicle", "v1") == LOCATION
    assert await tracking.get_current_location("delivery", "v1") is None


async def test_cache_and_clear_publish_nothing(live: Live, tracking: TrackingService) -> None:
    async with watching(live, "v1", "v2") as watcher:
        await tracking.cache_current_location("vehicle", "v1", LOCATION.to_wire())
        assert await tracking.get_current_location("vehicle", "v1") == LOCATION
        assert (await tracking.get_tracking_stats())["activeVehicles"] == 1
        await tracking.clear_current_location("vehicle", "v1")
        await tracking.clear_current_location("vehicle", "never there")
        assert await tracking.get_current_location("vehicle", "v1") is None
        assert (await tracking.get_tracking_stats())["activeVehicles"] == 0
        await tracking.publish_location_update("vehicle", "v2", LOCATION)
        await until(lambda: watcher.updates)
        assert [update["entityId"] for update in watcher.updates] == ["v2"]


async def test_every_location_of_a_type(live: Live, tracking: TrackingService) -> None:
    assert await tracking.get_all_vehicle_locations() == {}
    for number in range(1_200):
        await tracking.cache_current_location("vehicle", f"v{number}", LOCATION)
    await tracking.cache_current_location("delivery", "d1", LOCATION)
    found = await tracking.get_all_vehicle_locations()
    assert found.keys() == {f"v{number}" for number in range(1_200)}
    assert found["v7"] == LOCATION
    assert await tracking.get_all_locations("vehicle") == found
    assert await tracking.get_all_locations("delivery") == {"d1": LOCATION}
    assert await tracking.get_tracking_stats() == {
        "activeVehicles": 1_200,
        "activeDeliveries": 1,
        "totalTracking": 1_201,
    }


async def test_refusals_name_what_is_wrong(live: Live, tracking: TrackingService) -> None:
    wire = LOCATION.to_wire()
    for kind, entity_id, location, code, field in [
        ("boat", "b1", wire, "unknown_type", "type"),
        ("vehicle", "a:b", wire, "invalid_entity_id", "entityId"),
        ("vehicle", "", wire, "invalid_entity_id", "entityId"),
        ("vehicle", "v1", {**wire, "latitude": 91}, "invalid_location", "latitude"),
        ("vehicle", "v1", {**wire, "altitude": float("nan")}, "invalid_location", "altitude"),
        ("vehicle", "v1", {**wire, "timestamp": "now"}, "invalid_location", "timestamp"),
        ("vehicle", "v1", {**wire, "what": 1}, "invalid_location", "what"),
    ]:
        for call in (tracking.publish_location_update, tracking.cache_current_location):
            with pytest.raises(RealtimeError) as caught:
                await call(kind, entity_id, location)
            assert (caught.value.code, caught.value.field) == (code, field)
    assert (await tracking.get_tracking_stats())["totalTracking"] == 0


async def test_subscriptions_receive_every_event_until_they_are_closed(
    live: Live, tracking: TrackingService
) -> None:
    heard: list[tuple[str, LocationEvent]] = []
    awaited: list[tuple[str, LocationEvent]] = []

    async def slowly(channel: str, event: LocationEvent) -> None:
        await asyncio.sleep(0)
        awaited.append((channel, event))

    plain = await tracking.subscribe_to_location_updates(
        lambda channel, event: heard.append((channel, event))
    )
    coroutine = await tracking.subscribe_to_location_updates(slowly)
    await tracking.publish_location_update("vehicle", "v1", LOCATION)
    await live.publish("v2")
    await tracking.cache_current_location("vehicle", "v3", LOCATION)
    await live.post("/api/tracking/location", {"deliveryId": "d1", "latitude": 1, "longitude": 2})
    await until(lambda: len(heard) == len(awaited) == 3)
    assert heard == awaited
    assert heard[0] == ("tracking:vehicle:v1", EVENT)
    assert [channel for channel, _ in heard] == [
        "tracking:vehicle:v1",
        "tracking:vehicle:v2",
        "tracking:delivery:d1",
    ]
    await plain.close()
    await plain.close()
    await live.publish("v4")
    await until(lambda: len(awaited) == 4)
    assert len(heard) == 3
    await coroutine.close()
    again = await tracking.subscribe_to_location_updates(slowly)
    await live.publish("v5")
    await until(lambda: len(awaited) == 5)
    await again.close()


async def test_a_subscription_whose_callback_fails_continues(
    live: Live, tracking: TrackingService
) -> None:
    heard: list[str] = []

    def choosy(channel: str, event: LocationEvent) -> None:
        if event.entity_id == "bad":
            raise LookupError("as planned")
        heard.append(event.entity_id)

    subscription = await tracking.subscribe_to_location_updates(choosy)
    for entity_id in ("v1", "bad", "v2"):
        await live.publish(entity_id)
    await until(lambda: heard == ["v1", "v2"])
    await subscription.close()


async def test_a_subscription_receives_fixes_of_other_servers(redis_url: str) -> None:
    heard: list[str] = []
    async with serving(redis_url=redis_url) as one, serving(redis_url=redis_url) as other:
        subscription = await one.server.tracking.subscribe_to_location_updates(
            lambda channel, _: heard.append(channel)
        )
        async with watching(
            one, "v1"
        ) as watcher:  # channel and pattern both match, and deliver once
            await other.publish("v1")
            await one.publish("v1")
            await other.publish("v2")
            await until(lambda: heard[-1:] == ["tracking:vehicle:v2"])
            assert heard == ["tracking:vehicle:v1"] * 2 + ["tracking:vehicle:v2"]
            await until(lambda: len(watcher.updates) == 2)
        await subscription.close()


async def test_close_disconnects_everyone_and_is_safe_to_repeat(serve: Serve) -> None:
    async with serve() as live, watching(live, "v1") as watcher:
        await live.server.close()
        await until(lambda: not watcher.client.connected)
        assert live.server.connection_count == 0
        await live.server.close()
        with pytest.raises(RealtimeError, match="closed"):
            await live.server.tracking.publish_location_update("vehicle", "v1", LOCATION)


async def test_a_server_that_never_started_closes(backend_url: str | None) -> None:
    await RealtimeServer(Starlette(), config(redis_url=backend_url)).close()
