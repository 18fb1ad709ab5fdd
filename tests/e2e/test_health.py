"""``GET /health/realtime``, and what the server says of itself in Python."""

from __future__ import annotations

from tests.support.clients import Connect, Serve
from tests.support.serving import Live, serving

HERE = {"latitude": 52.6, "longitude": -8.6}


async def test_the_report_of_an_idle_server(live: Live, backend_url: str | None) -> None:
    assert await live.get("/health/realtime", headers={}) == (
        200,
        {
            "status": "healthy",
            "websocket": {"connections": 0, "rooms": 0},
            "tracking": {"activeVehicles": 0, "activeDeliveries": 0, "totalTracking": 0},
            "redis": "connected" if backend_url else "embedded",
        },
    )


async def test_the_report_counts_sockets_rooms_and_entities(live: Live, connect: Connect) -> None:
    for number in range(3):
        await live.publish(f"v{number}")
        await live.publish(f"v{number}")
    await live.post("/api/tracking/location", {"deliveryId": "d1", **HERE})
    async with connect(live, user="u1") as one, connect(live, user=None):
        await one.call("track:vehicle", ["v1", "v9"])
        status, report = await live.get("/health/realtime", headers={})
        assert status == 200
        # two sockets' own rooms, user:u1, vehicle:v1, vehicle:v9
        assert report["websocket"] == {"connections": 2, "rooms": 5}
        assert report["tracking"] == {
            "activeVehicles": 3,
            "activeDeliveries": 1,
            "totalTracking": 4,
        }
        stats = live.server.get_stats()
        assert stats.keys() == {"connections", "rooms", "uptime"}
        assert (stats["connections"], stats["rooms"]) == (2, 5)
        assert (live.server.connection_count, live.server.room_count) == (2, 5)


async def test_uptime_is_counted_from_the_start(serve: Serve) -> None:
    async with serve() as live:
        first = live.server.get_stats()["uptime"]
        await live.publish("v1")
        assert 0 < first < live.server.get_stats()["uptime"] < 60


async def test_a_redis_that_was_never_there() -> None:
    async with serving(redis_url="redis://127.0.0.1:1") as live:
        status, report = await live.get("/health/realtime", headers={})
        assert status == 503
        assert report["status"] == "degraded"
        assert report["redis"] == "disconnected"
        assert report["websocket"] == {"connections": 0, "rooms": 0}
        assert report["tracking"] == {
            "activeVehicles": 0,
            "activeDeliveries": 0,
            "totalTracking": 0,
        }
