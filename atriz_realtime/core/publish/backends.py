"""Redis, the cache, the fan-out with its layers, and the journal: opened at start, and measured."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import attrs

from atriz_realtime.api.contracts import (
    BackendStatus,
    Cache,
    Closeable,
    Fanout,
    Journal,
    Reporting,
    Resources,
)
from atriz_realtime.api.errors import ConfigurationError, PluginError
from atriz_realtime.api.records import CacheBackend, FanoutBackend, FanoutLayer, JournalBackend
from atriz_realtime.core.publish.journaling import Journaling
from atriz_realtime.core.publish.recorders import Recorders
from atriz_realtime.core.runtime import cancellation
from atriz_realtime.core.runtime.incidents import reason
from atriz_realtime.core.runtime.plugin_runner import awaiting
from atriz_realtime.core.runtime.processes import workers
from atriz_realtime.core.runtime.statistics import Statistics
from atriz_realtime.plugin_system.failures import refused_by
from atriz_realtime.plugin_system.registry import Registry
from atriz_realtime.plugin_system.signatures import check_contract
from atriz_realtime.redis_link import Link

logger = logging.getLogger("atriz_realtime")

MEMORY = "memory"
"""The name of the cache and of the fan-out of one process."""

APART = (
    "this is one of {count} processes that serve one port without a Redis, and do not know of each"
    " other: most watchers miss a fix, and reads and polls that reach another process find nothing;"
    " set redis_url (REDIS_URL) and let clients use websockets alone, or start only one process"
)
"""What the log says of several workers that share nothing."""

NO_POLLING = (
    "a session belongs to the process that opened it, and polls that reach another one are refused"
    " (Session ID unknown); let clients start with transports: ['websocket'], or let"
    " `atriz-realtime serve --workers` on the same Redis serve them"
)
"""Why the log warns of several workers that share a Redis, which is right without polling."""


@attrs.frozen
class OpenBackends:
    """What fixes are cached in and fanned out with."""

    cache: Cache
    fanout: Fanout
    """With all layers."""
    innermost: Fanout
    """The fan-out below the layers, which reports interruptions."""
    journaling: Journaling | None = None
    """Appends fixes for recorders; ``None`` without any."""


class Backends:
    """What the plugins registered to cache locations and to fan them out.

    :param statistics: gets the numbers of the backends, and of the authenticators.
    :param link: the connection to Redis, when one is configured.
    :param refused: reports what they refuse although they are connected.
    """

    def __init__(
        self,
        registry: Registry,
        resources: Resources,
        statistics: Statistics,
        link: Link | None,
        refused: Reporting,
    ) -> None:
        self._registry = registry
        self._link = link
        self._resources = resources
        self._statistics = statistics
        self._reporting: list[Reporting] = [refused] if link is None else [link, refused]
        for record in registry.authenticators:
            if record.statistics is not None:
                statistics.add(f"authenticator {record.name}", record, registry.owner(record))

    async def open(
        self,
        opened: AsyncExitStack,
        layers: Sequence[FanoutLayer],
        on_connect: Callable[[], None],
        recorders: Recorders | None = None,
    ) -> OpenBackends:
        """Open everything, to be closed with ``opened``.

        :param layers: wrap the fan-out, the first one innermost.
        :param on_connect: called whenever Redis is connected, for the first time or again.
        :param recorders: what a journal is opened for, if there are any.
        :raises ConfigurationError: when a plugin raises it, because it cannot work as configured.
        :raises PluginError: when a plugin fails to open, or opens something else.
        """
        if self._link is not None:
            opened.push_async_callback(self._link.aclose)
            await self._link.start(on_connect)
            self._statistics.add("redis", self._link)
        resources, cache, fanout = self._resources, self._registry.cache, self._registry.fanout
        if (count := workers()) > 1:
            if MEMORY in (cache.name, fanout.name):
                resources.report("workers in memory", APART.format(count=count))
            else:
                logger.warning("long polling fails with %d workers: %s", count, NO_POLLING)
        open_cache: Cache = await self._opened("cache", cache, (resources,), Cache, opened)
        innermost: Fanout = await self._opened("fanout", fanout, (resources,), Fanout, opened)
        layered = innermost
        for layer in layers:
            layered = await self._opened(f"layer {layer.name}", layer, (layered,), Fanout, opened)
        journaling = await self._open_journal(recorders, opened)
        return OpenBackends(open_cache, layered, innermost, journaling)

    async def _open_journal(
        self, recorders: Recorders | None, opened: AsyncExitStack
    ) -> Journaling | None:
        record = None if recorders is None else self._registry.journal
        if record is None or recorders is None:
            return None
        given = self._resources, recorders.names
        journal: Journal = await self._opened("journal", record, given, Journal, opened)
        journaling = recorders.open(journal)
        self._statistics.add("journaling", journaling)
        for each in recorders.batches:
            self._statistics.add(f"recorder {each.name}", each, each.plugin)
        self._reporting += journaling, *recorders.batches
        return journaling

    async def _opened(
        self,
        name: str,
        record: CacheBackend | FanoutBackend | FanoutLayer | JournalBackend,
        given: tuple[Any, ...],
        contract: type[Any],
        opened: AsyncExitStack,
    ) -> Any:
        """Open one of them, and check that it has the methods of its contract.

        :param name: what its numbers are listed under.
        :param given: what it is opened with.
        """
        where = self._registry.where(record)
        try:
            backend: Any = await awaiting(record.open)(*given)
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            if cancellation.is_own(error):
                raise
            if isinstance(error, ConfigurationError):
                raise refused_by(self._registry.owner(record), error) from error
            raise PluginError(f"{where} cannot be opened: {reason(error)}") from error
        if isinstance(backend, Closeable):
            opened.push_async_callback(backend.aclose)
        check_contract(where, backend, contract)
        if isinstance(backend, Reporting):
            self._reporting.append(backend)
        self._statistics.add(name, backend, self._registry.owner(record))
        return backend

    def status(self) -> BackendStatus:
        """The state of the least healthy backend, and the detail of the one that is worst off."""
        reported = [backend.status() for backend in self._reporting]
        state = max(reported, key=_rank).state
        return BackendStatus(state, max(reported, key=_severity).detail)


def _rank(status: BackendStatus) -> int:
    return ("embedded", "connected", "disconnected").index(status.state)


def _severity(status: BackendStatus) -> tuple[bool, bool, int]:
    """What a status is compared by: an outage is worst, then what has a reason."""
    return status.state == "disconnected", bool(status.detail), _rank(status)
