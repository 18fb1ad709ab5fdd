"""Keeps the last known location of each entity for longer than the current one.

The cache copies current locations to where they are kept (:class:`~atriz_realtime.api.LastKnown`).
A fix only notes its entity; every few seconds, and when the server stops, the entities that were
noted are kept together.  What is kept is thus the newest location that any server has cached, and a
location that was deleted meanwhile is not kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping

from atriz_realtime.api.contracts import Cache, LastKnown, Page
from atriz_realtime.api.errors import InvalidRequest
from atriz_realtime.api.model import EntityRef
from atriz_realtime.api.wire import Payload
from atriz_realtime.core.publish.reading import in_time
from atriz_realtime.core.runtime.incidents import Incidents, reason
from atriz_realtime.plugin_system.registry import EntityKind

KEEP_INTERVAL = 5.0
"""Seconds between two writes of the last known locations.  A server that is killed loses what is
newer; the one before stays."""

KEEP_BATCH = 50
"""Last known locations that are written at once; the fixes of other entities wait for no more."""

MAX_NOTED = 100_000
"""Entities of one type whose last known location may wait to be written; beyond, the one that has
waited longest is dropped."""

CLOSE_TIMEOUT = 1.0
"""Seconds in which a server that stops writes the last known locations that wait."""

CURRENT, LAST = "current", "last"
"""How the cursor of a listing of both begins: which of them are read next."""


class LastKnownLocations:
    """Notes which entities have reported, and has the cache keep where they are."""

    _cache: LastKnown

    def __init__(self, kinds: Mapping[str, EntityKind], incidents: Incidents) -> None:
        self._ttls = {
            name: kind.last_known_ttl for name, kind in kinds.items() if kind.last_known_ttl > 0
        }
        # each location is kept at least once while it is current
        lives = [kinds[name].cache_ttl / 2 for name in self._ttls]
        self._interval = min([KEEP_INTERVAL, *lives])
        self._incidents = incidents
        self._noted: dict[str, dict[str, EntityRef]] = {}  # by type, and then by channel
        self._task: asyncio.Task[None] | None = None
        self._written = self._failed = self._dropped = 0

    def start(self, cache: Cache) -> None:
        """Begin, if the cache can keep locations and some entity type wants it."""
        if self._ttls and isinstance(cache, LastKnown):
            self._cache = cache
            self._noted = {name: {} for name in self._ttls}
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._run(), name="last known locations")

    async def aclose(self) -> None:
        """Write what waits, for :data:`CLOSE_TIMEOUT` at most."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.write()

    def statistics(self) -> dict[str, float]:
        """Locations ``waiting``, ``written``, that ``failed`` to be and wait, and ``dropped``."""
        return {
            "waiting": sum(map(len, self._noted.values())),
            "written": self._written,
            "failed": self._failed,
            "dropped": self._dropped,
        }

    def keeps(self, entity_type: str) -> bool:
        """Whether last known locations of a type are kept."""
        return entity_type in self._noted

    def note(self, payload: Payload) -> None:
        """Note that an entity's current location is about to be written."""
        noted = self._noted.get(payload.entity.type)
        if noted is None:
            return
        noted[payload.channel] = payload.entity
        if len(noted) > MAX_NOTED:
            self._drop_oldest(noted)

    def _drop_oldest(self, noted: dict[str, EntityRef]) -> None:
        del noted[next(iter(noted))]
        self._dropped += 1
        message = f"more than {MAX_NOTED} entities of a type wait"
        self._incidents.report("last known locations dropped", message)

    def get(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """The last known location JSON; only for a type that :meth:`keeps` some."""
        return self._cache.last_known(entity)

    async def page(self, cache: Cache, entity_type: str, cursor: str | None, limit: int) -> Page:
        """One page of all locations of a type: the current ones, then the others that are known.

        An entity is not on one page twice.  One that begins to report again while the others are
        read may be on none.
        """
        part, colon, place = (f"{CURRENT}:" if cursor is None else cursor).partition(":")
        if part not in (CURRENT, LAST) or not colon:
            raise InvalidRequest("unknown cursor", field="cursor")
        items: list[tuple[str, bytes]] = []
        if part == CURRENT:
            page = await cache.page(entity_type, place or None, limit)
            if page.next_cursor is not None:
                return Page(page.items, f"{CURRENT}:{page.next_cursor}")
            items = page.items
            if not self.keeps(entity_type):
                return Page(items, None)
            if len(items) >= limit:
                return Page(items, f"{LAST}:")
            place = ""
        elif not self.keeps(entity_type):
            return Page([], None)
        known = {entity_id for entity_id, _ in items}
        page = await self._cache.page_last_known(entity_type, place or None, limit - len(items))
        others = [item for item in page.items if item[0] not in known]
        following = None if page.next_cursor is None else f"{LAST}:{page.next_cursor}"
        return Page([*items, *others], following, frozenset([each for each, _ in others]))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.write()

    async def write(self) -> None:
        """Write what has been noted until now, until a batch fails."""
        for entity_type, noted in self._noted.items():
            channels = list(noted)
            for start in range(0, len(channels), KEEP_BATCH):
                batch = {
                    channel: noted.pop(channel)
                    for channel in channels[start : start + KEEP_BATCH]
                    if channel in noted  # it may have been dropped
                }
                if not await self._keep(entity_type, batch):
                    return
                await asyncio.sleep(0)  # a cache in this process does not wait for anything

    async def _keep(self, entity_type: str, batch: dict[str, EntityRef]) -> bool:
        """Keep some entities' locations; those that cannot be written go on waiting."""
        kept = False
        try:
            entities = list(batch.values())
            await in_time(self._cache.keep(entities, self._ttls[entity_type]))
            kept = True
        except Exception as error:  # a plugin's cache may raise anything
            self._failed += len(batch)
            self._incidents.report("last known locations not written", reason(error))
        finally:  # also when the server stops meanwhile
            if kept:
                self._written += len(batch)
            else:
                self._noted[entity_type] = batch | self._noted[entity_type]
        return kept
