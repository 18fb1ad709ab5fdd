"""On a Redis Cluster a fix of a TypeScript server arrives through the adapter alone."""

from __future__ import annotations

from contextlib import AsyncExitStack

from tests.defaults.typescript.conftest import Cluster
from tests.defaults.typescript.servers import client_of
from tests.defaults.typescript.test_emits import clients_of
from tests.defaults.typescript.test_fixes import COUNT, event, fence, location, watchers


async def test_fixes_reach_every_watcher_once_in_order(on_a_redis_cluster: Cluster) -> None:
    cluster = on_a_redis_cluster
    async with AsyncExitStack() as stack:
        clients = await watchers(stack, cluster, "v1")
        ours = cluster.ours[0].server.tracking
        for number in range(COUNT):
            await ours.publish_location_update("vehicle", "v1", location(number))
        await fence(cluster, clients)
        for number in range(COUNT, 59):
            await cluster.theirs[0].call("publish", "vehicle", "v1", location(number))
        await fence(cluster, clients, 2)
        for client in clients:
            assert client.updates == [event(number) for number in range(59)]


async def test_a_new_watcher_misses_nothing(on_a_redis_cluster: Cluster) -> None:
    cluster = on_a_redis_cluster
    for number in range(1, 21):
        async with client_of(cluster.ours[0].url, "u1", f"v{number}") as client:
            room = f"vehicle:v{number}"
            await cluster.theirs[0].call("emitLocationUpdate", room, {"number": number})
            assert await client.next("location:update") == {"number": number}


async def test_emits_and_requests(on_a_redis_cluster: Cluster) -> None:
    cluster = on_a_redis_cluster
    async with AsyncExitStack() as stack:
        clients = await clients_of(stack, cluster, "u1")
        await cluster.ours[0].server.send_to_user("u1", "notice", "ours")
        await cluster.theirs[0].call("sendToUser", "u1", "notice", "theirs")
        await cluster.ours[0].server.broadcast_to_authenticated("all", "ours")
        await cluster.theirs[0].call("broadcastToAuthenticated", "all", "theirs")
        for client in clients:
            await client.next("notice", 2)
            await client.next("all", 2)
            assert sorted(client.of("notice")) == sorted(client.of("all")) == ["ours", "theirs"]
        assert len(await cluster.theirs[0].call("fetchSockets", {})) == 4
        assert await cluster.theirs[0].call("allSockets") == 4
