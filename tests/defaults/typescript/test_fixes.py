"""A fix reaches every watcher on either kind of server once, and in order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis.asyncio

from atriz_realtime.api import LocationEvent, Payload, encode
from tests.defaults.typescript.conftest import Cluster
from tests.defaults.typescript.servers import client_of
from tests.support.clients.node import Node
from tests.support.clients.python_socketio import PythonClient
from tests.support.servers.serving import token, until

COUNT = 40


def location(number: float, **fields: Any) -> dict[str, Any]:
    return {
        "deviceId": "v1",
        "userId": "u1",
        "latitude": 40.0000001 + number,
        "longitude": -74.006,
        "speed": 0.000001,
        "heading": 180,
        "timestamp": f"2026-01-31T12:00:{number:02}.000Z",
        **fields,
    }


def event(number: int, **fields: Any) -> dict[str, Any]:
    return {"type": "vehicle", "entityId": "v1", "location": location(number, **fields)}


async def watchers(stack: AsyncExitStack, cluster: Cluster, *ids: str) -> list[PythonClient]:
    """A client on each server."""
    clients = [await stack.enter_async_context(client_of(url, "u1", *ids)) for url in cluster.urls]
    await cluster.wait_subscribed(*(f"vehicle:{each}" for each in ids))
    return clients


async def fence(cluster: Cluster, clients: list[PythonClient], number: int = 1) -> None:
    """Wait until everything that either kind of server has sent has arrived.

    Each server's own connections to Redis keep their order, so its fence comes last.
    """
    for server in cluster.ours:
        await server.server.socket_io.emit("fence", "ours", room="vehicle:v1")
    for theirs in cluster.theirs:
        await theirs.call("emit", {"rooms": ["vehicle:v1"]}, "fence", "theirs")
    for client in clients:
        await client.next("fence", 4 * number)


async def test_a_fix_of_this_package_reaches_every_watcher_once_in_order(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        clients = await watchers(stack, cluster, "v1")
        others = await watchers(stack, cluster, "v2")
        for number in range(COUNT):
            await cluster.ours[0].server.tracking.publish_location_update(
                "vehicle", "v1", location(number)
            )
        await fence(cluster, clients)
        for client in clients:
            assert client.updates == [event(number) for number in range(COUNT)]
        assert [client.updates for client in others] == [[]] * 4


async def test_a_late_fix_reaches_every_watcher_unless_a_newer_one_is_cached(
    cluster: Cluster,
) -> None:
    def late(number: int) -> Payload:
        return encode(LocationEvent.from_wire(event(number)))

    async with AsyncExitStack() as stack:
        clients = await watchers(stack, cluster, "v1")
        here, there = (ours.server for ours in cluster.ours)
        await there.tracking.publish_location_update("vehicle", "v1", location(2))
        await here.delivery.publish(late(1), held=True)
        await here.delivery.publish(late(3), held=True)
        await fence(cluster, clients)
        for client in clients:
            assert client.updates == [event(2), event(3)]


async def test_a_held_fix_that_takes_the_place_of_another_reaches_every_watcher_once(
    cluster: Cluster,
) -> None:
    async with AsyncExitStack() as stack:
        clients = await watchers(stack, cluster, "v1")
        here, there = (ours.server.delivery for ours in cluster.ours)
        older, newer = (encode(LocationEvent.from_wire(event(number))) for number in (1, 2))
        await here.cache(older, held=True)
        await there.cache(newer, held=True)
        await here.publish(older, held=True)
        await there.publish(newer, held=True)
        await fence(cluster, clients)
        for client in clients:
            assert client.updates == [event(2)]


async def test_a_fix_of_a_typescript_server_reaches_every_watcher_once_in_order(
    cluster: Cluster,
) -> None:
    async with AsyncExitStack() as stack:
        clients = await watchers(stack, cluster, "v1")
        for number in range(COUNT):
            await cluster.theirs[0].call("publish", "vehicle", "v1", location(number))
        await fence(cluster, clients)
        for client in clients:
            assert client.updates == [event(number) for number in range(COUNT)]


async def test_the_two_copies_of_a_fix_may_arrive_in_either_order(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        clients = await watchers(stack, cluster, "v1")
        locations = [location(number) for number in range(COUNT)]
        await cluster.theirs[0].call("publishAtOnce", "vehicle", "v1", locations)
        await cluster.theirs[0].call("publish", "vehicle", "v1", location(COUNT))
        await fence(cluster, clients)
        for client in clients:
            await client.next("location:update", COUNT + 1)
            assert client.updates == [event(number) for number in range(COUNT + 1)]


async def test_fixes_of_both_kinds_at_once_arrive_once(cluster: Cluster) -> None:
    async with AsyncExitStack() as stack:
        clients = await watchers(stack, cluster, "v1")

        async def ours() -> None:
            for number in range(0, COUNT, 2):
                await cluster.ours[number // 2 % 2].server.tracking.publish_location_update(
                    "vehicle", "v1", location(number)
                )

        async def theirs() -> None:
            for number in range(1, COUNT, 2):
                await cluster.theirs[number // 2 % 2].call(
                    "publish", "vehicle", "v1", location(number)
                )

        await asyncio.gather(ours(), theirs())
        await fence(cluster, clients)
        for client in clients:
            seen = [update["location"]["latitude"] for update in client.updates]
            assert sorted(seen) == [location(number)["latitude"] for number in range(COUNT)]
            # ours are in order whichever server they came from; theirs each server's: what one
            # of them emits itself may overtake what comes to it through Redis
            for first, step in ((0, 2), (1, 4), (3, 4)):
                own = [location(number)["latitude"] for number in range(first, COUNT, step)]
                assert [latitude for latitude in seen if latitude in own] == own


async def test_a_position_that_is_only_emitted_reaches_every_watcher_once(
    cluster: Cluster,
) -> None:
    async with AsyncExitStack() as stack:
        clients = await watchers(stack, cluster, "v1")
        await cluster.theirs[0].call("emitLocationUpdate", "vehicle:v1", event(1))
        await cluster.theirs[0].call("emitLocationUpdate", "vehicle:v1", {"of": "another shape"})
        await cluster.ours[0].server.emit_vehicle_location_update("v1", location(2))
        await cluster.ours[0].server.emit_location_update("vehicle:v1", {"ours": None})
        await fence(cluster, clients)
        for client in clients:
            theirs = [event(1), {"of": "another shape"}]
            ours = [event(2), {"ours": None}]
            assert [each for each in client.updates if each in theirs] == theirs
            assert [each for each in client.updates if each in ours] == ours
            assert len(client.updates) == 4


async def test_dates_and_numbers_of_typescript_servers_become_json(cluster: Cluster) -> None:
    odd = {"timestamp": {"$date": "2026-01-31T12:00:01.250Z"}, "metadata": {"load": {"$nan": True}}}
    wanted = event(1, timestamp="2026-01-31T12:00:01.250Z", metadata={"load": None})
    async with AsyncExitStack() as stack:
        clients = (await watchers(stack, cluster, "v1"))[:2]
        await cluster.theirs[0].call("publish", "vehicle", "v1", location(1, **odd))
        await fence(cluster, clients)
        for client in clients:
            assert client.updates == [wanted]


async def test_a_new_watcher_gets_the_location_that_a_typescript_server_cached(
    cluster: Cluster,
) -> None:
    await cluster.theirs[0].call("publish", "vehicle", "v1", location(1))
    async with client_of(cluster.ours[0].url, "u1", "v1") as late:
        await late.next("location:update")
        await cluster.theirs[0].call("publish", "vehicle", "v1", location(2))
        await late.next("location:update", 2)
        assert late.updates == [event(1), event(2)]


async def test_subscribers_to_the_channels_get_each_fix_once(
    cluster: Cluster, redis_url: str
) -> None:
    heard: list[float] = []
    tracking = cluster.ours[0].server.tracking
    subscription = await tracking.subscribe_to_location_updates(
        lambda _, update: heard.append(update.location.latitude)
    )
    async with (
        redis.asyncio.from_url(redis_url) as client,
        client.pubsub() as channels,
        client_of(cluster.ours[0].url, "u1", "v1"),
    ):
        await channels.psubscribe("tracking:*")
        await cluster.theirs[0].call("publish", "vehicle", "v1", location(1))
        await tracking.publish_location_update("vehicle", "v1", location(2))
        await tracking.publish_location_update("vehicle", "v2", location(3))
        await until(lambda: len(heard) == 3)
        assert heard == [location(number)["latitude"] for number in (1, 2, 3)]
        messages: list[bytes] = []
        while len(messages) < 3:
            message = await channels.get_message(ignore_subscribe_messages=True, timeout=10)
            if message is not None:
                messages.append(message["channel"])
        assert messages == [b"tracking:vehicle:v1"] * 2 + [b"tracking:vehicle:v2"]
    await subscription.close()


@pytest.mark.parametrize("kind", ["classic"], indirect=True)
async def test_the_javascript_client_gets_the_same(cluster: Cluster, js: Node) -> None:
    clients = [await js.connect(url, {"token": token()}) for url in cluster.urls]
    for client in clients:
        assert await client.call("track:vehicle", "v1") == {"success": True}
    await cluster.ours[0].server.tracking.publish_location_update("vehicle", "v1", location(1))
    for client in clients:
        await client.next("location:update")
    await cluster.theirs[1].call("publish", "vehicle", "v1", location(2))
    for client in clients:
        await client.next("location:update", 2)
        assert client.updates == [event(1), event(2)]
