"""A misbehaving plugin neither stops the server nor costs watchers of other entities a fix."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from tests.support.servers.serving import Live, serving, until, watching

BAD = tuple(f"tests.support.plugins.bad:{name}" for name in ("raiser", "sleeper", "blocker"))
FIXES = 10


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    async with serving(extra_plugins=BAD, plugin_timeout=0.5) as live:
        yield live


async def test_watchers_of_other_entities_lose_nothing_and_the_culprits_are_named(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with watching(live, "v1") as watcher:
        for number in range(FIXES):
            await live.publish("v1", speed=number)
        await until(lambda: len(watcher.updates) == FIXES)
        assert [update["location"]["speed"] for update in watcher.updates] == list(range(FIXES))

        refused = [
            await live.post(
                "/api/tracking/location",
                {"type": kind, "entityId": "x1", "latitude": 1, "longitude": 2},
            )
            for kind in ("raising", "sleeping")
        ]
        assert [status for status, _ in refused] == [
            500,
            403,
        ]  # an authorizer that times out refuses
        assert refused[0][1]["code"] == "plugin_failed"
        for kind in ("raising", "sleeping"):
            assert (await watcher.call(f"track:{kind}", "x1"))["code"] == "unauthorized"
        for event in ("raise", "sleep"):
            assert (await watcher.call(event))["code"] == "plugin_failed"

        await live.publish("v1", speed=99)
        await until(lambda: watcher.updates[-1]["location"]["speed"] == 99)

    expected = {
        "plugin raiser failed",
        "plugin sleeper timed out",
        "plugin sleeper too slow",
        "plugin blocker blocked the loop",
    }
    await until(lambda: expected <= set(live.server.incidents.counts))
    _, health = await live.get("/health/realtime")
    assert health["status"] == "healthy"
    assert expected <= set(health["incidents"])
    for incident in expected:
        lines = [each for each in caplog.messages if each.startswith(incident)]
        what = [each.removeprefix(f"{incident}: ").partition(": ")[0] for each in lines]
        assert what
        assert len(what) == len({*what}), "one line per burst of a function"


async def test_a_hanging_event_delays_its_own_socket_alone(live: Live) -> None:
    async with watching(live, "v1") as caller, watching(live, "v1") as other:
        hanging = asyncio.create_task(caller.call("sleep"))
        await live.publish("v1")
        await until(lambda: other.updates and caller.updates)
        assert (await hanging)["code"] == "plugin_failed"
