"""The scene of a fault: two servers, with devices and watchers on both.

Each server is served over the engine's own websocket protocol and over ASGI, and has a watcher on
each: what is checked must hold on both.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
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
"""An entity that publishes only while the fault lasts, once in each :meth:`Scene.away_for`."""

MAX_PENDING_FRAMES = 10_000
"""More than arrive at once when a server gives up a silent subscription.  With the default, a
watcher of so many entities would be a slow client for a moment and see only the newest."""

RECOVERY_LIMIT = 15.0
"""Seconds after the end of a fault within which everything must be well; generous."""


@attrs.frozen
class Measured:
    """The cost of a fault."""

    fault: str
    recovery: float
    """Seconds from its end until every watcher had the newest positions and health was good."""
    slowest: float
    """Seconds that the slowest publish took."""
    published: int


Record = Callable[[Measured], None]


@attrs.frozen
class Watchers:
    """Watchers of all entities on one server.

    :param at_home: the entities that publish on the same server.
    """

    each: Sequence[Sightings]
    at_home: Collection[str]

    def behind(self, numbers: Mapping[str, int]) -> list[str]:
        """The entities of which some watcher has not seen this number or a later one."""
        return [entity for one in self.each for entity in one.behind(numbers)]

    def disorder(self) -> list[str]:
        """Fixes that some watcher received twice, or after a newer one."""
        return [found for one in self.each for found in one.disorder()]

    def gaps(self) -> list[str]:
        """Fixes that some watcher missed."""
        return [found for one in self.each for found in one.gaps()]


@attrs.define(eq=False)
class Scene:
    """Two servers.  Every other entity publishes on each; both have watchers of all entities."""

    here: Live
    there: Live
    devices: Devices
    sees_here: Watchers
    sees_there: Watchers
    _record: Record

    @asynccontextmanager
    async def fault(self, name: str, *, nothing_missing: bool = False) -> AsyncIterator[None]:
        """A fault, which the body starts and ends; then check and record what it cost.

        The devices publish through it and for a second after the recovery, so that late,
        duplicate and misordered fixes are seen.

        :param nothing_missing: whether the watchers of the other server miss nothing either.
        """
        yield
        ended = time.perf_counter()
        await self.healthy()
        await self.judged(name, ended, list(self.devices.homes))
        if nothing_missing:
            assert self.sees_here.gaps() + self.sees_there.gaps() == []

    async def judged(self, name: str, since: float, elsewhere: Sequence[str]) -> None:
        """Wait until watchers have the newest positions; then check all that they saw.

        :param since: when the fault ended.
        :param elsewhere: the entities that watchers of the server they do not publish on have
            to see.
        """
        both = (self.sees_here, self.sees_there)
        for watchers in both:
            await self.catch_up(watchers, elsewhere)
        recovery = time.perf_counter() - since
        await asyncio.sleep(1.0)
        assert self.devices.last[QUIET]
        self.devices.pause(*self.devices.homes)
        for watchers in both:
            await self.catch_up(watchers, {*elsewhere, *watchers.at_home})
        self._record(Measured(name, recovery, self.devices.slowest, self.devices.count))
        assert self.devices.refused == []
        assert self.devices.longest_wait <= PUBLISH_LIMIT
        for watchers in both:
            assert watchers.disorder() == []
            assert [
                gap for gap in watchers.gaps() if gap.partition(":")[0] in watchers.at_home
            ] == []

    async def degraded(self) -> None:
        """Wait until both servers report that they are degraded, and why."""
        for report in await self._until_health(503, "disconnected"):
            assert report["status"] == "degraded"
            assert report["reason"]

    async def healthy(self) -> None:
        """Wait until both servers report that they are healthy."""
        for report in await self._until_health(200, "connected"):
            assert report["status"] == "healthy"

    async def _until_health(self, status: int, redis: str) -> list[Any]:
        """Wait for a state; Redis may refuse a read before it refuses the subscriber."""
        async with asyncio.timeout(RECOVERY_LIMIT):
            while True:
                answers = await asyncio.gather(
                    self.here.get("/health/realtime"), self.there.get("/health/realtime")
                )
                if all((seen, report["redis"]) == (status, redis) for seen, report in answers):
                    return [report for _, report in answers]
                await asyncio.sleep(0.02)

    async def catch_up(self, watchers: Watchers, entities: Iterable[str]) -> None:
        """Wait until watchers have seen each entity's next fix, or its last if it is paused."""
        numbers = self.devices.coming(entities)
        with contextlib.suppress(TimeoutError):
            await until(lambda: not watchers.behind(numbers), RECOVERY_LIMIT)
        assert watchers.behind(numbers) == []

    async def statistics(self, live: Live) -> Any:
        """The statistics of a server."""
        _, report = await live.get("/health/realtime")
        return report["statistics"]

    async def away_for(self, seconds: float) -> None:
        """Wait while a fault lasts; halfway, the quiet entity publishes one fix."""
        await asyncio.sleep(seconds / 2)
        self.devices.publish_once(QUIET)
        await asyncio.sleep(seconds / 2)


@asynccontextmanager
async def watched(
    live: Live, ids: Sequence[str], at_home: Collection[str]
) -> AsyncIterator[Watchers]:
    """Watch a server on its own port, and on one that serves it over ASGI."""
    engine = live.server.socket_io.eio
    async with AsyncExitStack() as stack:
        asgi_port = await stack.enter_async_context(
            serving_engine("asgi", live.app, engine, "/socket.io/", lifespan=False)
        )
        watchers = Watchers([Sightings(ids), Sightings(ids)], at_home)
        for one, port in zip(watchers.each, (live.port, asgi_port), strict=True):
            await stack.enter_async_context(one.watching(f"http://127.0.0.1:{port}"))
        yield watchers


@asynccontextmanager
async def staged(here_url: str, there_url: str, record: Record) -> AsyncIterator[Scene]:
    """Start servers on two Redis URLs, devices and watchers."""
    ids = (*ENTITIES, QUIET)
    async with AsyncExitStack() as stack:
        here, there = [
            await stack.enter_async_context(
                serving(redis_url=url, max_pending_frames=MAX_PENDING_FRAMES)
            )
            for url in (here_url, there_url)
        ]
        ids_here, ids_there = ids[::2], ids[1::2]
        sees_here = await stack.enter_async_context(watched(here, ids, ids_here))
        sees_there = await stack.enter_async_context(watched(there, ids, ids_there))
        devices = Devices(
            dict.fromkeys(ids_here, here.url) | dict.fromkeys(ids_there, there.url), INTERVAL
        )
        devices.pause(QUIET)
        await stack.enter_async_context(devices.publishing())
        third = dict.fromkeys(ENTITIES, 3)
        await until(lambda: not sees_here.behind(third) + sees_there.behind(third))
        yield Scene(here, there, devices, sees_here, sees_there, record)
