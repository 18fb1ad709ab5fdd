"""The publish pipeline.

The steps of a fix: authorize → validate → filter → throttle → does the identity still hold →
encode once → cache, fan out and append for recorders in one round trip → observe.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import attrs

from atriz_realtime.api.contracts import PASS, Cache, Clock, Page, PublishResult, Verdict
from atriz_realtime.api.errors import (
    InvalidEntityId,
    InvalidLocation,
    NotAuthorized,
    RealtimeError,
    Unavailable,
    UnknownEntityType,
)
from atriz_realtime.api.model import EntityRef, Identity, Location, LocationEvent
from atriz_realtime.api.wire import RedisChannels, decode_location, encode, encode_json
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.publish.delivery import Delivery
from atriz_realtime.core.publish.held import HeldFixes
from atriz_realtime.core.publish.journaling import Journaling
from atriz_realtime.core.publish.observers import Observers
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.plugin_runner import PluginRunner, awaiting
from atriz_realtime.core.runtime.semaphore import TurnLimit
from atriz_realtime.plugin_system.registry import Registry

FINISH_TIMEOUT = 1.0
"""Seconds in which fixes under way may finish when the server closes."""

PAGE_PER_TURN = 50
"""Locations that are checked in one turn of the event loop, for all pages together."""

MAX_TYPE = 64
"""Characters of an unknown entity type that an error repeats."""

NO_TEXT = "Invalid entity id: it must be a string"
"""The message about an id of another type, such as an integer."""

MAX_NAMED = 20
"""Entity types that an error about an unknown one names."""

TURN = 1_000
"""The parts of a turn of the event loop that pages, listings and lists of updates share: a step of
which a turn has time for 50 takes 20 of them."""

Admit = Callable[[EntityRef, Location], Awaitable[Verdict]]


@attrs.define(eq=False)
class Fixes:
    """How many fixes of one entity type this server took, by outcome."""

    published: int = 0
    throttled: int = 0
    held: int = 0
    dropped: int = 0

    def statistics(self) -> dict[str, float]:
        """How many fixes had each outcome: see :class:`~atriz_realtime.api.PublishResult`."""
        return attrs.asdict(self)


class Pipeline:
    """Accepts fixes and reads positions: see :class:`~atriz_realtime.api.Tracking`."""

    _cache: Cache
    _observers: Observers
    _journaling: Journaling | None

    def __init__(
        self,
        *,
        registry: Registry,
        access: AccessControl,
        plugin_runner: PluginRunner,
        delivery: Delivery,
        clock: Clock,
        incidents: Incidents,
        max_clock_skew: float,
        max_metadata: int,
    ) -> None:
        self._registry = registry
        self._kinds = registry.kinds
        self.fixes = {name: Fixes() for name in registry.kinds}
        """The outcomes of each entity type's fixes."""
        self._filters = [
            (registry.owner(record), f"filter {record.name!r}", awaiting(record.apply))
            for record in registry.filters
        ]
        self._plugin_runner = plugin_runner
        self._access = access
        self._delivery = delivery
        self._clock = clock
        self._incidents = incidents
        self._max_clock_skew = max_clock_skew
        self._max_metadata = max_metadata
        self._throttles: dict[str, tuple[str, str, Admit]] = {}
        self._held = HeldFixes(delivery, clock, incidents)
        self._under_way = 0
        self._closed = False
        self._finished = asyncio.Event()
        self._turns = TurnLimit(TURN)

    def start(
        self, cache: Cache, observers: Observers, journaling: Journaling | None = None
    ) -> None:
        """Create the throttling policies; nothing may be published before.

        :param journaling: appends fixes for recorders; ``None`` without any.
        :raises ConfigurationError: when a throttle's options are invalid.
        :raises PluginError: when a policy cannot be created.
        """
        registry = self._registry
        self._cache = cache
        self._observers = observers
        self._journaling = journaling
        self._held.start(observers)
        for name, kind in registry.kinds.items():
            plugin = registry.owner(registry.throttles[kind.throttle])
            policy = registry.policy(kind)
            self._throttles[name] = (
                plugin,
                f"throttle {kind.throttle!r}",
                awaiting(policy.admit),
            )

    def entity(self, entity_type: object, entity_id: object) -> EntityRef:
        """Check a type and an id that come from outside.

        :raises UnknownEntityType: when no active plugin registers the type.
        :raises InvalidEntityId: when the id does not fit the type's pattern.
        """
        self._check(entity_type, entity_id)
        return EntityRef(str(entity_type), str(entity_id))

    def _check(self, entity_type: object, entity_id: object) -> None:
        kind = self._kinds.get(entity_type) if isinstance(entity_type, str) else None
        if kind is None:
            raise unknown_type(entity_type, self._kinds)
        if not isinstance(entity_id, str):
            raise InvalidEntityId(NO_TEXT, field="entityId")
        if not kind.matches_id(entity_id) or RedisChannels.is_pattern(entity_id):
            raise InvalidEntityId(field="entityId")

    async def publish(
        self, entity: EntityRef, location: Location, identity: Identity | None = None
    ) -> PublishResult:
        """Take a fix through the pipeline.

        :raises Unavailable: when the server is closing.
        :raises NotAuthorized: when an authorizer refuses; it may raise another error.
        :raises AuthenticationRejected: when the identity was revoked, or has expired, by the time
            that the plugins have answered.
        :raises InvalidLocation: when the entity type's own validation refuses the fix, its
            timestamp lies too far in the future, or its metadata is too large.
        :raises PluginFailed: when a plugin fails; the fix is refused.
        """
        if self._closed:
            raise Unavailable("the server is closing")
        self._under_way += 1
        try:
            self._check(entity.type, entity.id)
            if identity is not None and not await self._access.may_publish(identity, entity):
                raise NotAuthorized
            event = LocationEvent(entity, location)
            self._validate(event)
            fixes = self.fixes[entity.type]
            passed = await self._filtered(event)
            if passed is None:
                fixes.dropped += 1
                return PublishResult("dropped", location)
            plugin, what, admit = self._throttles[passed.type]
            admitting = admit(passed.entity, passed.location)
            verdict = await self._plugin_runner.run(plugin, what, admitting)
            if verdict is not PASS and not isinstance(verdict, Verdict):
                raise self._plugin_runner.wrong_answer(plugin, what, "a Verdict", verdict)
            if identity is not None:
                self._access.check_holds(identity)
            payload = encode(passed)
            if verdict.outcome == "pass":
                self._held.discard(payload)
                if self._journaling is None:
                    await self._delivery.publish(payload)
                else:
                    deliver = partial(self._delivery.publish, payload)
                    await self._journaling.alongside(
                        deliver, passed, payload, identity, throttled=False
                    )
                self._observers.put(passed)
                fixes.published += 1
                return PublishResult("published", passed.location, payload.timestamp)
            if self._held.release_due(passed.entity):
                await asyncio.sleep(0)  # it is compared with the cache before that is written
            # before the cache is written: a fix that passes meanwhile must find the held one
            held = self._held.hold(passed, payload, verdict)
            if self._journaling is None:
                await self._delivery.cache(payload, held=held)
            else:
                deliver = partial(self._delivery.cache, payload, held=held)
                await self._journaling.alongside(deliver, passed, payload, identity, throttled=True)
            if held:
                fixes.held += 1
                return PublishResult("held", passed.location, payload.timestamp)
            fixes.throttled += 1
            return PublishResult("throttled", passed.location, payload.timestamp)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._finished.set()

    def current(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """The current location's JSON: see :meth:`.Delivery.current`."""
        return self._delivery.current(entity)

    def last_known(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """The last known location's JSON: see :meth:`.Delivery.last_known`."""
        return self._delivery.last_known(entity)

    def unchecked(self, entity: EntityRef) -> Awaitable[bytes | None]:
        """The same, unchecked: see :meth:`.Delivery.unchecked`."""
        return self._delivery.unchecked(entity)

    def is_readable(self, entity: EntityRef, location: bytes) -> bool:
        """Whether a cached location can be shown: see :meth:`.Delivery.is_readable`."""
        return self._delivery.is_readable(entity, location)

    async def page(
        self,
        entity_type: str,
        cursor: str | None,
        limit: int,
        *,
        owner: str = "",
        expired: bool = False,
    ) -> Page:
        """One page of the locations of a type, without those that cannot be read."""
        if entity_type not in self._kinds:
            raise unknown_type(entity_type, self._kinds)
        asked = entity_type, cursor, limit
        reading = (
            self._delivery.last_known_locations.page(self._cache, *asked)
            if expired
            else self._cache.page(*asked)
        )
        page = await self._delivery.answered(reading)
        items = []
        for entity_id, location in page.items:
            await self.take_turn(PAGE_PER_TURN, owner=owner)
            if self._delivery.is_readable(EntityRef(entity_type, entity_id), location):
                items.append((entity_id, location))
        return Page(items, page.next_cursor, page.expired)

    async def take_turn(self, per_turn: int, *, owner: str = "") -> None:
        """Wait until the event loop has time for one more step of a long piece of work."""
        await self._turns.step(-(-TURN // per_turn), owner)

    def read(self, entity: EntityRef, location: bytes) -> Location | None:
        """A cached location; ``None`` for what another program wrote that is none."""
        try:
            return decode_location(location)
        except RealtimeError:
            self._delivery.hidden(entity)
            return None

    async def counts(self) -> dict[str, int]:
        """How many locations are cached, by entity type."""
        names = list(self._kinds)
        counting = asyncio.gather(*map(self._cache.count, names))
        counted = await self._delivery.answered(counting)
        return dict(zip(names, counted, strict=True))

    async def remember(self, event: LocationEvent) -> None:
        """Write an event's location to the cache, and publish nothing.

        :raises InvalidLocation: when its metadata is too large.
        """
        self._check_size(event)
        await self._delivery.answered(self._delivery.put(encode(event)))

    async def forget(self, entity: EntityRef) -> int:
        """Remove an entity's current and last known location, and what waits for recorders."""
        await self._delivery.answered(self._cache.delete(entity))
        return 0 if self._journaling is None else await self._journaling.forget(entity)

    async def aclose(self) -> None:
        """Refuse further fixes, and finish those under way and the held ones; once."""
        if self._closed:
            return
        self._closed = True
        if self._under_way:
            self._finished.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._finished.wait(), FINISH_TIMEOUT)
        await self._held.aclose()

    def _validate(self, event: LocationEvent) -> None:
        ahead = event.location.timestamp.timestamp() - self._clock.now()
        if ahead > self._max_clock_skew:
            raise InvalidLocation(f"timestamp lies {ahead:.0f} s in the future", field="timestamp")
        self._check_size(event)
        kind = self._kinds[event.type]
        if kind.validate is not None:
            what = f"validation of {event.type!r}"
            answer: object = self._plugin_runner.call(kind.plugin, what, kind.validate, event)
            if answer is not None:
                expected = "None, or raise InvalidLocation"
                raise self._plugin_runner.wrong_answer(kind.plugin, what, expected, answer)

    def _check_size(self, event: LocationEvent) -> None:
        metadata = event.location.metadata
        if metadata is not None and len(encode_json(metadata)) > self._max_metadata:
            limit = f"{self._max_metadata:,} bytes"
            raise InvalidLocation(f"metadata has more than {limit}", field="metadata")

    async def _filtered(self, event: LocationEvent) -> LocationEvent | None:
        for plugin, what, apply in self._filters:
            passed: object = await self._plugin_runner.run(plugin, what, apply(event))
            if passed is event:
                continue
            if passed is None:
                return None
            if not isinstance(passed, LocationEvent):
                expected = "a LocationEvent or None"
                raise self._plugin_runner.wrong_answer(plugin, what, expected, passed)
            event = passed
        return event


def unknown_type(
    entity_type: object, known: Iterable[str], field: str = "type"
) -> UnknownEntityType:
    """The error for a type that no active plugin registers.

    :param known: the types that it names.
    """
    if not isinstance(entity_type, str):
        return UnknownEntityType("Unknown entity type: it must be a string", field=field)
    others = ", ".join(sorted(known)[:MAX_NAMED])
    named = f"; known: {others}" if others else ""
    return UnknownEntityType(f"Unknown entity type {entity_type[:MAX_TYPE]!r}{named}", field=field)
