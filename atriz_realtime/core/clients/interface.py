"""The calls of the TypeScript package's ``RealtimeServer``, in Python's spelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis, RedisCluster
from starlette.requests import HTTPConnection

from atriz_realtime.api.contracts import Access, Clock
from atriz_realtime.api.http import credentials_of
from atriz_realtime.api.model import Identity, Location, LocationEvent
from atriz_realtime.api.wire import Rooms as RoomNames
from atriz_realtime.api.wire import SocketEvents
from atriz_realtime.core.clients.permissions import Permissions
from atriz_realtime.core.clients.socket_server import SocketServer
from atriz_realtime.core.clients.sockets import Sockets
from atriz_realtime.core.hub.signals import Signals
from atriz_realtime.core.publish.pipeline import Pipeline
from atriz_realtime.core.publish.service import TrackingService, as_location
from atriz_realtime.core.runtime.lifecycle import Lifecycle
from atriz_realtime.engine.request.proxies import TrustedProxies


class ServerInterface:
    """What a service emits to sockets, and what it asks of them and of its callers.

    :param proxies: the proxies to believe about a caller; ``None``: the ASGI server decides.
    """

    access: Access
    """Finds out who a caller is, and what they may do: what the authorizers and views say."""
    tracking: TrackingService
    """Publishes and reads locations, as the server itself: no authorizer is asked."""
    socket_io: SocketServer
    """python-socketio's ``AsyncServer``: rooms, namespaces and handlers of the service's own."""
    signals: Signals
    """Messages to the plugins of every server."""
    permissions: Permissions
    """Withdraws permissions that were granted."""

    def __init__(
        self,
        sockets: Sockets,
        pipeline: Pipeline,
        redis: Redis | RedisCluster | None,
        clock: Clock,
        lifecycle: Lifecycle,
        access: Access,
        proxies: TrustedProxies | None,
    ) -> None:
        self._sockets = sockets
        self._pipeline = pipeline
        self._redis = redis
        self._clock = clock
        self._lifecycle = lifecycle
        self.access = access
        self._proxies = proxies

    async def identity_of(self, request: HTTPConnection) -> Identity:
        """Who calls a route of the service's own, as its authenticators decide.

        It is a FastAPI dependency as it is: ``Annotated[Identity, Depends(server.identity_of)]``.

        :param request: a ``Request`` or a ``WebSocket``.
        :raises NotAuthenticated: when the caller sends no credentials.
        :raises AuthenticationRejected: when they are not valid.
        :raises NotAuthorized: when they belong to a share of one entity.
        :raises RateLimited: when too many callers failed from the same address.
        """
        await self._lifecycle.start()
        if self._proxies is not None:
            request = HTTPConnection(dict(request.scope))
            self._proxies.rewrite(request.scope)
        return await self.access.authenticate(credentials_of(request))

    async def emit_location_update(self, channel: str, data: Any) -> None:
        """Emit ``location:update`` to a room, on every server, without caching it."""
        await self._sockets.emit_newest(SocketEvents.LOCATION_UPDATE, data, channel)

    async def emit_vehicle_location_update(
        self, vehicle_id: str, location: Location | Mapping[str, Any]
    ) -> None:
        """Emit a vehicle's position to its watchers, without throttling or caching it."""
        await self._emit_entity("vehicle", vehicle_id, location)

    async def emit_delivery_location_update(
        self, delivery_id: str, location: Location | Mapping[str, Any]
    ) -> None:
        """Emit a delivery's position to its watchers, without throttling or caching it."""
        await self._emit_entity("delivery", delivery_id, location)

    async def _emit_entity(
        self, kind: str, entity_id: str, location: Location | Mapping[str, Any]
    ) -> None:
        event = LocationEvent(self._pipeline.entity(kind, entity_id), as_location(location))
        await self.emit_location_update(RoomNames.entity(event.entity), event.to_wire())

    async def broadcast_to_authenticated(self, event: str, data: Any) -> None:
        """Send an event to every authenticated socket, on every server."""
        await self._sockets.broadcast_to_authenticated(event, data)

    async def send_to_user(self, user_id: str | int, event: str, data: Any) -> None:
        """Send an event to every socket of a user, on every server.

        :raises TypeError: when the id is neither a string nor an integer.
        """
        await self._sockets.send_to_user(user_id, event, data)

    @property
    def connection_count(self) -> int:
        """Sockets connected to this server."""
        return self._sockets.connections

    @property
    def room_count(self) -> int:
        """Rooms with a member on this server, each socket's own room included."""
        return self._sockets.rooms

    @property
    def redis(self) -> Redis | RedisCluster | None:
        """The redis-py client; ``None`` when no ``redis_url`` is configured."""
        return self._redis

    def get_stats(self) -> dict[str, Any]:
        """``connections`` and ``rooms`` of this server, and its ``uptime`` in seconds."""
        started = self._lifecycle.started_at
        return {
            "connections": self.connection_count,
            "rooms": self.room_count,
            "uptime": 0.0 if started is None else self._clock.monotonic() - started,
        }
