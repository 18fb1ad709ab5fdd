"""Devices that publish and watchers that receive; each records what happened to it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

import aiohttp
import attrs
import socketio

from tests.support.servers.serving import TIMEOUT, token

PUBLISH_LIMIT = 5.0
"""Seconds after which a publish hangs: no shared machine is so slow.  The promise is one second:
``tests/simulation`` asserts that, where time is virtual and no machine is slow."""

TICK = 0.02
"""Seconds between two measurements of how late a server is on this machine."""


@attrs.define(eq=False)
class Devices:
    """Each device publishes numbered fixes, one after the answer to the one before.

    Each has a connection of its own: what a lost server leaves unanswered is one fix of a device.

    :param homes: the URL of the server that each entity's device talks to.
    :param interval: seconds between two fixes of one entity.
    """

    homes: Mapping[str, str]
    interval: float
    last: dict[str, int] = attrs.field(factory=dict, init=False)
    """The number of each entity's last accepted fix."""
    refused: list[str] = attrs.field(factory=list, init=False)
    """Fixes that were not accepted, and why."""
    slowest: float = attrs.field(default=0.0, init=False)
    """Seconds that the slowest publish took."""
    longest_wait: float = attrs.field(default=0.0, init=False)
    """The longest that a publish waited for Redis: without the time in which this process and the
    server were late with ``/livez``, which needs no Redis."""
    count: int = attrs.field(default=0, init=False)
    _sessions: dict[str, aiohttp.ClientSession] = attrs.field(factory=dict, init=False)
    _paused: set[str] = attrs.field(factory=set, init=False)
    _once: set[str] = attrs.field(factory=set, init=False)
    _late: defaultdict[str, float] = attrs.field(factory=lambda: defaultdict(float), init=False)

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Publish for as long as the context lasts."""
        headers = {"Authorization": f"Bearer {token()}"}
        async with AsyncExitStack() as stack:
            for entity in self.homes:
                self._sessions[entity] = await stack.enter_async_context(
                    aiohttp.ClientSession(headers=headers)
                )
            stop = asyncio.Event()
            driving = [
                asyncio.create_task(
                    self._drive(entity, self.interval * index / len(self.homes), stop)
                )
                for index, entity in enumerate(self.homes)
            ]
            prober = await stack.enter_async_context(aiohttp.ClientSession())
            measuring = [
                asyncio.create_task(self._measure_lateness(prober, url))
                for url in {*self.homes.values()}
            ]
            try:
                yield
            finally:
                stop.set()
                await asyncio.gather(*driving)
                for probing in measuring:
                    probing.cancel()
                await asyncio.gather(*measuring, return_exceptions=True)

    async def _measure_lateness(self, prober: aiohttp.ClientSession, url: str) -> None:
        """Add up how late this process's own loop and a server are."""
        while True:
            due = time.perf_counter() + 2 * TICK
            await asyncio.sleep(TICK)
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with prober.get(f"{url}/livez"):
                    pass
            self._late[url] += max(0.0, time.perf_counter() - due)

    async def _drive(self, entity: str, offset: float, stop: asyncio.Event) -> None:
        due = time.perf_counter() + offset
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - time.perf_counter())):
                    await stop.wait()
                    return
            if entity in self._once or entity not in self._paused:
                self._once.discard(entity)
                await self.publish(entity)
            due = max(due + self.interval, time.perf_counter())

    async def publish(self, entity: str, **fields: Any) -> None:
        """Publish the next fix of an entity."""
        number = self.last.get(entity, 0) + 1
        body = {"vehicleId": entity, "latitude": 52.6, "longitude": -8.6, "speed": number, **fields}
        home = self.homes[entity]
        began, late = time.perf_counter(), self._late[home]
        try:
            async with self._sessions[entity].post(
                f"{home}/api/tracking/location",
                json=body,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
            ) as response:
                answer = await response.text()
                if response.status != 200:
                    self.refused.append(f"{entity} {number}: {response.status} {answer}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.refused.append(f"{entity} {number}: {error!r}")
        self.count += 1
        took = time.perf_counter() - began
        self.slowest = max(self.slowest, took)
        self.longest_wait = max(self.longest_wait, took - (self._late[home] - late))
        self.last[entity] = number

    def coming(self, entities: Iterable[str]) -> dict[str, int]:
        """The number of each entity's next fix; of its last one when it is paused."""
        paused = self._paused - self._once
        return {entity: self.last.get(entity, 0) + (entity not in paused) for entity in entities}

    def pause(self, *entities: str) -> None:
        """Stop publishing for entities; a publish under way completes."""
        self._paused.update(entities)

    def publish_once(self, entity: str) -> None:
        """Let a paused entity publish one fix, within its interval."""
        self._once.add(entity)


@attrs.define(eq=False)
class Sightings:
    """The numbers of the fixes that one watcher received of each entity, in order of arrival."""

    ids: Sequence[str]
    seen: dict[str, list[int]] = attrs.field(init=False)
    reconnects: int = attrs.field(default=0, init=False)
    _resumed: set[tuple[str, int]] = attrs.field(factory=set, init=False)
    _client: socketio.AsyncClient = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.seen = {entity: [] for entity in self.ids}
        self._client = socketio.AsyncClient(reconnection_delay=0.1, reconnection_delay_max=0.5)
        self._client.on("location:update", self._see)
        self._client.on("connect", self._connected)

    @asynccontextmanager
    async def watching(self, url: str) -> AsyncIterator[None]:
        """Watch for as long as the context lasts."""
        await self._client.connect(url, auth={"token": token()}, transports=["websocket"])
        try:
            answer = await self._client.call("track:vehicle", (list(self.ids),), timeout=TIMEOUT)
            assert answer == {"success": True}
            yield
        finally:
            await self._client.disconnect()

    async def _connected(self) -> None:
        if any(self.seen.values()):  # a client tracks again after a reconnect, as the README's does
            self.reconnects += 1
            self._resumed.update((entity, len(numbers)) for entity, numbers in self.seen.items())
            await self._client.emit("track:vehicle", (list(self.ids),))

    def _see(self, event: Any) -> None:
        self.seen[event["entityId"]].append(int(event["location"]["speed"]))

    def newest(self, entity: str) -> int:
        """The last number that was received; 0: none."""
        return self.seen[entity][-1] if self.seen[entity] else 0

    def behind(self, numbers: Mapping[str, int]) -> list[str]:
        """The entities of which this number or a later one was not received."""
        return [entity for entity in self.ids if self.newest(entity) < numbers.get(entity, 0)]

    def disorder(self) -> list[str]:
        """Fixes that were received twice, or after a newer one.

        After a reconnect a watcher receives the current location, which it may have received.
        """
        return [
            f"{entity}: {later} after {earlier}"
            for entity, numbers in self.seen.items()
            for place, (earlier, later) in enumerate(pairwise(numbers), start=1)
            if later < earlier or (later == earlier and (entity, place) not in self._resumed)
        ]

    def gaps(self) -> list[str]:
        """Fixes that are missing between the first and the last received."""
        return [
            f"{entity}: {later} after {earlier}"
            for entity, numbers in self.seen.items()
            for earlier, later in pairwise(numbers)
            if later > earlier + 1
        ]
