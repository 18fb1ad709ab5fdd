"""The bytes on the wire are those that JavaScript's ``JSON.stringify`` produces."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import aiohttp
import pytest
import redis.asyncio

from atriz_realtime import EntityRef, Location, LocationEvent
from tests.support.clients.engineio import raw_socket, raw_watcher
from tests.support.clients.node import evaluate
from tests.support.servers.serving import Live, serving, token

STRINGIFIED = """
    JSON.stringify({
      deviceId: 'v1', userId: 'u1',
      latitude: 40.7128, longitude: -74.0060,
      speed: 65.0, heading: 180.50, accuracy: 1e1, altitude: -0.0,
      timestamp: new Date('2026-01-31T12:00:00.120Z'),
      metadata: { 'ключ "1"': ['\\u2028', '/', null, true, 0.1 + 0.2], empty: {} },
    })
"""

BODY = """{
    "vehicleId": "v1", "metadata": {"ключ \\"1\\"": ["\u2028", "\\/", null, true,
    0.30000000000000004], "empty": {}}, "timestamp": "2026-01-31T13:00:00.120+01:00",
    "altitude": -0.0, "accuracy": 1e1, "heading": 180.50, "speed": 65.0,
    "longitude": -74.0060, "latitude": 40.7128
}"""

LOCATION = Location(
    device_id="v1",
    user_id="u1",
    latitude=40.7128,
    longitude=-74.0060,
    speed=65.0,
    heading=180.50,
    accuracy=1e1,
    altitude=-0.0,
    timestamp=datetime(2026, 1, 31, 14, 0, 0, 120_999, tzinfo=timezone(timedelta(hours=2))),
    metadata={'ключ "1"': ["\u2028", "/", None, True, 0.1 + 0.2], "empty": {}},
)


def event(location: str) -> str:
    """The JSON of the event with a location's JSON."""
    return f'{{"type":"vehicle","entityId":"v1","location":{location}}}'


def frame(location: str) -> str:
    """The text of the websocket frame with that event."""
    return f'42["location:update",{event(location)}]'


async def post(live: Live, body: str) -> None:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token()}"}) as session,
        session.post(f"{live.url}/api/tracking/location", data=body) as response,
    ):
        assert response.status == 200


SENDERS: dict[str, Callable[[Live], Awaitable[Any]]] = {
    "http": lambda live: post(live, BODY),
    "publish": lambda live: live.server.tracking.publish_location_update("vehicle", "v1", LOCATION),
    "publish JSON": lambda live: live.server.tracking.publish_location_update(
        "vehicle", "v1", LOCATION.to_wire()
    ),
    "emit": lambda live: live.server.emit_vehicle_location_update("v1", LOCATION),
    "emit JSON": lambda live: live.server.emit_vehicle_location_update("v1", LOCATION.to_wire()),
    "emit to the room": lambda live: live.server.emit_location_update(
        "vehicle:v1", LocationEvent(EntityRef("vehicle", "v1"), LOCATION)
    ),
}


@pytest.mark.parametrize("send", SENDERS.values(), ids=SENDERS)
async def test_a_frame_is_what_node_would_send(
    live: Live, send: Callable[[Live], Awaitable[Any]]
) -> None:
    async with raw_watcher(live, "v1") as raw:
        await send(live)
        assert await raw.recv() == frame(await evaluate(STRINGIFIED))


async def test_the_snapshot_is_the_same_frame(live: Live) -> None:
    await post(live, BODY)
    async with raw_socket(live) as raw:
        await raw.send('42["track:vehicle","v1"]')
        assert await raw.recv() == frame(await evaluate(STRINGIFIED))


async def test_optional_fields_are_omitted_rather_than_null(live: Live) -> None:
    async with raw_watcher(live, "v1") as raw:
        await post(
            live,
            '{"vehicleId": "v1", "latitude": -0.0, "longitude": 180.0,'
            ' "timestamp": "2026-01-31T12:00:00Z"}',
        )
        assert await raw.recv() == frame(
            '{"deviceId":"v1","userId":"u1","latitude":0,"longitude":180,'
            '"timestamp":"2026-01-31T12:00:00.000Z"}'
        )


async def test_numbers_are_printed_as_node_prints_them(live: Live) -> None:
    texts = ["51.47790000000001", "1e-5", "89.99999999999999", "4.0e1", "0.00012", "1E1", "-0"]
    async with raw_watcher(live, "v1") as raw:
        for text in texts:
            await post(live, f'{{"vehicleId": "v1", "latitude": {text}, "longitude": {text}}}')
            printed = await evaluate(f"JSON.stringify({text})")
            assert f'"latitude":{printed},"longitude":{printed},' in str(await raw.recv())


async def test_redis_and_http_carry_the_same_bytes(
    redis_url: str, redis_client: redis.asyncio.Redis
) -> None:
    location = await evaluate(STRINGIFIED)
    async with serving(redis_url=redis_url) as live, redis_client.pubsub() as subscriber:
        await subscriber.psubscribe("tracking:*")
        await subscriber.get_message(timeout=10)
        await post(live, BODY)
        message = await subscriber.get_message(timeout=10)
        assert message is not None
        assert message["channel"] == b"tracking:vehicle:v1"
        assert message["data"].decode() == event(location)
        assert await redis_client.get("location:current:vehicle:v1") == location.encode()
        assert 295 <= await redis_client.ttl("location:current:vehicle:v1") <= 300
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token()}"}) as session,
            session.get(f"{live.url}/api/tracking/vehicle/v1") as response,
        ):
            assert response.content_type == "application/json"
            assert await response.text() == location
