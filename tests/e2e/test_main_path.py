"""From a published fix to its watchers, with python-socketio's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.servers.serving import Live, serving, until, watching


@pytest.fixture(params=["memory", "redis"])
async def live(request: pytest.FixtureRequest) -> AsyncIterator[Live]:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    async with serving(redis_url=url) as live:
        yield live


@pytest.mark.parametrize("polling", [False, True], ids=["websocket", "polling"])
async def test_a_published_fix_reaches_its_watchers(live: Live, polling: bool) -> None:
    async with watching(live, "v1", polling=polling) as one, watching(live, "v2") as other:
        await live.publish("v1", speed=65.0, timestamp="2026-01-31T12:00:00Z")
        await until(lambda: one.updates)
        assert one.updates == [
            {
                "type": "vehicle",
                "entityId": "v1",
                "location": {
                    "deviceId": "v1",
                    "userId": "u1",
                    "latitude": 52.6,
                    "longitude": -8.6,
                    "speed": 65,
                    "timestamp": "2026-01-31T12:00:00.000Z",
                },
            }
        ]
        assert other.updates == []


async def test_a_new_watcher_receives_the_current_location(live: Live) -> None:
    await live.publish("v1")
    async with watching(live, "v1") as watcher:
        await until(lambda: watcher.updates)
        assert [update["entityId"] for update in watcher.updates] == ["v1"]
