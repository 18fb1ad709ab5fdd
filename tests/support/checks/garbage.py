"""What of ours only the garbage collector frees, found in a process of its own.

``python -m tests.support.checks.garbage sockets|fixes TRANSPORT REDIS_PORT`` prints how many there
are of each kind after the same was done again and again.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections import Counter

from tests.support.clients.websocket import wire
from tests.support.servers.serving import Chosen, Live, serving, token, until
from tests.support.servers.tcp_proxy import proxying

TIMES = 10

FIX = {"latitude": 52.6, "longitude": -8.6}

REFUSED = (
    '["track:boat","b"]',
    '["track:vehicle",""]',
    '["location:publish",{"vehicleId":"v","latitude":91,"longitude":0}]',
    '["location:publish",{"vehicleId":"v","latitude":',
    '["authenticate"]',
)

TARGET = "/socket.io/?EIO=4&transport=websocket"


class Collector:
    """The garbage collector, which frees nothing from its beginning on."""

    def begin(self) -> None:
        """Forget what was left behind before."""
        gc.disable()
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)

    def found(self) -> dict[str, int]:
        """What of ours was left behind each time."""
        gc.collect()
        kinds = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
        return {
            kind: n
            for kind, n in kinds.items()
            if n >= TIMES and kind.startswith("atriz_realtime.")
        }


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


async def sockets(redis_port: int) -> dict[str, int]:
    """What sockets leave behind."""
    collector = Collector()
    url = f"redis://127.0.0.1:{redis_port}"
    async with serving(redis_url=url, require_handshake_auth=True) as live:
        there = live.server.socket_io.eio.sockets
        for number in range(TIMES + 2):
            if number == 2:
                await until(lambda: not there)
                collector.begin()
            await visit(live, number)
            await be_refused(live, number)
        await until(lambda: not there)
        return collector.found()


async def fixes(redis_port: int) -> dict[str, int]:
    """What fixes leave behind while Redis is away."""
    collector = Collector()
    async with proxying(redis_port) as proxy, serving(redis_url=proxy.url) as live:
        await live.publish("v0")
        async with proxy.outage():
            await until(lambda: live.server.status().state == "disconnected")
            await live.publish("v0")
            collector.begin()
            for number in range(TIMES):
                await live.publish(f"v{number}")
            return collector.found()


if __name__ == "__main__":
    what, Chosen.transport, port = sys.argv[1:]  # type: ignore[assignment]
    sys.stdout.write(json.dumps(asyncio.run({"sockets": sockets, "fixes": fixes}[what](int(port)))))
