"""After an outage the bridge works again, and delivers nothing twice."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from tests.defaults.typescript.conftest import Cluster
from tests.defaults.typescript.test_emits import clients_of
from tests.defaults.typescript.test_fixes import event, location
from tests.support.servers.serving import TIMEOUT


async def subscribers(client: Any) -> list[int]:
    """The subscribed connections of this package's servers."""
    return [
        int(each["id"])
        for each in await client.client_list()
        if each["name"] == "atriz-realtime"
        and int(each["sub"]) + int(each["psub"]) + int(each["ssub"])
    ]


async def test_a_lost_connection_comes_back_with_all_its_channels(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        clients = await clients_of(stack, cluster, "u1", "v1")
        lost = await subscribers(cluster.redis)
        for number in lost:
            await cluster.redis.client_kill_filter(_id=number)
        async with asyncio.timeout(TIMEOUT):
            while (
                len(await subscribers(cluster.redis)) != len(lost) or not await cluster.complete()
            ):
                await asyncio.sleep(0.01)
        await cluster.wait_subscribed("user:u1", "authenticated", "vehicle:v1")
        await cluster.theirs[0].call("sendToUser", "u1", "notice", 1)
        await cluster.theirs[0].call("publish", "vehicle", "v1", location(1))
        await cluster.ours[0].server.tracking.publish_location_update("vehicle", "v1", location(2))
        for client in clients:
            await client.next("notice")
            await client.next("location:update", 2)
            assert client.of("notice") == [1]
            updates = sorted(client.updates, key=lambda each: each["location"]["timestamp"])
            assert updates == [event(1), event(2)]
