"""Counts the objects that only the garbage collector would free, in a process of its own.

``python -m tests.support.checks.garbage sockets|fixes TRANSPORT REDIS_PORT`` repeats some work,
and prints how many objects of each class of the package it left each time.
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
    """The garbage collector; after :meth:`begin` it keeps what it finds instead of freeing it."""

    def begin(self) -> None:
        """Free what was left before, and keep what is left from now on."""
        gc.disable()
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)

    def found(self) -> dict[str, int]:
        """How many objects of each class were left, when that was so each time."""
        gc.collect()
        kinds = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
        return {
            kind: n
            for kind, n in kinds.items()
            if n >= TIMES and kind.startswith("atriz_realtime.")
        }


async def visit(live: Live, number: int) -> None:
    """Connect, track, receive a fix, be refused, and leave, half of the time by an abort."""
    async with wire(live.port, TARGET) as socket:

        async def until_received(start: str) -> None:
            while not str(await socket.message()).startswith(start):
                pass

        await until_received("0")
        socket.send(f"40{json.dumps({'token': token(f'u{number}')})}")
        await until_received("40")
        socket.send(f'420["track:vehicle","v{number}"]')
        await until_received("430")
        await live.publish(f"v{number}")
        await until_received('42["location:update"')
        socket.send(f'421["location:publish",{json.dumps(FIX | {"vehicleId": f"v{number}"})}]')
        await until_received("431")
        for refused in REFUSED:
            socket.send(f"422{refused}")
            await until_received("432")
        if number % 2:
            socket.send("41")
            socket.send("1")
        else:
            socket.abort()


async def be_refused(live: Live, number: int) -> None:
    """Send tokens, packets and bodies that are refused."""
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
    """What sockets leave when they are gone."""
    collector = Collector()
    url = f"redis://127.0.0.1:{redis_port}"
    async with serving(redis_url=url, require_handshake_auth=True) as live:
        sessions = live.server.socket_io.eio.sockets
        for number in range(TIMES + 2):
            if number == 2:
                await until(lambda: not sessions)
                collector.begin()
            await visit(live, number)
            await be_refused(live, number)
        await until(lambda: not sessions)
        return collector.found()


async def fixes(redis_port: int) -> dict[str, int]:
    """What fixes leave that are published during an outage of Redis."""
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
