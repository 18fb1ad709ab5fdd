"""The TypeScript package's ``TrackingService``, on the publish pipeline."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from atriz_realtime.api.contracts import PublishResult
from atriz_realtime.api.errors import ConfigurationError, Unavailable
from atriz_realtime.api.model import EntityRef, Location, LocationEvent
from atriz_realtime.api.records import Endpoint
from atriz_realtime.api.wire import decode_event, tracking_stats
from atriz_realtime.core.publish.delivery import Delivery, Listener
from atriz_realtime.core.publish.pipeline import Pipeline
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.lifecycle import Lifecycle
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.core.runtime.worker import Worker

LISTING_PAGE = 1_000
"""Locations that are read at once to list all of a type."""

MAX_WAITING_CALLBACKS = 1_024
"""Events that may wait for one callback of ``subscribe_to_location_updates``."""

CALLBACK_TIMEOUT = 30.0
"""Seconds that one call of such a callback may take."""


@attrs.frozen(eq=False)
class TrackingParts:
    """The parts of a server that its :class:`TrackingService` uses."""

    redis: Any
    """The server's redis-py client, or ``None``."""
    pipeline: Pipeline
    delivery: Delivery
    plugin_runner: PluginRunner
    incidents: Incidents
    lifecycle: Lifecycle

    async def started_pipeline(self) -> Pipeline:
        """The publish pipeline; starts the server first, if it has not started.

        :raises Unavailable: when the server was closed.
        """
        if self.lifecycle.is_closed:
            raise Unavailable("the server is closed")
        await self.lifecycle.start()
        return self.pipeline


class Subscription:
    """A callback that ``subscribe_to_location_updates`` has subscribed."""

    def __init__(self, delivery: Delivery, listener: Listener) -> None:
        self._delivery = delivery
        self._listener = listener

    async def close(self) -> None:
        """Stop calling the callback; safe to call twice."""
        self._delivery.unsubscribe(self._listener)
        await self._listener.aclose()


