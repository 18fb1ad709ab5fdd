"""The composition root: configuration → plugins → registry → core → Socket.IO."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import cache, partial
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from atriz_realtime.api.contracts import Resources, ServerHandle
from atriz_realtime.api.reports import ProcessReport
from atriz_realtime.core.access.access import AccessControl
from atriz_realtime.core.access.auth_backoff import AuthBackoff
from atriz_realtime.core.clients.gateway import Gateway
from atriz_realtime.core.clients.interface import ServerInterface
from atriz_realtime.core.clients.permissions import Permissions
from atriz_realtime.core.clients.socket_engine import session_prefix
from atriz_realtime.core.clients.socket_server import SocketServer
from atriz_realtime.core.clients.sockets import ConnectedSocket, EventHandlers, Sockets
from atriz_realtime.core.clients.subscriptions import Subscriptions
from atriz_realtime.core.hub.broadcast import LocationBroadcaster
from atriz_realtime.core.hub.channels import ChannelSubscriptions
from atriz_realtime.core.hub.relay import Relay
from atriz_realtime.core.hub.rooms import Membership, RoomManager
from atriz_realtime.core.hub.signals import Signals
from atriz_realtime.core.hub.views import Views
from atriz_realtime.core.hub.watermarks import Watermarks
from atriz_realtime.core.publish.backends import Backends
from atriz_realtime.core.publish.observers import Observers
from atriz_realtime.core.publish.recorders import Recorders
from atriz_realtime.core.publish.service import TrackingParts, TrackingService, fix_path
from atriz_realtime.core.runtime import open_files
from atriz_realtime.core.runtime.clock import SystemClock
from atriz_realtime.core.runtime.incidents import Incidents
from atriz_realtime.core.runtime.lifecycle import CLOSE_STEP_TIMEOUT, Lifecycle, Step
from atriz_realtime.core.runtime.plugin_runner import PluginResources, PluginRunner
from atriz_realtime.core.runtime.statistics import ClientLag, Reports, Statistics
from atriz_realtime.http.application import HttpInterface
from atriz_realtime.plugin_system import settings_file
from atriz_realtime.plugin_system.config import RealtimeConfig
from atriz_realtime.plugin_system.plugins import PluginHost, PluginInfo
from atriz_realtime.plugin_system.published_secrets import warn_if_published
from atriz_realtime.plugin_system.registry import Registry
from atriz_realtime.plugin_system.settings_view import SettingsView
from atriz_realtime.redis_link import optional_link

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from atriz_realtime.engine.transports.uvicorn import UvicornWebSocket


class RealtimeServer(ServerInterface):
    """A Socket.IO server with live tracking, inside a Starlette application.

    It starts and stops with the application's lifespan; on a host that runs none, it
    starts with the first request.

    :param app: the application to serve from: Starlette's, or one derived from it.
    :param config: default: read from the configuration file and the environment.
    :param worker: the number of this process, where several serve one port.
    :param deaths: how often the worker of this number has died.
    :param other_reports: asks those other processes for their reports; ``None``: there are none.
    :raises ConfigurationError: when a setting cannot be, or names what nobody registers.
    :raises PluginError: when a plugin cannot be loaded, or conflicts with another.
    """

    def __init__(
        self,
        app: Starlette,
        config: RealtimeConfig | None = None,
        *,
        worker: int = 0,
        deaths: int = 0,
        other_reports: Callable[[], Awaitable[Sequence[ProcessReport]]] | None = None,
    ) -> None:
        self._loaded = settings_file.loaded(config)
        self.config = config = self._loaded.config
        clock = SystemClock()
        self.incidents = incidents = Incidents(clock)
        self._plugins = PluginHost(config)
        self._lifecycle = lifecycle = Lifecycle(
            self._open, self._first_steps, self._finish, clock, incidents, config.redis_url
        )
        self.link = link = optional_link(config.redis_url, incidents.report)
        self._resources = Resources(
            clock=clock, redis=link, settings=SettingsView(config), report=incidents.report
        )
        self.registry = registry = Registry(self._plugins, config, self._resources)
        runner = PluginRunner(incidents, clock, config.plugin_timeout)
        views = Views(registry, runner, incidents) if registry.views else None
        failures = config.max_auth_failures, config.auth_failure_window, config.max_auth_backoff
        backoff = AuthBackoff(clock, incidents.report, *failures)
        access = AccessControl(registry, runner, incidents, clock, views, backoff)
        self._relay, watermarks = Relay(incidents), Watermarks(clock)
        self._rooms = rooms = RoomManager(views, watermarks, self._relay)
        broadcaster = LocationBroadcaster(rooms, views, watermarks)
        channels = ChannelSubscriptions(rooms, registry.kinds)
        make_delivery, make_pipeline, traced = fix_path(tracing=config.tracing)
        delivery = make_delivery(registry.kinds, broadcaster, channels, clock, incidents)
        self.delivery = delivery
        pipeline = make_pipeline(
            registry=registry,
            access=access,
            plugin_runner=runner,
            delivery=delivery,
            clock=clock,
            incidents=incidents,
            max_clock_skew=config.max_clock_skew,
            max_metadata=config.max_metadata,
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
            clock=clock,
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
            plugin_runner=runner,
            incidents=incidents,
            clock=clock,
        )
        redis = None if link is None else link.client
        parts = TrackingParts(redis, pipeline, self.delivery, runner, incidents, lifecycle)
        self.socket_io = SocketServer(
            config,
            rooms,
            self._gateway,
            handlers,
            incidents,
            parts,
            lifecycle.ready,
            "" if other_reports is None else session_prefix(worker),
        )
        statistics = Statistics(incidents)
        fixes = {f"fixes {name}": counted for name, counted in pipeline.fixes.items()}
        hub = {"frames": broadcaster, "clients": ClientLag(self.socket_io.eio.sockets)}
        statistics.add_all(hub | delivery.parts | fixes | {"refusals": incidents.refusals})
        self._backends = Backends(registry, self._resources, statistics, link, delivery.backlog)
        self.status = self._backends.status
        sockets, self.signals = Sockets(rooms, connected), Signals(incidents)
        self._plugin_opened = PluginResources(runner)
        every = config.recheck_interval
        self.permissions = Permissions(
            access, self._gateway, subscriptions, self.signals, incidents, pipeline, every
        )
        self.reports = Reports(
            clock=clock,
            sockets=sockets,
            status=self.status,
            statistics=statistics.read,
            incidents=incidents,
            failed_tasks=self._plugin_opened.failed_tasks,
            worker=worker,
            deaths=deaths,
            others=other_reports,
        )

        @cache
        def handle(plugin: str) -> ServerHandle:
            return ServerHandle(
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
                allow_page=self.socket_io.eio.allow_page,
                create_task=partial(self._plugin_opened.create_task, plugin),
                failed_tasks=self._plugin_opened.failed_tasks,
            )

        self._notify = partial(self._plugins.notify, server=handle, resources=self._resources)
        self._layers = registry.fanout_layers(handle)
        observers = registry.observers(handle)
        self._observers = Observers(observers, registry.owner, runner, incidents, statistics)
        self._recorders = Recorders(registry, handle, runner, incidents, clock)
        self._gateway.add_events(registry, handle)
        super().__init__(
            sockets, pipeline, redis, clock, lifecycle, access, self.socket_io.eio.proxies
        )
        self.tracking = TrackingService(redis, self.socket_io)
        self._http = HttpInterface(
            app,
            config,
            self.socket_io,
            incidents,
            endpoints=[traced(each) for each in registry.endpoints(handle)],
            routes=registry.routes(handle),
            owner_of_path=registry.owner_of_path,
            lifecycle=lifecycle,
        )
        statistics.add("http", self._http.endpoints)

    async def start(self) -> None:
        """Open the backends; the first call does it, the others wait for it.

        :raises ConfigurationError: when a backend cannot work as configured, or after `close`.
        :raises PluginError: when a ``server_started`` hook fails.
        :raises RuntimeError: when it has started in another event loop that is open still.
        """
        await self._lifecycle.start_for("this RealtimeServer")

    def leave(self) -> None:
        """Answer 503 at ``/readyz`` from now on; everything else is served as before."""
        self._lifecycle.leave()

    async def drain(self) -> None:
        """Disconnect every client; requests are still answered, until :meth:`close`."""
        await self._lifecycle.drain()

    async def close(self) -> None:
        """Disconnect every client and close everything, step by step; safe to call twice."""
        await self._lifecycle.close()

    def websocket_protocol(self) -> type[UvicornWebSocket]:
        """What to hand to uvicorn as ``ws=``, so that websockets need no ASGI.

        The application's middleware does not see them; its other websockets go through ASGI.

        :raises ConfigurationError: when uvicorn is not installed.
        """
        return self._http.websocket_protocol()

    def http_protocol(
        self, fallback: type[HttpToolsProtocol] | None = None
    ) -> type[asyncio.Protocol]:
        """What to hand to uvicorn as ``http=``, so that endpoints and Socket.IO need no ASGI.

        Everything else goes to ``fallback``, by default uvicorn's own protocol. Of these requests
        the application's middleware sees only those of web pages to endpoints.

        :raises ConfigurationError: when uvicorn or httptools is not installed.
        """
        return self._http.http_protocol(fallback)

    def plugins(self) -> list[PluginInfo]:
        """Every plugin that was found, in load order."""
        return self._plugins.describe()

    async def _open(self, opened: AsyncExitStack) -> None:
        settings_file.warn(self._loaded, self.registry)
        warn_if_published(self.config)
        given = self._layers, self.delivery.reachable, self._recorders
        backends = await self._backends.open(opened, *given)
        self.delivery.start(backends, self.signals.gap_ended)
        opened.push_async_callback(self.delivery.aclose)
        opened.push_async_callback(self._finish)
        self._pipeline.start(backends.cache, self._observers, backends.journaling)
        await self._relay.start(backends.fanout, self._rooms.emit_encoded)
        opened.push_async_callback(self._relay.aclose)
        opened.push_async_callback(self.permissions.aclose)
        opened.callback(open_files.watch(self.incidents.report))
        await self.signals.start(backends.fanout)
        opened.push_async_callback(self.signals.aclose)
        self.permissions.start()
        await self._notify("server_started", returned=self._plugin_opened.add)
        self._observers.start()
        self._recorders.start()

    def _first_steps(self) -> list[Step]:
        return [
            ("plugins", self._notify_stopping, None),
            ("clients", self.socket_io.abort_all, CLOSE_STEP_TIMEOUT),
            ("Socket.IO", self.socket_io.shutdown, CLOSE_STEP_TIMEOUT),
        ]

    async def _finish(self) -> None:
        """Close what needs the backends; each has limits of its own, and is closed once."""
        await self._pipeline.aclose()
        await asyncio.gather(self._observers.aclose(), self._recorders.aclose())
        await self._plugin_opened.aclose()

    async def _notify_stopping(self) -> None:
        for failure in await self._notify("server_stopping", tolerant=True):
            self.incidents.report("close incomplete", failure.message)
