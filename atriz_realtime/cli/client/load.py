"""The load of ``bench``: watchers that track entities, and devices that publish their fixes."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import attrs
import click

from atriz_realtime.api.model import format_timestamp
from atriz_realtime.cli.client.connection import Api, Refused, Target, Unreachable
from atriz_realtime.cli.client.measurement import Measurement
from atriz_realtime.cli.client.socket_connection import SocketConnection

PREFIX = "bench-"
"""How the ids of all entities of a load begin."""

CONNECTING = 20
"""Watchers, or devices, that connect at the same time."""

QUIET = 3.0
"""Seconds without a delivery after which those that are missing count as lost."""

_PLACE = {"latitude": 0.0, "longitude": 0.0, "speed": 0.0, "heading": 0.0}
"""In the Gulf of Guinea, where few fleets drive."""

_STEP = timedelta(milliseconds=1)


@attrs.frozen(kw_only=True)
class Load:
    """How much load is put on a server, and on which entities."""

    kind: str
    watchers: int
    publishers: int
    """Devices, each of which publishes one entity."""
    tracks: int
    """Entities that each watcher tracks."""
    rate: float
    """Fixes per second, of all devices together."""
    seconds: float
    ids: Sequence[str] = attrs.field(init=False)
    """The entities' ids."""

    @ids.default
    def _ids(self) -> Sequence[str]:
        run = f"{PREFIX}{secrets.token_hex(4)}"
        return [f"{run}-{number}" for number in range(1, self.publishers + 1)]

    @property
    def deliveries(self) -> float:
        """Deliveries per second."""
        return self.rate * self.watchers * self.tracks / self.publishers

    def tracked(self, watcher: int) -> list[str]:
        """The entities of one watcher; the watchers are spread over all of them."""
        first = watcher * self.tracks
        return [self.ids[(first + each) % self.publishers] for each in range(self.tracks)]


@attrs.frozen
class LoadRun:
    """Puts a load on a server once."""

    _target: Target
    _load: Load
    _measured: Measurement

    async def run(self) -> None:
        """Connect the watchers, publish for the load's time, and wait for what is on its way.

        :raises Refused: when the server refuses the first watcher or a device.
        :raises Unreachable: when it does not answer one of these.
        """
        async with AsyncExitStack() as stack:
            devices = [await stack.enter_async_context(Api(self._target)) for _ in self._load.ids]
            await self._greet(devices)
            watchers = await stack.enter_async_context(self._watchers())
            try:
                await self._publish(devices, watchers)
            finally:  # what was published before an interruption has its time, too
                await self._drain()
                self._measured.disconnected = sum(each.end.done() for each in watchers)

    async def _greet(self, devices: Sequence[Api]) -> None:
        """Open the devices' connections, so that no fix pays for one."""
        remaining = iter(zip(devices, self._load.ids, strict=True))

        async def greet() -> None:
            for device, entity_id in remaining:
                if await device.is_known(self._load.kind, entity_id):
                    raise click.ClickException(f"{entity_id} exists already: nothing was published")

        await _together(greet() for _ in range(CONNECTING))

    @asynccontextmanager
    async def _watchers(self) -> AsyncIterator[list[SocketConnection]]:
        """Those watchers that the server takes, connected."""
        opened: list[SocketConnection] = []
        clock = asyncio.get_running_loop().time
        began = clock()
        remaining = iter(range(1, self._load.watchers))

        async def open_others() -> None:
            for number in remaining:
                try:
                    await self._open(number, opened)
                except (Refused, Unreachable):
                    pass  # it is counted
                finally:
                    self._measured.connecting = clock() - began

        try:
            await self._open(0, opened)  # what it is refused, all would be
            self._measured.connecting = clock() - began
            await _together(open_others() for _ in range(CONNECTING))
            yield opened
        finally:
            await asyncio.gather(*(each.close() for each in opened))

    async def _open(self, number: int, opened: list[SocketConnection]) -> None:
        """Connect one watcher, and let it track its entities."""
        clock = asyncio.get_running_loop().time
        deliver = self._measured.deliver
        connection = SocketConnection(self._target, lambda event: deliver(number, event, clock()))
        opened.append(connection)
        self._measured.asked += 1
        ids = self._load.tracked(number)
        step = "connect"
        try:
            await connection.open()
            step = "track"
            await connection.track(self._load.kind, ids)
        except (Refused, Unreachable) as error:
            self._measured.refuse(step, error)
            opened.remove(connection)
            await connection.close()
            raise
        self._measured.join(number, ids)

    async def _publish(self, devices: Sequence[Api], watchers: Sequence[SocketConnection]) -> None:
        """Publish the fixes of all devices, each at its own times, while anybody watches."""
        clock = asyncio.get_running_loop().time
        begin, cpu = clock(), time.process_time()
        period = self._load.publishers / self._load.rate
        publishing = asyncio.ensure_future(
            _together(
                self._device(api, entity_id, begin, begin + number / self._load.rate, period)
                for number, (api, entity_id) in enumerate(zip(devices, self._load.ids, strict=True))
            )
        )
        deserted = asyncio.ensure_future(asyncio.wait([each.end for each in watchers]))
        both: list[asyncio.Future[Any]] = [publishing, deserted]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if publishing.done():
                publishing.result()
            else:
                self._measured.deserted = True
        finally:
            self._measured.seconds = clock() - begin
            self._measured.cpu = time.process_time() - cpu
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _device(
        self, api: Api, entity_id: str, begin: float, first: float, period: float
    ) -> None:
        """Publish one entity's fixes, each when it is due and the one before is answered.

        A fix that is due while the one before is not answered is sent late, and its latency
        counts from when it was due: a slow server makes the figures no better by holding up
        its devices.
        """
        clock = asyncio.get_running_loop().time
        end = begin + self._load.seconds
        moment = datetime.now(UTC)
        for number in count():
            due = first + number * period
            if due >= end:
                return
            is_late = clock() > due
            await asyncio.sleep(max(0.0, due - clock()))
            self._measured.planned += 1
            if clock() >= end:
                continue  # the server was too slow for it
            moment = max(datetime.now(UTC), moment + _STEP)  # a fix is known by its timestamp
            await self._send(api, entity_id, format_timestamp(moment), due if is_late else clock())

    async def _send(self, api: Api, entity_id: str, timestamp: str, due: float) -> None:
        self._measured.send(entity_id, timestamp, due)
        update = {
            "type": self._load.kind,
            "entityId": entity_id,
            **_PLACE,
            "timestamp": timestamp,
        }
        try:
            answer = await api.publish(update)
        except (Refused, Unreachable) as error:
            self._measured.refuse("publish", error, (entity_id, timestamp))
        else:
            throttled = bool(answer.get("throttled"))
            self._measured.answer(entity_id, timestamp, throttled=throttled)

    async def _drain(self) -> None:
        """Wait until everything has arrived, or nothing more does."""
        while self._measured.missing:
            self._measured.progress.clear()
            try:
                await asyncio.wait_for(self._measured.progress.wait(), QUIET)
            except TimeoutError:
                return


async def _together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines side by side; when one raises, the others end before that is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
