"""Four server processes under load, with devices and watchers on each, and one fault.

Two of them use the engine's own websocket protocol, the others ASGI.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import attrs

from tests.cli.processes import Served, environment, own_uvicorn, serve
from tests.faults.proxy import proxying
from tests.faults.scene import MAX_PENDING_FRAMES, RECOVERY_LIMIT, Measured
from tests.faults.traffic import PUBLISH_LIMIT, Devices, Sightings
from tests.support.servers.serving import token, until

SERVERS = 4


@attrs.frozen
class Size:
    """How much is published, and for how long."""

    entities: int
    rate: float
    """Fixes a second of all entities together, as long as no publish is slow."""
    seconds: float
    """The whole duration, unless the recovery takes longer."""
    fault: float
    """Seconds that the fault lasts; it begins after a third of the duration."""


@attrs.define(eq=False)
class Load:
    """Devices on every server, and watchers of all entities on every server."""

    size: Size
    servers: Sequence[Served]
    devices: Devices
    watchers: Mapping[int, Sequence[Sightings]]
    """By the number of the server that they are on."""
    killed: int | None = None
    """The number of a server that was killed."""

    def everyone(self) -> list[Sightings]:
        """All watchers."""
        return [one for sightings in self.watchers.values() for one in sightings]

    def home(self, entity: str) -> int:
        """The number of the server that an entity's device talks to."""
        return int(entity[1:]) % SERVERS

    async def kill_server(self, number: int) -> None:
        """Kill a server; its clients move to the next one."""
        self.killed = number
        await self.servers[number].command.ended(signal.SIGKILL)

    async def run(self, name: str, inflict: Callable[[Load, float], Awaitable[None]]) -> Measured:
        """Publish for as long as the size says, and inflict a fault meanwhile."""
        began = time.perf_counter()
        counted = self.devices.count
        await asyncio.sleep(self.size.seconds / 3)
        await inflict(self, self.size.fault)
        ended = time.perf_counter()
        if self.killed is not None:
            await until(lambda: all(one.reconnects for one in self.watchers[self.killed or 0]))
        await self._everyone_has(self.devices.coming(self.devices.homes))
        recovery = time.perf_counter() - ended
        await asyncio.sleep(max(1.0, began + self.size.seconds - time.perf_counter()))
        rate = (self.devices.count - counted) / (time.perf_counter() - began)
        self.devices.pause(*self.devices.homes)
        await self._everyone_has(self.devices.last)
        return Measured(
            f"{SERVERS} servers, {rate:.0f} fixes/s: {name}",
            recovery,
            self.devices.slowest,
            self.devices.count,
        )

    async def _everyone_has(self, numbers: Mapping[str, int]) -> None:
        with contextlib.suppress(TimeoutError):  # what is missing says more
            await until(lambda: not self._behind(numbers), RECOVERY_LIMIT)
        assert self._behind(numbers) == []

    def _behind(self, numbers: Mapping[str, int]) -> list[str]:
        """What watchers have not received, with the last fixes that they have."""
        return [
            f"{entity} on server {server}: {numbers[entity]} is not the last of {seen[-5:]}"
            for server, watchers in self.watchers.items()
            for one in watchers
            for entity in one.behind(numbers)
            for seen in (one.seen[entity],)
        ]

    async def lost_redis(self) -> bool:
        """Whether a server has given up a connection to Redis, as on a machine that is too slow."""
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token()}"}) as session:
            for server in self.servers:
                async with session.get(f"{server.url}/health/realtime") as response:
                    statistics = (await response.json())["statistics"]
                if any(statistics[part]["reconnects"] for part in ("redis", "fanout")):
                    return True
        return False

    def judge(self, *, everything: bool) -> None:
        """Check what publishers and watchers saw.

        :param everything: whether every watcher must have seen every fix; otherwise those on
            the server where it was published must.
        """
        cut_off = {line.partition(" ")[0] for line in self.devices.refused}
        assert len(self.devices.refused) == len(
            cut_off
        )  # one refusal each, then the next server accepts
        assert {self.home(entity) for entity in cut_off} <= {self.killed}
        assert self.devices.longest_wait <= PUBLISH_LIMIT
        assert [one.disorder() for one in self.everyone() if one.disorder()] == []
        for number, watchers in self.watchers.items():
            gaps = {gap.partition(":")[0]: gap for one in watchers for gap in one.gaps()}
            here = {e for e in gaps if self.home(e) == number and number != self.killed}
            assert [gaps[entity] for entity in (gaps if everything else here)] == []


@asynccontextmanager
async def loaded(redis_url: str, size: Size) -> AsyncIterator[Load]:
    """Start the servers, the watchers and the publishing."""
    entities = [f"v{number}" for number in range(size.entities)]
    env = environment(
        REDIS_URL=redis_url, ATRIZ_REALTIME_MAX_PENDING_FRAMES=str(MAX_PENDING_FRAMES)
    )
    async with AsyncExitStack() as stack:
        servers = await asyncio.gather(
            *(
                stack.enter_async_context(run(env=env))
                for run in (serve, own_uvicorn) * (SERVERS // 2)
            )
        )
        balancer = await stack.enter_async_context(proxying(servers[0].port, servers[1].port))
        urls = [f"http://127.0.0.1:{balancer.port}", *(server.url for server in servers[1:])]
        watchers: dict[int, list[Sightings]] = {}
        for number, url in enumerate(urls):
            watchers[number] = [Sightings(entities[::2]), Sightings(entities[1::2])]
            for sightings in watchers[number]:
                await stack.enter_async_context(sightings.watching(url))
        homes = {entity: urls[int(entity[1:]) % SERVERS] for entity in entities}
        devices = Devices(homes, size.entities / size.rate)
        await stack.enter_async_context(devices.publishing())
        load = Load(size, servers, devices, watchers)
        await until(lambda: len(devices.last) == size.entities)
        yield load
