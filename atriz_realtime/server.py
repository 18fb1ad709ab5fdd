"""The composition root: configuration → plugins → registry → core → Socket.IO."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from atriz_realtime.api.contracts import BackendStatus, Resources, ServerHandle
from atriz_realtime.api.errors import Unavailable
from atriz_realtime.api.reports import ProcessReport
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.access.auth_backoff import AuthBackoff
from atriz_realtime.core.clients.events import EventHandlers
from atriz_realtime.core.clients.gateway import Gateway
from atriz_realtime.core.clients.interface import ServerInterface
from atriz_realtime.core.clients.permissions import Permissions
from atriz_realtime.core.clients.revalidator import IdentityRevalidator
from atriz_realtime.core.clients.socket_engine import session_prefix
from atriz_realtime.core.clients.socket_server import SocketServer
from atriz_realtime.core.clients.sockets import ConnectedSocket, Sockets
from atriz_realtime.core.clients.subscriptions import Subscriptions
from atriz_realtime.core.hub.broadcast import LocationBroadcaster
from atriz_realtime.core.hub.channels import ChannelSubscriptions
from atriz_realtime.core.hub.relay import Relay
from atriz_realtime.core.hub.rooms import Membership, RoomManager
from atriz_realtime.core.hub.signals import Signals
from atriz_realtime.core.hub.views import Views
from atriz_realtime.core.publish.backends import Backends
from atriz_realtime.core.publish.fix_path import fix_path
from atriz_realtime.core.publish.pipeline import Pipeline
from atriz_realtime.core.publish.service import TrackingParts, TrackingService
from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.plugin_runner import PluginRunner
from atriz_realtime.core.runtime.reports import Reports
from atriz_realtime.core.runtime.statistics import ClientLag, Statistics
from atriz_realtime.http.application import http_protocol, install, websocket_protocol
from atriz_realtime.http.endpoints import EndpointRoute, Endpoints
from atriz_realtime.http.probes import Probes
from atriz_realtime.http.routes import RealtimeRoutes
from atriz_realtime.plugin_system.config import RealtimeConfig, view
from atriz_realtime.plugin_system.plugins import PluginHost, PluginInfo
from atriz_realtime.plugin_system.registry import Registry
from atriz_realtime.redis_link import make_link

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from atriz_realtime.engine.transports.uvicorn import UvicornWebSocket

STARTING_HOOK_TIMEOUT = 10.0
"""Seconds that one ``server_started`` hook may take."""

STOPPING_HOOK_TIMEOUT = 1.0
"""Seconds that one ``server_stopping`` hook may take."""

CLOSE_STEP_TIMEOUT = 3.0
"""Seconds that each further step of closing may take."""


class RealtimeServer(ServerInterface):
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
        self.config = config = RealtimeConfig.load() if config is None else config
        clock = SystemClock()
        self.incidents = incidents = Incidents(clock)
        self._plugins = PluginHost(config)
        redis_url = config.redis_url
        self._link = None if redis_url is None else make_link(redis_url, incidents.report)
        self._resources = Resources(
            clock=clock, redis=self._link, settings=view(config), report=incidents.report
        )
        self._registry = registry = Registry(self._plugins, config, self._resources)
        self.plugin_runner = PluginRunner(incidents, clock, config.plugin_timeout)
        views = Views(registry, self.plugin_runner, incidents) if registry.views else None
        self._access = access = AccessControl(
            registry,
            self.plugin_runner,
            incidents,
            views,
            AuthBackoff(
                clock,
                config.max_auth_failures,
                config.auth_failure_window,
                config.max_auth_backoff,
            ),
        )
        self._relay = Relay(incidents)
        self._rooms = rooms = RoomManager(views, self._relay)
        broadcaster = LocationBroadcaster(rooms, views, clock)
        channels = ChannelSubscriptions(rooms, registry.kinds)
        path = fix_path(tracing=config.tracing)
        self.delivery = path.delivery(registry.kinds, broadcaster, channels, clock, incidents)
        pipeline = path.pipeline(
            registry=registry,
            access=access,
            plugin_runner=self.plugin_runner,
            delivery=self.delivery,
            clock=clock,
            incidents=incidents,
            max_clock_skew=config.max_clock_skew,
        )
        handlers, connected = EventHandlers(), dict[str, ConnectedSocket]()
        subscriptions = Subscriptions(
            sockets=connected,
            handlers=handlers,
            rooms=rooms,
            views=views,
            broadcaster=broadcaster,
            channels=channels,
            access=access,
            pipeline=pipeline,
            incidents=incidents,
            kinds=registry.kinds,
            limit=config.max_subscriptions,
        )
        self._gateway = Gateway(
            config=config,
            rooms=rooms,
            handlers=handlers,
            sockets=connected,
            subscriptions=subscriptions,
            access=access,
            plugin_runner=self.plugin_runner,
            incidents=incidents,
            clock=clock,
        )
        redis = None if self._link is None else self._link.client
        parts = TrackingParts(
            redis=redis,
            delivery=self.delivery,
            plugin_runner=self.plugin_runner,
            incidents=incidents,
            started_pipeline=self.started_pipeline,
        )
        prefix = "" if other_reports is None else session_prefix(worker)
        self.socket_io = SocketServer(
            config, rooms, self._gateway, handlers, incidents, parts, prefix
        )
        self._websocket_protocol: type[UvicornWebSocket] | None = None
        self._statistics = statistics = Statistics(incidents)
        statistics.add("frames", broadcaster)
        statistics.add("clients", ClientLag(self.socket_io.eio.sockets))
        statistics.add("backlog", self.delivery.backlog)
        statistics.add("resync", self.delivery.resync)
        for name, fixes in pipeline.fixes.items():
            statistics.add(f"fixes {name}", fixes)
        statistics.add("refusals", incidents.refusals)
        sockets = Sockets(rooms, connected)
        self.signals = Signals(incidents)
        self.permissions = Permissions(
            access, self._gateway, subscriptions, self.signals, incidents, pipeline
        )
        self.reports = Reports(
            clock=clock,
            sockets=sockets,
            status=self.status,
            statistics=statistics.read,
            incidents=incidents,
            worker=worker,
            others=other_reports,
        )
        self._handle = handle = ServerHandle(
            tracking=pipeline,
            access=access,
            socket_io=self.socket_io,
            sockets=sockets,
            membership=Membership(rooms),
            signals=self.signals,
            permissions=self.permissions,
            status=self.status,
            incidents=lambda: incidents.counts,
            statistics=statistics.read,
            reports=self.reports.all,
        )
        self._backends = Backends(
            registry, self._resources, registry.fanout_layers(handle), statistics, self._link
        )
        for event in registry.socket_events(handle):
            self._gateway.add_event(registry.owner(event), event)
        self._open = AsyncExitStack()
        self._starting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.socket_io.eio.starting = self.start
        super().__init__(sockets, pipeline, redis, clock)
        self.tracking = TrackingService(redis, self.socket_io)
        self._endpoints = Endpoints(
            [path.endpoint(each) for each in registry.endpoints(handle)],
            self.start,
            config.max_body,
            incidents,
        )
        self._install(app)

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

        :raises ConfigurationError: when uvicorn is not installed.
        """
        if self._websocket_protocol is None:
            self._websocket_protocol = websocket_protocol(self.socket_io.eio)
        return self._websocket_protocol

    def http_protocol(
        self, fallback: type[HttpToolsProtocol] | None = None
    ) -> type[asyncio.Protocol]:
        """What to hand to uvicorn as ``http=``, so that endpoints and handshakes need no ASGI.

        Everything else goes to ``fallback``, by default uvicorn's own protocol. The application's
        middleware does not see requests of programs to endpoints, but it sees those of web pages.

        :raises ConfigurationError: when uvicorn or httptools is not installed.
        """
        websocket, proxies = self.websocket_protocol(), self.socket_io.eio.proxies
        return http_protocol(self._endpoints, websocket, fallback, proxies)

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
        return self._backends.status()

    @property
    def registry(self) -> Registry:
        """What all plugins together registered."""
        return self._registry

    def plugins(self) -> list[PluginInfo]:
        """Every plugin that was found, in load order."""
        return self._plugins.describe()

    # -- start and stop --------------------------------------------------------------------

    def _install(self, app: Starlette) -> None:
        endpoints, engine = self._endpoints, self.socket_io.eio
        routes = RealtimeRoutes(
            [
                *(EndpointRoute(each, endpoints) for each in endpoints.by_route.values()),
                *self._registry.routes(self._handle),
            ],
            self.socket_io.handle_request,
            self.config.cors_origin,
            self.start,
            self.incidents.refused,
            engine.proxies,
        )
        probes = Probes(app.router, self.start, lambda: self._closing is not None)
        install(app, [routes, probes], self.start, self.close)

    async def _start(self) -> None:
        backends = self._backends
        async with AsyncExitStack() as opened:
            if self._link is not None:
                opened.push_async_callback(self._link.aclose)
                await self._link.start(self.delivery.reachable)
                self._statistics.add("redis", self._link)
            await backends.open(opened)
            observers = self._registry.observers(self._handle)
            self.delivery.start(
                cache=backends.cache,
                fanout=backends.fanout,
                innermost_fanout=backends.innermost_fanout,
                after_gap=self.permissions.signals_lost,
            )
            opened.push_async_callback(self.delivery.aclose)
            self._pipeline.start(backends.cache, observers)
            opened.push_async_callback(self._pipeline.aclose)
            await self._relay.start(backends.fanout, self._rooms.emit_encoded)
            opened.push_async_callback(self._relay.aclose)
            opened.push_async_callback(self.permissions.aclose)
            await self.signals.start(backends.fanout)
            opened.push_async_callback(self.signals.aclose)
            revalidator = IdentityRevalidator(
                self._access, self._gateway, self.incidents, self.config.recheck_interval
            )
            revalidator.start()
            opened.push_async_callback(revalidator.aclose)
            await self._plugins.notify(
                "server_started",
                STARTING_HOOK_TIMEOUT,
                server=self._handle,
                resources=self._resources,
            )
            self._open = opened.pop_all()
        self._started_at = self._clock.monotonic()
        self.socket_io.eio.starting = None

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
        await self._step("clients", self.socket_io.abort_all(), CLOSE_STEP_TIMEOUT)
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
