"""A cluster loses nodes, and moves slots between them."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from redis.crc import key_slot

from atriz_realtime.redis_link import cluster as topology
from tests.faults.conftest import Stage
from tests.faults.nodes import Node
from tests.faults.scene import ENTITIES, QUIET
from tests.faults.topology import Cluster, Maker

ENTITY = ENTITIES[0]
"""The entity of which the node is lost, or the slots move."""


@pytest.fixture(autouse=True)
def no_periodic_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the topology has to be noticed, not found by the periodic refresh."""
    monkeypatch.setattr(topology, "REFRESH_SECONDS", 3_600)


def elsewhere(cluster: Cluster, lost: Node) -> list[str]:
    """The entities that are not on a lost node."""
    return [entity for entity in ENTITIES if cluster.home(entity) is not lost]


async def test_a_node_is_lost_and_its_replica_takes_over(
    cluster: Cluster, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "atriz_realtime")
    lost = cluster.home(QUIET)
    successor = cluster.replicas[cluster.primaries.index(lost)]
    async with stage(cluster.url, cluster.url) as scene:
        async with scene.fault("cluster: primary killed"):
            lost.kill()
            await scene.degraded()
            await scene.away_for(0)
        said = f"Redis at 127.0.0.1:{successor.port} is connected"
        assert caplog.messages.count(said) == 2  # each server, once


async def test_slots_move_to_another_node(maker: Maker, stage: Stage) -> None:
    async with (
        maker.cluster(replicas=False) as cluster,
        stage(cluster.url, cluster.url) as scene,
        scene.fault("cluster: slots migrated"),
    ):
        names = (f"location:current:vehicle:{ENTITY}", "location:index:vehicle")
        for slot in (*(key_slot(name.encode()) for name in names), cluster.slot(ENTITY)):
            owner = cluster.owner(slot)
            async with cluster.migrating(slot, owner, cluster.other(owner)):
                await scene.catch_up(scene.sees_there, [ENTITY])
        await scene.away_for(0)


async def test_a_node_is_lost_for_good_and_the_others_go_on(maker: Maker, stage: Stage) -> None:
    async with (
        maker.cluster(replicas=False) as cluster,
        stage(cluster.url, cluster.url) as scene,
    ):
        lost = cluster.home(ENTITY)
        others = elsewhere(cluster, lost)
        lost.kill()
        began = time.perf_counter()
        await scene.degraded()
        await scene.away_for(0)
        await scene.judged("cluster: node lost for good, entities of others", began, others)
        assert scene.sees_there.behind(scene.devices.last)  # the entities of the lost node


async def test_a_cluster_that_refuses_to_work_without_a_node(maker: Maker, stage: Stage) -> None:
    async with (
        maker.cluster(replicas=False, full_coverage=True) as cluster,
        stage(cluster.url, cluster.url) as scene,
        scene.fault("cluster: down without a node, which returns"),
    ):
        lost, *others = cluster.primaries
        lost.kill()
        await asyncio.gather(
            *(
                node.wait_for("CLUSTER INFO", until=lambda info: info["cluster_state"] == "fail")
                for node in others
            )
        )
        await scene.degraded()
        await scene.away_for(0.5)
        await lost.start()
