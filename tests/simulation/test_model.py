"""The model of Redis does what Valkey does, and the loop what asyncio's does."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
import redis

from atriz_realtime.defaults.redis import cache, fanout
from atriz_realtime.defaults.revocations import stored
from tests.simulation.loop import Deadlock, Process, VirtualLoop, current_process
from tests.simulation.redis_model import Data, Server

NOWHERE: Any = None
REVOKED = ("revoked", "version", "log")


def commands(chance: random.Random) -> list[list[Any]]:
    """What the cache and the revocations send, in any order."""
    made: list[list[Any]] = []
    for number in range(400):
        entity = f"v{chance.randint(1, 4)}"
        stamp = f"2026-01-31T12:00:0{chance.randint(0, 9)}.000Z"
        location = json.dumps({"latitude": chance.randint(0, 2), "timestamp": stamp})
        expires, now = chance.randint(3_001, 9_000), chance.randint(0, 3_000)
        keys = [f"location:{entity}", "index"]
        put = [cache._PUT_AND_INDEX, 2, *keys, location, 60, stamp, entity, expires, now]
        last = f"last:{entity}"
        keep = [cache._KEEP_ALL, 3, "last-index", keys[0], last, 60, expires, now, entity]
        publish = [fanout._PUBLISH, 1, "unused", "event", "channel"]
        late = [fanout._PUBLISH_UNLESS_NEWER, 2, keys[0], "unused", "event", "channel"]
        revoked = [expires, f'["token", "{chance.randint(1, 9)}", 1, {expires}]']
        more = [expires, f'["user", "{chance.randint(1, 9)}", 1, {expires}]']
        add = [stored.ADD, 3, *REVOKED, now, 5, 60, f"{number:03}", *revoked, *more]
        made.append(
            chance.choice(
                [
                    ["EVAL", *put],
                    ["EVAL", *put],
                    ["EVAL", *keep],
                    ["EVAL", *add],
                    ["EVAL", *publish],
                    ["EVAL", *late, location, stamp],
                    ["GET", keys[0]],
                    ["DEL", keys[0]],
                    ["DEL", last],
                    ["ZRANGE", "last-index", 0, "+inf", "BYSCORE", "LIMIT", 0, 9, "WITHSCORES"],
                    ["ZREM", "index", *{entity, "v2"}],
                    ["ZCOUNT", "index", f"({now}", "+inf"],
                    ["ZRANGE", "index", now, "+inf", "BYSCORE", "LIMIT", 0, 3, "WITHSCORES"],
                    ["ZRANGE", "revoked", now, "+inf", "BYSCORE", "LIMIT", 0, 9],
                    ["EXISTS", "version"],
                    ["SET", "version", "by a server that keeps no log"],
                    ["ZRANGE", "log", 0, "+inf", "BYSCORE", "LIMIT", 0, 9, "WITHSCORES"],
                    ["ZRANGE", "log", -1, -1, "WITHSCORES"],
                    ["EVALSHA", "0" * 40, 0],
                ]
            )
        )
    return made


def encoded(part: object) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()


@pytest.mark.parametrize("seed", range(8))
def test_the_model_answers_as_valkey_does(redis_url: str, seed: int) -> None:
    server = Server("redis:1", Data(lambda: 0.0))
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        client.response_callbacks.clear()
        for command in commands(random.Random(seed)):
            modelled = server.execute(NOWHERE, [encoded(part) for part in command])
            if isinstance(modelled, Exception):
                with pytest.raises(redis.ResponseError):
                    client.execute_command(*command)
            else:
                assert modelled == client.execute_command(*command), command


def test_time_jumps_to_the_next_timer() -> None:
    loop = VirtualLoop()
    seen: list[float] = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append(loop.time())

    async def main() -> None:
        await asyncio.gather(sleep(3_600), sleep(0.5), sleep(60))

    loop.run_until_complete(main())
    loop.close()
    assert seen == [0.5, 60.0, 3_600.0]


def test_waiting_for_nothing_is_an_error() -> None:
    loop = VirtualLoop()
    with pytest.raises(Deadlock):
        loop.run_until_complete(loop.create_future())
    loop.close()


def test_a_killed_process_does_nothing_more() -> None:
    loop = VirtualLoop()
    process = Process("A", skew=5.0)
    seen: list[object] = []

    async def work() -> None:
        try:
            while True:
                seen.append((current_process(), round(loop.wall() % 60, 1)))
                await asyncio.sleep(1.0)
        finally:
            seen.append("finally")

    async def main() -> None:
        loop.spawn(process, work())
        await asyncio.sleep(1.5)
        loop.kill(process)
        await asyncio.sleep(5.0)
        assert current_process() is None

    loop.run_until_complete(main())
    assert seen == [(process, 5.0), (process, 6.0)]
    loop.bury()
    loop.close()
