"""Redis stops, dies, or disconnects its clients."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.conftest import Stage
from tests.faults.nodes import Node


async def test_stopped(single: Node, stage: Stage) -> None:
    async with stage(single.url, single.url) as scene, scene.fault("stopped (SIGSTOP, SIGCONT)"):
        single.suspend()
        await scene.degraded()
        await scene.away_for(2.0)
        single.resume()


async def test_stopped_for_less_than_anybody_notices(single: Node, stage: Stage) -> None:
    async with (
        stage(single.url, single.url) as scene,
        scene.fault("stopped for 0.5 s", nothing_missing=True),
    ):
        single.suspend()
        await scene.away_for(0.5)
        single.resume()


async def test_stopped_for_longer_than_commands_wait_but_not_listeners(
    single: Node, stage: Stage
) -> None:
    async with stage(single.url, single.url) as scene, scene.fault("stopped for 1.3 s"):
        single.suspend()
        await scene.away_for(1.3)
        single.resume()


async def test_killed_and_started_empty_on_the_same_port(single: Node, stage: Stage) -> None:
    async with stage(single.url, single.url) as scene, scene.fault("killed, started again empty"):
        single.kill()
        await scene.degraded()
        await scene.away_for(2.0)
        await single.start()


async def test_killed_and_started_with_data_that_takes_seconds_to_load(
    single: Node, stage: Stage
) -> None:
    await single.ask("EVAL", "for n = 1, 3000 do redis.call('SET', 'key' .. n, n) end", 0)
    await single.ask("SAVE")
    async with stage(single.url, single.url) as scene, scene.fault("killed, loads data for 3 s"):
        single.kill()
        await scene.degraded()
        single.configure({"key-load-delay": 1_000, "loading-process-events-interval-bytes": 1_024})
        await asyncio.gather(single.start(), scene.away_for(2.0))


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
async def test_clients_cut_off(single: Node, stage: Stage, kind: str) -> None:
    async with stage(single.url, single.url) as scene, scene.fault(f"CLIENT KILL TYPE {kind}"):
        for _ in range(3):
            assert await single.ask("CLIENT KILL", "TYPE", kind, "SKIPME", "yes") >= 2
            await scene.away_for(0.5)


async def test_all_clients_cut_off_again_and_again(single: Node, stage: Stage) -> None:
    async with stage(single.url, single.url) as scene, scene.fault("all clients killed, 20 times"):
        for _ in range(20):
            await single.ask("CLIENT KILL", "SKIPME", "yes")
            await asyncio.sleep(0.1)
        await scene.away_for(0)


@pytest.mark.parametrize("answers", ["yes", "no"])
async def test_demoted_and_promoted_again(single: Node, stage: Stage, answers: str) -> None:
    async with stage(single.url, single.url) as scene, scene.fault(f"demoted, answers: {answers}"):
        await single.ask("CONFIG", "SET", "replica-serve-stale-data", answers)
        await single.ask("REPLICAOF", "127.0.0.1", 1)
        await scene.degraded()
        await scene.away_for(2.0)
        await single.ask("REPLICAOF", "NO", "ONE")
