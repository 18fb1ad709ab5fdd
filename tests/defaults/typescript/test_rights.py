"""The rights in Redis that the page documents, and no others, are enough for the bridge."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from atriz_realtime import create_app
from atriz_realtime.cli.verdict import Verdict
from atriz_realtime.testing import config
from tests.defaults.typescript.conftest import Cluster, bridged, running
from tests.defaults.typescript.test_emits import clients_of
from tests.defaults.typescript.test_fixes import event, fence, location, watchers

SHARDED = ("+spublish", "+ssubscribe", "+sunsubscribe")

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


def without(rule: list[str], lacking: set[str]) -> list[str]:
    return [*rule[:2], *["check", "reset"], *[each for each in rule[3:] if each not in lacking]]


async def test_check_finds_the_rights_that_the_bridge_lacks(
    kind: str, redis_url: str, redis_client: Any
) -> None:
    rule = documented_rule(kind)
    own = [each for each in rule if each.startswith("&socket.io") or each in SHARDED]
    url = redis_url.replace("://", "://check:a-password@")
    try:
        for letters in ("", "+", "&"):  # who lacks a command is not told of its channels
            lacking = {each for each in own if letters and each[0] == letters}
            await redis_client.execute_command(*without(rule, lacking))
            found = await problems(kind, url)
            if not lacking:
                assert found == []
                continue
            (problem,) = found
            text, _, rights = problem.rpartition(": ")
            assert text == "the user of redis_url lacks rights that the plugin typescript needs"
            assert set(rights.split()) == lacking
    finally:
        await redis_client.acl_deluser("check")


async def problems(kind: str, url: str) -> list[str]:
    found = Verdict()
    await found.ask_plugins(create_app(config(**bridged(kind, url))).state.realtime, ())
    return found.problems


def incidents(cluster: Cluster) -> list[dict[str, int]]:
    return [dict(live.server.incidents.counts) for live in cluster.ours]


async def test_running_servers_take_no_notice_of_a_check(cluster: Cluster, redis_url: str) -> None:
    async with AsyncExitStack() as stack:
        clients = await watchers(stack, cluster, "v1")
        before = incidents(cluster)
        assert await problems(cluster.kind, redis_url) == []
        await cluster.ours[0].server.tracking.publish_location_update("vehicle", "v1", location(0))
        await fence(cluster, clients)
        for watcher in clients:
            assert watcher.updates == [event(0)]
        assert incidents(cluster) == before
