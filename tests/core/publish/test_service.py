"""The TypeScript package's TrackingService, on a server that needs no network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette

from atriz_realtime import RealtimeServer, TrackingService
from atriz_realtime.api import (
    ConfigurationError,
    InvalidEntityId,
    InvalidLocation,
    LocationEvent,
    Unavailable,
    UnknownEntityType,
)
from atriz_realtime.testing import config, event, location, until


@pytest.fixture
async def server() -> AsyncIterator[RealtimeServer]:
    server = RealtimeServer(Starlette(), config())
    yield server
    await server.close()


@pytest.fixture
def tracking(server: RealtimeServer) -> TrackingService:
    return TrackingService(server.redis, server.socket_io)


async def test_the_first_call_starts_the_server(
    server: RealtimeServer, tracking: TrackingService
) -> None:
    assert server.get_stats()["uptime"] == 0
    assert await tracking.get_tracking_stats() == {
        "activeVehicles": 0,
        "activeDeliveries": 0,
        "totalTracking": 0,
    }
    assert server.get_stats()["uptime"] > 0


async def test_publishing_and_reading(tracking: TrackingService) -> None:
    result = await tracking.publish_location_update("vehicle", "v1", location(1))
    assert result.outcome == "published"
    await tracking.publish_location_update("vehicle", "v2", location(2).to_wire())
    await tracking.publish_location_update("delivery", "d1", location(3))
    assert await tracking.get_current_location("vehicle", "v1") == location(1)
    assert await tracking.get_current_location("vehicle", "unknown") is None
    assert await tracking.get_all_vehicle_locations() == {"v1": location(1), "v2": location(2)}
    assert await tracking.get_all_locations("delivery") == {"d1": location(3)}
    assert await tracking.get_tracking_stats() == {
        "activeVehicles": 2,
        "activeDeliveries": 1,
        "totalTracking": 3,
    }
    await tracking.clear_current_location("vehicle", "v1")
    assert await tracking.get_current_location("vehicle", "v1") is None


async def test_caching_publishes_nothing(tracking: TrackingService) -> None:
    seen: list[str] = []
    handle = await tracking.subscribe_to_location_updates(lambda channel, _: seen.append(channel))
    await tracking.cache_current_location("vehicle", "v1", location(1))
    await tracking.publish_location_update("vehicle", "v2", location(2))
    await until(lambda: seen)
    assert seen == ["tracking:vehicle:v2"]
    assert await tracking.get_current_location("vehicle", "v1") == location(1)
    await handle.close()


async def test_a_listing_of_many_pages(
    tracking: TrackingService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atriz_realtime.core.publish.service.LISTING_PAGE", 7)
    for number in range(50):
        await tracking.cache_current_location("vehicle", f"v{number}", location(number))
    found = await tracking.get_all_vehicle_locations()
    assert found == {f"v{number}": location(number) for number in range(50)}


@pytest.mark.parametrize(
    ("kind", "entity_id", "fields", "error"),
    [
        ("vehicel", "v1", {}, UnknownEntityType),
        ("vehicle", "a:b", {}, InvalidEntityId),
        ("vehicle", "v1", {"latitude": 91}, InvalidLocation),
    ],
)
async def test_invalid_updates_are_refused_by_every_method(
    tracking: TrackingService,
    kind: str,
    entity_id: str,
    fields: dict[str, Any],
    error: type[Exception],
) -> None:
    wire = location().to_wire() | fields
    with pytest.raises(error):
        await tracking.publish_location_update(kind, entity_id, wire)
    with pytest.raises(error):
        await tracking.cache_current_location(kind, entity_id, wire)


# -- subscriptions to every update ---------------------------------------------------------


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_callback_gets_every_event_in_order(
    tracking: TrackingService, awaited: bool
) -> None:
    seen: list[tuple[str, LocationEvent]] = []

    def note(channel: str, fix: LocationEvent) -> None:
        seen.append((channel, fix))

    async def note_later(channel: str, fix: LocationEvent) -> None:
        await asyncio.sleep(0)
        seen.append((channel, fix))

    handle = await tracking.subscribe_to_location_updates(note_later if awaited else note)
    for seconds in range(5):
        await tracking.publish_location_update("vehicle", "v1", location(seconds))
    await until(lambda: len(seen) == 5)
    assert seen == [("tracking:vehicle:v1", event("v1", seconds)) for seconds in range(5)]
    await handle.close()
    await handle.close()
    await tracking.publish_location_update("vehicle", "v1", location(9))
    assert len(seen) == 5


async def test_a_callback_that_fails_is_counted_and_called_for_the_next_event(
    server: RealtimeServer, tracking: TrackingService
) -> None:
    seen: list[int] = []

    def fail_at_first(_: str, fix: LocationEvent) -> None:
        seen.append(fix.location.timestamp.second)
        if len(seen) == 1:
            raise LookupError("a bug")

    handle = await tracking.subscribe_to_location_updates(fail_at_first)
    for seconds in range(2):
        await tracking.publish_location_update("vehicle", "v1", location(seconds))
    await until(lambda: seen == [0, 1])
    assert server.incidents.counts["plugin host failed"] == 1
    await handle.close()


async def test_callbacks_are_independent(tracking: TrackingService) -> None:
    one, two = [], []
    first = await tracking.subscribe_to_location_updates(lambda *_: one.append(1))
    second = await tracking.subscribe_to_location_updates(lambda *_: two.append(1))
    await tracking.publish_location_update("vehicle", "v1", location(1))
    await until(lambda: one and two)
    await first.close()
    await tracking.publish_location_update("vehicle", "v1", location(2))
    await until(lambda: len(two) == 2)
    assert one == [1]
    await second.close()


# -- the server behind it ------------------------------------------------------------------


async def test_it_needs_the_parts_of_one_server(server: RealtimeServer) -> None:
    with pytest.raises(ConfigurationError, match="socket_io of a RealtimeServer"):
        TrackingService(None, object())
    with pytest.raises(ConfigurationError, match="redis of the same RealtimeServer"):
        TrackingService(object(), server.socket_io)


async def test_a_closed_server_publishes_nothing(
    server: RealtimeServer, tracking: TrackingService
) -> None:
    await tracking.publish_location_update("vehicle", "v1", location())
    await server.close()
    with pytest.raises(Unavailable, match="closed"):
        await tracking.publish_location_update("vehicle", "v1", location())
