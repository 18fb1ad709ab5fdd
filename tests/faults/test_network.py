"""The network between the servers and Redis is slow, drops data, and breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from atriz_realtime.api import RedisChannels
from atriz_realtime.redis_link import pipe
from tests.faults.conftest import Stage
from tests.faults.nodes import Node
from tests.faults.proxy import Proxy, Wire, proxying
from tests.faults.topology import Maker

NOON = "2026-01-31T12:00:00.000Z"

SLOW = pipe.ANSWER_TIMEOUT / 3
"""Seconds by which each reply is delayed; a busy machine adds some, and none may come too late."""


@pytest.fixture
async def proxy(single: Node) -> AsyncIterator[Proxy]:
    """A proxy in front of one Redis."""
    async with proxying(single.port) as proxy:
        yield proxy


async def test_every_answer_takes_longer(proxy: Proxy, stage: Stage) -> None:
    async with (
        stage(proxy.url, proxy.url) as scene,
        scene.fault(f"{SLOW:g} s on every answer", nothing_missing=True),
    ):
        proxy.delay = SLOW
        await scene.away_for(1.0)
        for live in (scene.here, scene.there):
            assert (await live.get("/health/realtime"))[1]["redis"] == "connected"
            assert (await scene.statistics(live))["backlog"] == {
                "waiting": 0,
                "superseded": 0,
                "dropped": 0,
            }
        proxy.delay = 0.0


async def test_every_answer_takes_longer_and_the_queue_is_full(
    proxy: Proxy, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(proxy.url, proxy.url) as scene:
        with monkeypatch.context() as patched:
            async with scene.fault(f"{SLOW:g} s on every answer, more fixes than the queue holds"):
                patched.setattr(pipe, "MAX_PENDING", 6)
                proxy.delay = SLOW
                for _ in range(2):
                    await scene.away_for(0.5)
                    assert (await scene.statistics(scene.here))["redis"]["pending"] <= 6
                proxy.delay = 0.0
                patched.undo()
            backlog = (await scene.statistics(scene.here))["backlog"]
            assert backlog.pop("superseded") > 10  # only the newest of each entity waited
            assert backlog == {"waiting": 0, "dropped": 0}


@pytest.mark.parametrize("do", [Wire.drop, Wire.half_close, Wire.reset], ids=lambda do: do.__name__)
async def test_connections_break(proxy: Proxy, stage: Stage, do: Callable[[Wire], None]) -> None:
    async with stage(proxy.url, proxy.url) as scene, scene.fault(f"network: {do.__name__}"):
        proxy.every(do)
        await scene.away_for(0)


@pytest.mark.parametrize("which", ["subscribers", "commanders"])
@pytest.mark.parametrize("do", [Wire.swallow, Wire.stall], ids=lambda do: do.__name__)
async def test_connections_stay_and_nothing_comes(
    proxy: Proxy, stage: Stage, do: Callable[[Wire], None], which: str
) -> None:
    async with (
        stage(proxy.url, proxy.url) as scene,
        scene.fault(f"network: {do.__name__}, {which}"),
    ):
        for wire in getattr(proxy, which)():
            do(wire)
        await scene.away_for(0)


async def test_nothing_comes_of_new_connections_either(proxy: Proxy, stage: Stage) -> None:
    async with stage(proxy.url, proxy.url) as scene, scene.fault("network: all answers swallowed"):
        proxy.swallowing = True
        proxy.every(Wire.swallow)
        await scene.degraded()
        await scene.away_for(1.0)
        proxy.swallowing = False
        proxy.every(Wire.drop)


async def test_subscribers_are_cut_off_for_their_output_buffers(maker: Maker, stage: Stage) -> None:
    async with (
        maker.single({"client-output-buffer-limit": "pubsub 256kb 0 0"}) as single,
        stage(single.url, single.url) as scene,
        scene.fault("subscribers cut off for their output buffers"),
    ):
        # one script runs at once, so Redis can send nothing before the buffer is full
        flood = "for _ = 1, 100 do redis.call('PUBLISH', KEYS[1], string.rep('x', 10000)) end"
        await single.ask("EVAL", flood, 1, RedisChannels.EMITS)
        stats = await single.ask("INFO", "stats")
        assert stats["client_output_buffer_limit_disconnections"] == 2
        await scene.away_for(0)
