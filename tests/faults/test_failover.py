"""Sentinels promote the replica."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Stage
from tests.faults.topology import Watched


@pytest.mark.parametrize("how", ["killed", "suspended"])
async def test_the_primary_is_lost(watched: Watched, stage: Stage, how: str) -> None:
    async with stage(watched.url, watched.url) as scene, scene.fault(f"Sentinel: primary {how}"):
        if how == "killed":
            watched.primary.kill()
        else:
            watched.primary.suspend()
        await scene.degraded()
        await scene.away_for(0)
    assert (await watched.replica.ask("ROLE"))[0] == "master"


@pytest.mark.long
async def test_a_lost_primary_comes_back_as_a_replica(watched: Watched, stage: Stage) -> None:
    """For about ten seconds it still answers as a primary."""
    async with (
        stage(watched.url, watched.url) as scene,
        scene.fault("Sentinel: old primary back as a replica"),
    ):
        watched.primary.suspend()
        await scene.away_for(0)
        await watched.replica.wait_for("ROLE", until=lambda role: role[0] == "master")
        watched.primary.resume()
        await watched.primary.wait_for("ROLE", until=lambda role: role[0] == "slave")
