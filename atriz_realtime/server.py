"""The composition root: configuration → plugins → registry → core → Socket.IO."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from redis.asyncio import Redis, RedisCluster
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from atriz_realtime.api.contracts import (
    BackendStatus,
    Closeable,
    Reporting,
    Resources,
    ServerHandle,
)
from atriz_realtime.api.errors import ConfigurationError, Unavailable
from atriz_realtime.api.model import Location, LocationEvent
from atriz_realtime.api.records import Endpoint
from atriz_realtime.api.reports import ProcessReport
from atriz_realtime.api.wire import Rooms as RoomNames
from atriz_realtime.api.wire import SocketEvents
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.access.auth_backoff import AuthBackoff
from atriz_realtime.core.clients.gateway import Gateway
from atriz_realtime.core.clients.permissions import Permissions
from atriz_realtime.core.clients.revalidator import IdentityRevalidator
from atriz_realtime.core.clients.socket_server import SocketServer, session_prefix
from atriz_realtime.core.clients.sockets import Sockets
from atriz_realtime.core.hub.channels import ChannelSubscriptions
from atriz_realtime.core.hub.membership import Membership
from atriz_realtime.core.hub.relay import Relay
from atriz_realtime.core.hub.signals import Signals
from atriz_realtime.core.publish.delivery import Delivery
from atriz_realtime.core.publish.pipeline import Pipeline
from atriz_realtime.core.publish.service import TrackingService, as_location
from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.lag import ClientLag
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.core.runtime.reports import Reports
from atriz_realtime.core.runtime.statistics import Statistics
from atriz_realtime.core.runtime.worker import Worker
from atriz_realtime.engine.transports.uvicorn import UvicornWebSocket, websocket_protocol
from atriz_realtime.http.endpoints import EndpointRoute, Endpoints
from atriz_realtime.http.probes import Probes
from atriz_realtime.http.protocol import http_protocol
from atriz_realtime.http.routes import SOCKET_PATH, RealtimeRoutes
from atriz_realtime.plugin_system.config import RealtimeConfig, view
from atriz_realtime.plugin_system.plugins import PluginHost, PluginInfo
from atriz_realtime.plugin_system.registry import Registry
from atriz_realtime.redis_link import Link, make_link

logger = logging.getLogger("atriz_realtime")

B = TypeVar("B")

STARTING_HOOK_TIMEOUT = 10.0
"""Seconds that one ``server_started`` hook may take."""

STOPPING_HOOK_TIMEOUT = 1.0
"""Seconds that one ``server_stopping`` hook may take."""

CLOSE_STEP_TIMEOUT = 3.0
"""Seconds that each further step of closing may take."""


class RealtimeServer:
    """A Socket.IO server with live tracking, inside a Starlette application.

    It starts and stops with the application's lifespan; on a host that runs none, it
    starts with the first request.

    :param app: the application to serve from: Starlette's, or one derived from it.
    :param config: default: read from the configuration file and the environment.
    :param worker: the number of this process, where several serve one port.
    :param other_reports: asks those other processes for their reports; ``None``: this process
        serves the port alone.
    :raises ConfigurationError: when a setting cannot be, or names what nobody registers.
    :raises PluginError: when a plugin cannot be loaded, or conflicts with another.
    """

    def __init__(
        self,
        app: Starlette,
        config: RealtimeConfig | None = None,
        *,
        worker: int = 0,
        other_reports: Callable[[], Awaitable[Sequence[ProcessReport]]] | None = None,
    ) -> None:
        self.config = RealtimeConfig.load() if config is None else config
        self._clock = SystemClock()
        self.incidents = Incidents(self._clock)
        self._plugins = PluginHost(self.config)
        self._link: Link | None = None
        if self.config.redis_url is not None:
            self._link = make_link(self.config.redis_url, self.incidents)
        self._resources = Resources(
            clock=self._clock,
            redis=self._link,
            settings=view(self.config),
            report=self.incidents.report,
        )
        self._registry = Registry(self._plugins, self.config, self._resources)
        self.plugin_runner = PluginRunner(self.incidents, self._clock, self.config.plugin_timeout)
        attempts = AuthBackoff(
            self._clock,
            self.config.max_auth_failures,
            self.config.auth_failure_window,
            self.config.max_auth_backoff,
        )
        access = self._access = AccessControl(
            self._registry, self.plugin_runner, self.incidents, attempts
        )
        self._channels = ChannelSubscriptions(self._registry.kinds, self._clock)
        self._channels.rooms.views = access.views
        delivery, pipeline, self._traced = _traced_parts(self.config.tracing)
        self.delivery = delivery(self._registry.kinds, self._channels, self._clock, self.incidents)
        self._pipeline = pipeline(
            registry=self._registry,
            access=access,
            plugin_runner=self.plugin_runner,
            delivery=self.delivery,
            clock=self._clock,
            incidents=self.incidents,
            max_clock_skew=self.config.max_clock_skew,
        )
        self.socket_io = SocketServer(
            self.config,
            self._channels.rooms,
            self.incidents,
            self,
            session_prefix="" if other_reports is None else session_prefix(worker),
        )
        self._lane = websocket_protocol(self.socket_io.eio, SOCKET_PATH)
        self._statistics = Statistics(self.incidents)
        self._statistics.add("frames", self._channels.rooms)
        self._statistics.add("clients", ClientLag(self.socket_io.eio.sockets))
        self._statistics.add("backlog", self.delivery.backlog)
        self._statistics.add("resync", self.delivery.resync)
        for name, fixes in self._pipeline.fixes.items():
            self._statistics.add(f"fixes {name}", fixes)
        self._statistics.add("refusals", self.incidents.refusals)
        self._gateway = Gateway(
            config=self.config,
            server=self.socket_io,
            access=access,
            plugin_runner=self.plugin_runner,
            channels=self._channels,
            incidents=self.incidents,
            clock=self._clock,
            pipeline=self._pipeline,
            kinds=self._registry.kinds,
        )
        self._sockets = Sockets(self._channels.rooms, self._gateway)
        self.signals = Signals(self.incidents)
        self.permissions = Permissions(
            access, self._gateway, self.signals, self.incidents, self._pipeline
        )
        self.delivery.after_gap = self.permissions.missed
        self.reports = Reports(
            clock=self._clock,
            sockets=self._sockets,
            status=self.status,
            statistics=self._statistics.read,
            incidents=lambda: self.incidents.counts,
            worker=worker,
            others=other_reports,
        )
        self._handle = ServerHandle(
            tracking=self._pipeline,
            access=access,
            socket_io=self.socket_io,
            sockets=self._sockets,
            membership=Membership(self._channels.rooms),
            signals=self.signals,
            permissions=self.permissions,
            status=self.status,
            incidents=lambda: self.incidents.counts,
            statistics=self._statistics.read,
            reports=self.reports.all,
        )
        self._layers = self._registry.fanout_layers(self._handle)
        for event in self._registry.socket_events(self._handle):
            self._gateway.add_event(self._registry.owner(event), event)
        self._reporting: list[Reporting] = []
        self._open = AsyncExitStack()
        self._starting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._started_at: float | None = None
        self.socket_io.eio.starting = self.start
        self.tracking = TrackingService(self.redis, self.socket_io)
        self._install(app)

    # -- the TypeScript package's interface ------------------------------------------------

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

    async def broadcast_to_authenticated(self, event: str, data: Any) -> None:
        """Send an event to every authenticated socket, on every server."""
        await self._sockets.broadcast_to_authenticated(event, data)

    async def send_to_user(self, user_id: str, event: str, data: Any) -> None:
        """Send an event to every socket of a user, on every server."""
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
        return self._link.client if self._link is not None else None

    def get_stats(self) -> dict[str, Any]:
        """``connections`` and ``rooms`` of this server, and its ``uptime`` in seconds."""
        started = self._started_at
        return {
            "connections": self.connection_count,
            "rooms": self.room_count,
            "uptime": 0.0 if started is None else self._clock.monotonic() - started,
        }

    async def close(self) -> None:
        """Send every client away and close everything; safe to call twice.

        Bounded: each step has a time limit, and a step that fails is logged and does
        not keep the others from running.
        """
        if self._starting is None:
            return
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    # -- beyond it -------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the backends; the first call does, the others wait for it.

        :raises ConfigurationError: when a backend cannot work as configured.
        :raises PluginError: when a ``server_started`` hook fails.
        """
        if self._started_at is not None:
            return
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())
        await asyncio.shield(self._starting)

    def websocket_protocol(self) -> type[UvicornWebSocket]:
        """What to hand to uvicorn as ``ws=``, so that websockets need no ASGI.

        Websockets of the application's other routes are served as they would be without;
        the application's middleware does not see those of ``/socket.io/``.
        """
        return self._lane

    def http_protocol(
        self, ordinary: type[HttpToolsProtocol] = HttpToolsProtocol
    ) -> type[asyncio.Protocol]:
        """What to hand to uvicorn as ``http=``, so that endpoints and handshakes need no ASGI.

        Everything else goes to ``ordinary``; the application's middleware does not see
        calls of endpoints from programs, while those from web pages go all the way.
        """
        return http_protocol(self._endpoints, self._lane, ordinary, self.socket_io.eio.proxies)

    async def started_pipeline(self) -> Pipeline:
        """The publish pipeline; starts the server when it has not started.

        :raises Unavailable: when the server was closed.
        """
        if self._closing is not None:
            raise Unavailable("the server is closed")
        await self.start()
        return self._pipeline

    def status(self) -> BackendStatus:
        """The state of the least healthy backend."""
        statuses = [backend.status() for backend in self._reporting]
        for state in ("disconnected", "connected"):
            for status in statuses:
                if status.state == state:
                    return status
        return BackendStatus("embedded")

    @property
    def registry(self) -> Registry:
        """What all plugins together registered."""
        return self._registry

    def plugins(self) -> list[PluginInfo]:
        """Every plugin that was found, in load order."""
        return self._plugins.describe()

    # -- start and stop --------------------------------------------------------------------

    def _install(self, app: Starlette) -> None:
        self._endpoints = Endpoints(
            [self._traced(each) for each in self._registry.endpoints(self._handle)],
            self.start,
            self.config.max_body,
            self.incidents,
        )
        called = [EndpointRoute(each, self._endpoints) for each in self._endpoints.by_call.values()]
        routes = RealtimeRoutes(
            [*called, *self._registry.routes(self._handle)],
            self._serve_socket,
            self.config.cors_origin,
            self.start,
            self.incidents.refused,
            self.socket_io.eio.proxies,
        )
        probes = Probes(app.router, self.start, lambda: self._closing is not None)
        app.router.routes[:0] = [routes, probes]
        lifespan = app.router.lifespan_context

        @asynccontextmanager
        async def with_realtime(host: Any) -> AsyncIterator[Any]:
            await self.start()
            try:
                async with lifespan(host) as state:
                    yield state
            finally:
                await self.close()

        app.router.lifespan_context = with_realtime

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.socket_io.handle_request(scope, receive, send)

    async def _emit_entity(
        self, kind: str, entity_id: str, location: Location | Mapping[str, Any]
    ) -> None:
        event = LocationEvent(self._pipeline.entity(kind, entity_id), as_location(location))
        await self.emit_location_update(RoomNames.entity(event.entity), event.to_wire())

    async def _start(self) -> None:
        async with AsyncExitStack() as opened:
            if self._link is not None:
                opened.push_async_callback(self._link.aclose)
                await self._link.start(self.delivery.reachable)
                self._reporting.append(self._link)
                self._statistics.add("redis", self._link)
            caches, fanouts = self._registry.cache, self._registry.fanout
            cache = await self._opened("cache", caches, caches.open(self._resources), opened)
            backend = await self._opened("fanout", fanouts, fanouts.open(self._resources), opened)
            fanout = backend
            for layer in self._layers:
                name = f"layer {layer.name}"
                fanout = await self._opened(name, layer, layer.open(fanout), opened)
            observers = [
                Worker(
                    self._registry.owner(observer),
                    f"observer {observer.name!r}",
                    observer.observe,
                    size=observer.queue_size,
                    limit=observer.timeout,
                    plugin_runner=self.plugin_runner,
                    incidents=self.incidents,
                )
                for observer in self._registry.observers(self._handle)
            ]
            self.delivery.start(cache, fanout, backend)
            opened.push_async_callback(self.delivery.aclose)
            self._pipeline.start(
                policies={
                    name: self._registry.policy(kind) for name, kind in self._registry.kinds.items()
                },
                observers=observers,
            )
            opened.push_async_callback(self._pipeline.aclose)
            relay = Relay(self._channels.rooms, fanout, self.incidents)
            await relay.start()
            opened.push_async_callback(relay.aclose)
            opened.push_async_callback(self.permissions.aclose)
            await self.signals.start(fanout)
            opened.push_async_callback(self.signals.aclose)
            recheck = IdentityRevalidator(
                self._access, self._gateway, self.incidents, self.config.recheck_interval
            )
            recheck.start()
            opened.push_async_callback(recheck.aclose)
            await self._plugins.notify(
                "server_started",
                STARTING_HOOK_TIMEOUT,
                server=self._handle,
                resources=self._resources,
            )
            self._open = opened.pop_all()
        self._started_at = self._clock.monotonic()
        self.socket_io.eio.starting = None

    async def _opened(
        self, name: str, record: Any, opening: Awaitable[B], opened: AsyncExitStack
    ) -> B:
        backend = await opening
        if isinstance(backend, Closeable):
            opened.push_async_callback(backend.aclose)
        if isinstance(backend, Reporting):
            self._reporting.append(backend)
        self._statistics.add(name, backend, self._registry.owner(record))
        return backend

    async def _close(self) -> None:
        if self._starting is not None:
            await asyncio.wait([self._starting])
        for failure in await self._plugins.notify(
            "server_stopping",
            STOPPING_HOOK_TIMEOUT,
            tolerant=True,
            server=self._handle,
            resources=self._resources,
        ):
            self.incidents.report("close incomplete", failure.message)
        await self._step("clients", self._gateway.disconnect_all(), CLOSE_STEP_TIMEOUT)
        await self._step("Socket.IO", self.socket_io.shutdown(), CLOSE_STEP_TIMEOUT)
        await self._step("backends", self._open.aclose(), CLOSE_STEP_TIMEOUT)

    async def _step(self, what: str, work: Awaitable[None], limit: float) -> None:
        try:
            async with asyncio.timeout(limit):
                await work
        except TimeoutError:
            self.incidents.report("close incomplete", f"{what}: not done within {limit:g} s")
        except Exception as error:
            self.incidents.report("close incomplete", f"{what}: {type(error).__name__}: {error}")


def _traced_parts(
    tracing: bool,
) -> tuple[type[Delivery], type[Pipeline], Callable[[Endpoint], Endpoint]]:
    """The parts that a fix goes through: those that make spans, or the plain ones.

    :raises ConfigurationError: when tracing is on and OpenTelemetry is not installed.
    """
    if not tracing:
        return Delivery, Pipeline, lambda endpoint: endpoint
    try:
        from atriz_realtime.core.publish.tracing import (  # noqa: PLC0415  # an extra
            TracedDelivery,
            TracedPipeline,
            traced,
        )
    except ImportError as error:
        raise ConfigurationError(
            "tracing needs OpenTelemetry: pip install 'atriz-realtime[otel]'", field="tracing"
        ) from error
    return TracedDelivery, TracedPipeline, traced
