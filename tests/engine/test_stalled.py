"""A client that stops reading misses old positions, never the newest, and delays no other."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from atriz_realtime.engine.outbox import MAX_BYTES
from tests.support.clients.websocket import Wire, wire
from tests.support.servers.serving import TIMEOUT, Live, serving, token, until
from tests.support.servers.transports import BOTH_ON_UVICORN

VEHICLES = [f"v{number}" for number in range(20)]
PADDING = "x" * 3_000


@asynccontextmanager
async def watching_all(live: Live) -> AsyncIterator[Wire]:
    """A watcher of all vehicles."""
    async with wire(live.port, "/socket.io/?EIO=4&transport=websocket") as socket:
        await socket.message()
        socket.send("40" + json.dumps({"token": token()}))
        await socket.message()
        socket.send("420" + json.dumps(["track:vehicle", VEHICLES]))
        assert await socket.message() == '430[{"success":true}]'
        yield socket


class Reader:
    """Reads a socket, and records the speeds of each vehicle."""

    def __init__(self, socket: Wire) -> None:
        self.speeds: defaultdict[str, list[int]] = defaultdict(list)
        self._socket = socket
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            _, event = json.loads(str(await self._socket.message()).removeprefix("42"))
            self.speeds[event["entityId"]].append(event["location"]["speed"])

    def has(self, speed: int) -> bool:
        """Whether that is the newest speed of every vehicle."""
        return all(self.speeds[vehicle][-1:] == [speed] for vehicle in VEHICLES)

    async def keep_up(self, speed: int) -> None:
        """Read until that speed has come for every vehicle, in turns of the loop."""
        while not self._task.done() and not self.has(speed):
            await asyncio.sleep(0)

    async def until_newest(self, speed: int) -> None:
        await until(lambda: self._task.done() or self.has(speed))
        if self._task.done():
            self._task.result()
        self._task.cancel()


class Fleet:
    """Vehicles that move, one round after another."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.round = 0

    async def move(self) -> None:
        self.round += 1
        for vehicle in VEHICLES:
            location: Any = {
                "deviceId": vehicle,
                "userId": "u1",
                "latitude": 52.6,
                "longitude": -8.6,
                "speed": self.round,
                "timestamp": "2026-01-31T12:00:00Z",
                "metadata": {"padding": PADDING},
            }
            await self._live.server.emit_vehicle_location_update(vehicle, location)
        await asyncio.sleep(0)


def sessions(live: Live) -> list[Any]:
    return list(live.server.socket_io.eio.sockets.values())


def waiting(live: Live) -> int:
    """Bytes that wait for all clients, anywhere in this process."""
    found = 0
    for session in sessions(live):
        if session.outbox is not None:
            found += sum(len(each.content) for _, each in session.outbox._packets.values())
        transport = session.transport
        if hasattr(transport, "_transport"):
            found += transport._transport.get_write_buffer_size()
        else:
            found += sum(len(each.content) for each in transport._outgoing)
    return found


@BOTH_ON_UVICORN
async def test_a_client_that_stalls_and_wakes(portable: bool) -> None:
    async with (
        serving(portable=portable, max_pending_frames=8) as live,
        watching_all(live) as stalled,
        watching_all(live) as other,
    ):
        fleet, lively = Fleet(live), Reader(other)
        engine = live.server.socket_io.eio
        stalled.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(TIMEOUT):
            while engine.conflated < 10 * len(VEHICLES):
                await fleet.move()
                await lively.keep_up(fleet.round)
        await lively.until_newest(fleet.round)
        assert all(lively.speeds[each] == [*range(1, fleet.round + 1)] for each in VEHICLES)
        (behind,) = [each for each in sessions(live) if each.outbox is not None]
        assert len(behind.outbox) <= len(VEHICLES)
        bound = MAX_BYTES + len(VEHICLES) * 2 * len(PADDING)
        assert waiting(live) < 2 * bound
        stalled.writer.transport.resume_reading()  # type: ignore[attr-defined]
        woken = Reader(stalled)
        await woken.until_newest(fleet.round)
        for vehicle in VEHICLES:
            seen = woken.speeds[vehicle]
            assert seen == sorted(set(seen)), "older after newer, or one twice"
            assert len(seen) < fleet.round
        await until(lambda: all(each.outbox is None for each in sessions(live)))
        assert "slow client cut" not in live.server.incidents.counts


@BOTH_ON_UVICORN
async def test_a_client_that_stalls_too_long_is_cut(portable: bool) -> None:
    async with (
        serving(portable=portable, max_pending_frames=8, max_lag=0.1) as live,
        watching_all(live) as stalled,
        watching_all(live) as other,
    ):
        fleet, lively = Fleet(live), Reader(other)
        stalled.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(TIMEOUT):
            while not live.server.incidents.counts.get("slow client cut"):
                await fleet.move()
        await until(lambda: live.server.connection_count == 1)
        await fleet.move()
        await lively.until_newest(fleet.round)
        assert live.server.incidents.counts["slow client cut"] == 1
        assert waiting(live) < MAX_BYTES
