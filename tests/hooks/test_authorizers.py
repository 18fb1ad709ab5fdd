"""A listing with an authorizer that asks a service."""

from __future__ import annotations

from atriz_realtime.defaults.http_api import ENTITIES_AT_ONCE
from atriz_realtime.testing import serving
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
