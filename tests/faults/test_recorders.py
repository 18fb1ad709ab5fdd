"""Every fix that was answered 200 is recorded, whatever is killed meanwhile."""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.cli.processes import environment, serve
from tests.faults.nodes import Node
from tests.support.servers.serving import token, until

SETTINGS = {
    "ATRIZ_REALTIME_EXTRA_PLUGINS": "tests.support.plugins.file_recorder",
    "ATRIZ_REALTIME_THROTTLE_INTERVAL": "60000",
    "PYTHONPATH": str(Path.cwd()),
}
RECORDED_LIMIT = 30.0
"""Seconds until what a killed server had read is recorded by another."""


class Device:
    """Publishes fixes of different speeds; ``accepted`` has those that were answered 200."""

    def __init__(self) -> None:
        self.accepted: list[int] = []
        self._speed = 0

    async def publish(self, url: str, count: int) -> None:
        headers = {"Authorization": f"Bearer {token('device')}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            for _ in range(count):
                self._speed += 1
                fix = {"vehicleId": f"v{self._speed % 7}", "latitude": 1, "longitude": 2}
                body = {**fix, "speed": self._speed}
                async with session.post(f"{url}/api/tracking/location", json=body) as response:
                    if response.status == 200:
                        self.accepted.append(self._speed)


def recorded(path: Path) -> Counter[int]:
    """How often each speed was recorded."""
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(int(float(line.split()[1])) for line in lines)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recorded"


async def test_a_server_is_killed_between_reading_and_confirming(single: Node, path: Path) -> None:
    device, hold = Device(), path.with_suffix(".hold")
    env = environment(REDIS_URL=single.url, RECORDED=str(path), **SETTINGS)
    async with AsyncExitStack() as stack:
        lost = await stack.enter_async_context(serve(env=env))
        hold.touch()
        await device.publish(lost.url, 50)
        await until(path.with_suffix(".held").exists)
        assert await lost.command.ended(signal.SIGKILL) == -signal.SIGKILL
        hold.unlink()
        left = await stack.enter_async_context(serve(env=env))
        await device.publish(left.url, 5)
        await until(lambda: recorded(path).keys() >= set(device.accepted), RECORDED_LIMIT)
    assert len(device.accepted) == 55
    assert recorded(path).keys() == set(device.accepted)


async def test_a_redis_with_a_disk_is_restarted(single: Node, path: Path) -> None:
    """What waits in Redis is there again, and what came meanwhile waits in the server."""
    device, hold = Device(), path.with_suffix(".hold")
    await single.ask("CONFIG", "SET", "appendonly", "yes")
    await single.ask("CONFIG", "SET", "appendfsync", "always")
    single.configure({"appendonly": "yes", "appendfsync": "always"})
    env = environment(REDIS_URL=single.url, RECORDED=str(path), **SETTINGS)
    async with serve(env=env) as server:
        hold.touch()
        await device.publish(server.url, 30)
        single.kill()
        await device.publish(server.url, 3)
        await single.start()
        await device.publish(server.url, 10)
        hold.unlink()
        await until(lambda: recorded(path).keys() >= set(device.accepted), RECORDED_LIMIT)
    assert len(device.accepted) == 43
