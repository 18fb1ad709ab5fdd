"""Authorizers that ask a service."""

from __future__ import annotations

import pytest

from atriz_realtime.defaults.http_api import ENTITIES_AT_ONCE
from atriz_realtime.testing import serving, watching
from tests.support.plugins.files import Plugins

WAITING = """
import asyncio

class Service:
    def __init__(self):
        self.asked = self.most = 0
        self.full = asyncio.Event()

service = Service()

async def rule(identity, entity):
    service.asked += 1
    service.most = max(service.most, service.asked)
    if service.asked == 20:
        service.full.set()
    await service.full.wait()
    service.asked -= 1
    return entity.id != "v3"

@hookimpl
def register_authorizers():
    return Authorizer("service", may_track=rule)
"""


async def test_a_listing_asks_about_a_group_at_once_and_keeps_its_order(plugins: Plugins) -> None:
    count = 2 * ENTITIES_AT_ONCE
    async with serving(extra_plugins=[plugins.module("service", WAITING)]) as live:
        for number in range(count):
            await live.publish(f"v{number}")
        status, answer = await live.get("/api/tracking/vehicle")
        assert status == 200
        listed = [each["entityId"] for each in answer["locations"]]
        assert sorted(listed) == sorted(f"v{n}" for n in range(count) if n != 3)
        assert plugins.loaded("service").service.most == ENTITIES_AT_ONCE


AWAY = """
@hookimpl
def register_authorizers():
    async def rule(identity, entity):
        try:
            raise OSError("db.internal refused")
        except OSError as error:
            raise Unavailable("the crews are not known") from error

    return Authorizer("crews", may_track=rule, may_publish=rule)
"""


async def test_the_log_has_the_cause_of_an_outage_and_callers_do_not(
    plugins: Plugins, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serving(extra_plugins=[plugins.module("crews", AWAY)]) as live,
        watching(live) as watcher,
    ):
        answer = await watcher.call("track:vehicle", "v1")
        fix = {"vehicleId": "v1", "latitude": 1, "longitude": 2}
        status, refusal = await live.post("/api/tracking/location", fix)
    assert (answer["code"], status, refusal["code"]) == ("unavailable", 503, "unavailable")
    assert "db.internal" not in f"{answer}{refusal}"
    cause = "the crews are not known (OSError: db.internal refused)"
    assert f"plugin crews failed: authorizer 'crews': {cause}" in caplog.messages
    assert any(line.startswith("refused unavailable") and cause in line for line in caplog.messages)