class TrackingService:
    """Publishes, reads and follows positions: the TypeScript package's ``TrackingService``.

    :param redis: the server's own client, ``server.redis``.
    :param socket_io: the server's own Socket.IO server, ``server.socket_io``.
    :raises ConfigurationError: when ``socket_io`` does not belong to a ``RealtimeServer``,
        or ``redis`` is another client than that server's.
    """

    def __init__(self, redis: Any, socket_io: Any) -> None:
        parts = getattr(socket_io, "tracking_parts", None)
        if not isinstance(parts, TrackingParts):
            raise ConfigurationError(
                "TrackingService needs the socket_io of a RealtimeServer: "
                "TrackingService(server.redis, server.socket_io)"
            )
        self._parts = parts
        if redis is not parts.redis:
            raise ConfigurationError(
                "TrackingService needs the redis of the same RealtimeServer: "
                "TrackingService(server.redis, server.socket_io)"
            )

    async def publish_location_update(
        self, entity_type: str, entity_id: str, location: Location | Mapping[str, Any]
    ) -> PublishResult:
        """Validate, throttle, cache and broadcast a position.

        :param location: a :class:`Location`, or its JSON object with the names of the wire.
        :raises UnknownEntityType: when no active plugin registers the type.
        :raises InvalidEntityId: when the id does not fit the type.
        :raises InvalidLocation: naming the field that is wrong.
        """
        pipeline = await self._parts.started_pipeline()
        entity = pipeline.entity(entity_type, entity_id)
        return await pipeline.publish(entity, as_location(location))

    async def get_current_location(self, entity_type: str, entity_id: str) -> Location | None:
        """The cached location, or ``None``.

        :raises Unavailable: when the cache cannot be reached.
        """
        pipeline = await self._parts.started_pipeline()
        entity = pipeline.entity(entity_type, entity_id)
        data = await pipeline.current(entity)
        return None if data is None else pipeline.read(entity, data)

    async def get_last_known_location(self, entity_type: str, entity_id: str) -> Location | None:
        """The cached location; if it has expired, the last known one, or ``None``.

        It is kept for ``last_known_ttl`` seconds.

        :raises Unavailable: when the cache cannot be reached.
        """
        pipeline = await self._parts.started_pipeline()
        entity = pipeline.entity(entity_type, entity_id)
        data = await pipeline.current(entity) or await pipeline.last_known(entity)
        return None if data is None else pipeline.read(entity, data)

    async def cache_current_location(
        self, entity_type: str, entity_id: str, location: Location | Mapping[str, Any]
    ) -> None:
        """Write the current location without broadcasting it.

        :raises Unavailable: when the cache cannot be reached.
        """
        pipeline = await self._parts.started_pipeline()
        entity = pipeline.entity(entity_type, entity_id)
        await pipeline.remember(LocationEvent(entity, as_location(location)))

    async def clear_current_location(self, entity_type: str, entity_id: str) -> None:
        """Remove the current location, and the last known one.

        :raises Unavailable: when the cache cannot be reached.
        """
        pipeline = await self._parts.started_pipeline()
        await pipeline.forget(pipeline.entity(entity_type, entity_id))

    async def get_all_locations(
        self, entity_type: str, *, expired: bool = False
    ) -> dict[str, Location]:
        """Every cached location of a type, by entity id.

        :param expired: whether to include the last known location of entities that have no current
            one.
        :raises Unavailable: when the cache cannot be reached.
        """
        pipeline = await self._parts.started_pipeline()
        found: dict[str, Location] = {}
        cursor: str | None = None
        while True:
            page = await pipeline.page(entity_type, cursor, LISTING_PAGE, expired=expired)
            for entity_id, data in page.items:
                location = pipeline.read(EntityRef(entity_type, entity_id), data)
                if location is not None:
                    found[entity_id] = location
            cursor = page.next_cursor
            if cursor is None:
                return found

    async def get_all_vehicle_locations(self) -> dict[str, Location]:
        """Every vehicle's cached location, by vehicle id."""
        return await self.get_all_locations("vehicle")

    async def get_tracking_stats(self) -> dict[str, int]:
        """``activeVehicles``, ``activeDeliveries``, and ``totalTracking`` over all types."""
        return tracking_stats(await (await self._parts.started_pipeline()).counts())

    async def subscribe_to_location_updates(
        self, callback: Callable[[str, LocationEvent], Awaitable[None] | None]
    ) -> Subscription:
        """Call ``callback(channel, event)`` for every event, until ``await subscription.close()``.

        ``subscription`` is what this returns.  The events are those of every server.

        Events come in order, one at a time, from a bounded queue: a callback that is too
        slow loses the oldest, and each loss is counted.
        """
        await self._parts.started_pipeline()

        async def call(message: tuple[str, bytes]) -> None:
            channel, data = message
            result = callback(channel, decode_event(data))
            if inspect.isawaitable(result):
                await result

        listener = Worker(
            "host",
            "location callback",
            call,
            size=MAX_WAITING_CALLBACKS,
            limit=CALLBACK_TIMEOUT,
            plugin_runner=self._parts.plugin_runner,
            incidents=self._parts.incidents,
        )
        await self._parts.delivery.subscribe(listener)
        return Subscription(self._parts.delivery, listener)


def as_location(location: Location | Mapping[str, Any]) -> Location:
    """A location from an object or from its JSON.

    :raises InvalidLocation: naming the field that is wrong.
    """
    return location if isinstance(location, Location) else Location.from_wire(location)


def fix_path(
    *, tracing: bool
) -> tuple[type[Delivery], type[Pipeline], Callable[[Endpoint], Endpoint]]:
    """The classes that a fix goes through, and a wrapper for endpoints that accept fixes.

    They make OpenTelemetry spans with ``tracing``, and pay nothing for it without.

    :raises ConfigurationError: when tracing is on and OpenTelemetry is not installed.
    """
    if not tracing:
        return Delivery, Pipeline, lambda endpoint: endpoint
    from atriz_realtime.core.publish import tracing as spans  # noqa: PLC0415  # an extra

    return spans.TracedDelivery, spans.TracedPipeline, spans.traced
