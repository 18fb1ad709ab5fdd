"""The rights in Redis that the page documents, and no others, are enough for the bridge."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.defaults.typescript.conftest import Cluster, running
from tests.defaults.typescript.test_emits import clients_of
from tests.defaults.typescript.test_fixes import event, fence, location, watchers

PAGES = Path(__file__).parents[3] / "docs" / "operate"


def documented_rule(kind: str) -> list[str]:
    """The rule of the servers, and what the bridge needs besides."""
    servers = re.search(r"```text\n(ACL SETUSER [^`]+)```", (PAGES / "running.md").read_text())
    bridge = re.search(
        rf'^\| `"{kind}"` \| `(.+)` \|$', (PAGES / "typescript-bridge.md").read_text(), re.MULTILINE
    )
    assert servers is not None
    assert bridge is not None
    return [*servers[1].split(), *bridge[1].split()]


@pytest.fixture
async def with_documented_rights(
    kind: str, redis_url: str, redis_client: Any, node_servers: None
) -> AsyncIterator[Cluster]:
    await redis_client.execute_command(*documented_rule(kind))
    await redis_client.acl_log_reset()
    ours = redis_url.replace("://", "://realtime:a-password@")
    try:
        async with running(kind, ours, redis_url, redis_client) as cluster:
            yield cluster
    finally:
        await redis_client.acl_deluser("realtime")


async def test_the_documented_rights_are_enough(with_documented_rights: Cluster) -> None:
    cluster = with_documented_rights
    ours, theirs = cluster.ours[0], cluster.theirs[0]
    async with AsyncExitStack() as stack:
        clients = await watchers(stack, cluster, "v1")
        await ours.server.tracking.publish_location_update("vehicle", "v1", location(0))
        await fence(cluster, clients)
        await theirs.call("publish", "vehicle", "v1", location(1))
        await fence(cluster, clients, 2)
        for watcher in clients:
            assert watcher.updates == [event(0), event(1)]
        others = await clients_of(stack, cluster, "u1")
        await ours.server.send_to_user("u1", "notice", "ours")
        await theirs.call("sendToUser", "u1", "notice", "theirs")
        for client in others:
            await client.next("notice", 2)
        assert len(await theirs.call("fetchSockets", {})) == len(clients) + len(others)
    assert await cluster.redis.acl_log() == []
