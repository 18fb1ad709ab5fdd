"""The scene of a fault: devices on one server, watchers of it and of another, and their health.

Each server is reached in both ways, over uvicorn's websocket protocol and over ASGI, and is
watched in both: what holds has to hold on either.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs

from tests.faults.traffic import PUBLISH_LIMIT, Devices, Sightings
from tests.support.servers.serving import Live, serving, until
from tests.support.servers.transports import serving_engine

ENTITIES = tuple(f"v{number}" for number in range(10))

INTERVAL = 0.1
"""Seconds between two fixes of one entity."""

QUIET = "quiet"
"""An entity that publishes only while the fault lasts, once each time it is awaited."""

MAX_PENDING_FRAMES = 10_000
"""More than come at once when a server gives up on a silent subscription: with the default,
a watcher of so many entities is a slow client for a moment, and sees only the newest."""

RECOVERY_LIMIT = 15.0
"""Seconds after the end of a fault in which everything must be well again: generous."""


@attrs.frozen
class Measured:
    """What a fault cost."""

    fault: str
    recovery: float
    """Seconds from its end until every watcher had the newest position and health was good."""
    slowest: float
    """Seconds that the slowest publish took."""
    published: int


Record = Callable[[Measured], None]


@attrs.frozen
class Watchers:
    """Watchers of everything on one server."""

    each: Sequence[Sightings]

    def behind(self, numbers: Mapping[str, int]) -> list[str]:
        """The entities of which one of them saw something older last."""
        return [entity for one in self.each for entity in one.behind(numbers)]

    def disorder(self) -> list[str]:
        """Where a fix came twice to one of them, or after a newer one."""
        return [found for one in self.each for found in one.disorder()]

    def gaps(self) -> list[str]:
        """What did not come to one of them."""
        return [found for one in self.each for found in one.gaps()]


@attrs.define(eq=False)
class Scene:
    """Two servers: devices publish on the first, and each has watchers of everything."""

    here: Live
    there: Live
    devices: Devices
    sees_here: Watchers
    sees_there: Watchers
    _record: Record

    @asynccontextmanager
    async def fault(self, name: str) -> AsyncIterator[None]:
        """A fault: begun and ended by the body, judged and recorded after it.

        The devices go on through it and for a second after the recovery, so that
        whatever comes late, twice or in a wrong order is seen.
        """
        yield
        ended = time.perf_counter()
        await self.healthy()
        await self.judged(name, ended, list(self.devices.homes))

    async def judged(self, name: str, since: float, there: Sequence[str]) -> None:
        """Wait until watchers have the newest positions; then look at all that was seen.

        :param since: when whatever they had to recover from ended.
        :param there: the entities that the watchers of the other server have to see.
        """
        await self.keeps_up(self.sees_there, there)
        recovery = time.perf_counter() - since
        await asyncio.sleep(1.0)
        assert self.devices.last[QUIET]
        self.devices.pause(*self.devices.homes)
        await self.keeps_up(self.sees_here, list(self.devices.homes))
        await self.keeps_up(self.sees_there, there)
        self._record(Measured(name, recovery, self.devices.slowest, self.devices.count))
        assert self.devices.refused == []
        assert self.devices.longest_wait <= PUBLISH_LIMIT
        assert self.sees_here.disorder() == []
        assert self.sees_here.gaps() == []
        assert self.sees_there.disorder() == []

    async def degraded(self) -> None:
        """Wait until both servers say that something is wrong, and what."""
        for report in await self._until_health(503):
            assert report["status"] == "degraded"
            assert report["redis"] == "disconnected"
            assert report["reason"]

    async def healthy(self) -> None:
        """Wait until both say that all is well."""
        for report in await self._until_health(200):
            assert report["status"] == "healthy"
            assert report["redis"] == "connected"

    async def _until_health(self, wanted: int) -> list[Any]:
        async with asyncio.timeout(RECOVERY_LIMIT):
            while True:
                answers = await asyncio.gather(
                    self.here.get("/health/realtime"), self.there.get("/health/realtime")
                )
                if all(status == wanted for status, _ in answers):
                    return [report for _, report in answers]
                await asyncio.sleep(0.02)

    async def keeps_up(self, watchers: Watchers, entities: Sequence[str]) -> None:
        """Wait until watchers have seen of each entity what is published next, or was last."""
        numbers = self.devices.coming(entities)
        with contextlib.suppress(TimeoutError):
            await until(lambda: not watchers.behind(numbers), RECOVERY_LIMIT)
        assert watchers.behind(numbers) == []

    async def statistics(self, live: Live) -> Any:
        """What a server counts."""
        _, report = await live.get("/health/realtime")
        return report["statistics"]

    async def away_for(self, seconds: float) -> None:
        """Let a fault last; in its middle the quiet entity publishes its only fix."""
        await asyncio.sleep(seconds / 2)
        self.devices.publish_once(QUIET)
        await asyncio.sleep(seconds / 2)


@asynccontextmanager
async def watched(live: Live, ids: Sequence[str]) -> AsyncIterator[Watchers]:
    """Watch a server, as it is served and once more over ASGI."""
    engine = live.server.socket_io.eio
    async with AsyncExitStack() as stack:
        asgi_port = await stack.enter_async_context(
            serving_engine("asgi", live.app, engine, "/socket.io/", lifespan=False)
        )
        watchers = Watchers([Sightings(ids), Sightings(ids)])
        for one, port in zip(watchers.each, (live.port, asgi_port), strict=True):
            await stack.enter_async_context(one.watching(f"http://127.0.0.1:{port}"))
        yield watchers


@asynccontextmanager
async def staged(here_url: str, there_url: str, record: Record) -> AsyncIterator[Scene]:
    """Servers on two Redis URLs, devices that publish, and watchers that see all of it."""
    ids = (*ENTITIES, QUIET)
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(
            serving(redis_url=here_url, max_pending_frames=MAX_PENDING_FRAMES)
        )
        there = await stack.enter_async_context(serving(redis_url=there_url))
        sees_here = await stack.enter_async_context(watched(here, ids))
        sees_there = await stack.enter_async_context(watched(there, ids))
        devices = Devices(dict.fromkeys(ids, here.url), INTERVAL)
        devices.pause(QUIET)
        await stack.enter_async_context(devices.publishing())
        await until(lambda: not sees_there.behind(dict.fromkeys(ENTITIES, 3)))
        yield Scene(here, there, devices, sees_here, sees_there, record)
