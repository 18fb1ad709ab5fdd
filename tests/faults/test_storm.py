"""All clients connect at once, as they do when their server has gone."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import pairwise

from atriz_realtime.engine.admission import ADMITTED_PER_TURN
from atriz_realtime.testing import location
from tests.support.clients.websocket import OFFER
from tests.support.servers.serving import TIMEOUT, serving, until, watching
from tests.support.servers.transports import BOTH_ON_UVICORN

CLIENTS = 300

PATH = "/socket.io/?EIO=4&transport=websocket"

HANDSHAKE = "".join(
    f"{line}\r\n"
    for line in (
        f"GET {PATH} HTTP/1.1",
        "Host: here",
        *(f"{name}: {value}" for name, value in OFFER.items()),
        "",
    )
).encode()


@BOTH_ON_UVICORN
async def test_everyone_is_admitted_and_connected_clients_do_not_wait(portable: bool) -> None:
    async with (
        serving(portable=portable) as live,
        watching(live, "v1") as watcher,
        contextlib.AsyncExitStack() as closing,
    ):
        engine = live.server.socket_io.eio
        waiting = []
        for _ in range(CLIENTS):
            reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
            closing.callback(writer.transport.abort)
            waiting.append((reader, writer))
        before = len(engine.sockets)
        for _, writer in waiting:  # in one iteration of the loop
            writer.write(HANDSHAKE)
        moved, seen_before_the_last = False, False
        open_by_iteration = [before]
        async with asyncio.timeout(TIMEOUT):
            while open_by_iteration[-1] < before + CLIENTS:
                await asyncio.sleep(0)
                open_by_iteration.append(len(engine.sockets))
                if not moved and open_by_iteration[-1] > before:
                    moved = True
                    await live.server.emit_vehicle_location_update("v1", location())
                seen_before_the_last = bool(watcher.updates)
        assert seen_before_the_last
        # over ASGI each is admitted in its own task, and two batches may fall into one iteration
        at_once = max(after - earlier for earlier, after in pairwise(open_by_iteration))
        assert at_once <= ADMITTED_PER_TURN * (2 if portable else 1)

        async def connects(reader: asyncio.StreamReader) -> bool:
            answer = await reader.readuntil(b'"maxPayload"')
            return answer.startswith(b"HTTP/1.1 101 ")

        assert all(await asyncio.gather(*(connects(reader) for reader, _ in waiting)))
    await until(lambda: not engine.sockets)
