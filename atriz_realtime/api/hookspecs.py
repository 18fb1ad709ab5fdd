"""Every hook a plugin may implement, with its whole contract.

Hooks are handed, by name, any of: ``config``, a read-only view of the settings and of
the plugin's own table; ``resources``, the clock, the connection to Redis, which is open
from ``server_started`` on, and a way to report failures that were survived; ``server``, a
narrow handle on the running server.
State belongs in what a hook creates, not in the module: a process may run several
servers.

Registration hooks (``register_*``) are synchronous, run once while the server
starts, and return records; the message path never enters pluggy.  An
implementation names only the arguments it wants, in any subset.  It returns a
list of records, a single record, or ``None``.

The order of plugins is pluggy's: defaults first, then entry points, then the
plugins named in configuration; ``tryfirst`` and ``trylast`` move one.  Two
records of one kind with the same name stop the start with an error that names
both plugins.  An exception in a hook stops the start and names the plugin, unless
``optional_plugins`` lists it: then it is reported, and the plugin does without the
hook.  Nothing is optional about authenticators, authorizers, filters and views, whose
absence could let somebody in, or see too much.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Any

import pluggy
from starlette.routing import BaseRoute

from atriz_realtime.api.contracts import PluginConfig, Resources, ServerHandle
from atriz_realtime.api.records import (
    Authenticator,
    Authorizer,
    CacheBackend,
    Endpoint,
    EntityType,
    FanoutBackend,
    FanoutLayer,
    Filter,
    Observer,
    SocketEvent,
    Throttle,
    View,
)

if TYPE_CHECKING:
    import click

PROJECT_NAME = "atriz_realtime"
"""The pluggy project, and the entry-point group plugins are found in."""

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


@hookspec
def register_settings() -> type[Any] | None:
    """Name the attrs class of the plugin's own table, ``[realtime.plugins.<name>]``.

    Called once at start, before any other hook, even when there is no table.  The
    table is checked against the class: an unknown key, a missing one or one of a wrong
    type stops the start and names it.  Any hook then gets it with
    ``config.load(TheClass)``.  A table for a plugin without settings is an error.

    Example::

        @attrs.frozen
        class Settings:
            fleet: str
            tolerance: float = 5.0

        @hookimpl
        def register_settings():
            return Settings
    """


@hookspec
def register_authenticators(
    config: PluginConfig, resources: Resources
) -> Iterable[Authenticator] | Authenticator | None:
    """Offer ways to find out who a caller is.

    Called once at start.  Authenticators are asked in their ``order`` until one
    returns an identity.  Returning ``None`` abstains and the next is asked;
    raising :class:`AuthenticationRejected` refuses and ends the asking.  Any
    other exception refuses too.  When all abstain, the caller is not
    authenticated.

    Example::

        @hookimpl
        def register_authenticators():
            async def authenticate(credentials):
                if credentials.token != "let-me-in":
                    return None
                return Identity(user_id="u1")

            return Authenticator("door", authenticate, order=-1)  # before JWT refuses it
    """


@hookspec
def register_authorizers(
    config: PluginConfig, resources: Resources
) -> Iterable[Authorizer] | Authorizer | None:
    """Offer rules about who may watch or publish which entity.

    Called once at start.  All authorizers are asked; any refusal wins, and an
    exception refuses.  When none is registered, every authenticated user may
    watch and publish everything, which is the documented behaviour.

    Example::

        @hookimpl
        def register_authorizers():
            async def own_only(identity, entity):
                return entity.id in identity.claims.get("vehicles", ())

            return Authorizer("own-vehicles", may_track=own_only)
    """


@hookspec
def register_entity_types(config: PluginConfig) -> Iterable[EntityType] | EntityType | None:
    """Offer kinds of things that can be tracked.

    Called once at start.  Each type makes ``track:<name>`` and
    ``untrack:<name>``, its rooms, channels, keys and HTTP paths work.  What the
    record leaves open comes from configuration, and a table
    ``[realtime.entities.<name>]`` overrides what it sets.

    Example::

        @hookimpl
        def register_entity_types():
            return EntityType("drone", id_pattern=r"D-[0-9]{4}")
    """


@hookspec
def register_throttles(config: PluginConfig) -> Iterable[Throttle] | Throttle | None:
    """Offer throttling policies that configuration chooses by name.

    Called once at start; ``create`` is then called once for each entity type
    that uses the policy.  A policy that raises while deciding refuses the fix.

    Example::

        class EveryOther:
            def __init__(self):
                self.seen = 0

            async def admit(self, entity, location):
                self.seen += 1
                return PASS if self.seen % 2 else DROP

        @hookimpl
        def register_throttles():
            return Throttle("every-other", lambda options, resources: EveryOther())
    """


@hookspec
def register_caches(config: PluginConfig) -> Iterable[CacheBackend] | CacheBackend | None:
    """Offer places where current locations live; the setting ``cache`` chooses one.

    Called once at start.  Only the chosen backend is opened; an exception while
    opening stops the start.  One that is :class:`Closeable` is closed at the
    end, one that is :class:`Reporting` appears in the health report, and so do the
    numbers of one that is :class:`Measuring`.

    Example::

        @hookimpl
        def register_caches():
            async def open_cache(resources):
                return MyCache(resources.clock)

            return CacheBackend("mine", open_cache)
    """


@hookspec
def register_fanouts(config: PluginConfig) -> Iterable[FanoutBackend] | FanoutBackend | None:
    """Offer ways in which a payload reaches the other servers; ``fanout`` chooses one.

    Called once at start.  Only the chosen backend is opened; an exception while
    opening stops the start.  One that is :class:`Closeable` is closed at the
    end, one that is :class:`Reporting` appears in the health report, and so do the
    numbers of one that is :class:`Measuring`.

    Example::

        @hookimpl
        def register_fanouts():
            async def open_fanout(resources):
                return MyFanout()

            return FanoutBackend("mine", open_fanout)
    """


@hookspec
def register_fanout_layers(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Iterable[FanoutLayer] | FanoutLayer | None:
    """Offer layers between the core and the fan-out: to watch, change or add to what passes.

    Called once at start.  All that are registered are opened, in their ``order``, each on
    top of the one before; an exception while opening stops the start.  What is published
    goes down through them, what is received comes up: fixes on their entity's channel,
    :class:`Emit` messages on ``RedisChannels.EMITS``, and :class:`Signals` between servers on
    ``RedisChannels.SIGNALS``, which a layer passes on as they are.  One that is
    :class:`Closeable` is closed at the end, before what is below.  Whether the fan-out is
    :class:`Interruptible` or :class:`Reporting` the core asks the fan-out itself; a layer
    that is :class:`Measuring` shows its numbers as ``layer <name>``.

    Example::

        class Counted:
            def __init__(self, below):
                self.below, self.published = below, 0
                self.subscribe, self.unsubscribe = below.subscribe, below.unsubscribe

            def publish(self, channel, data):
                self.published += 1
                return self.below.publish(channel, data)

        @hookimpl
        def register_fanout_layers():
            async def open_layer(below):
                return Counted(below)

            return FanoutLayer("counted", open_layer)
    """


@hookspec
def register_filters(
    config: PluginConfig, resources: Resources
) -> Iterable[Filter] | Filter | None:
    """Offer filters that amend, pass or drop a fix before it is published.

    Called once at start.  Filters run in their ``order``, after validation and
    throttle, each on what the one before returned; ``None`` drops the fix.  A
    filter that raises refuses the fix.

    Example::

        @hookimpl
        def register_filters():
            async def no_test_vehicles(event):
                return None if event.entity_id.startswith("test-") else event

            return Filter("no-tests", no_test_vehicles)
    """


@hookspec
def register_views(config: PluginConfig, resources: Resources) -> Iterable[View] | View | None:
    """Offer views: what some watchers are shown instead of a fix as it was published.

    Called once at start.  All views that apply to an identity and an entity are applied in
    their ``order``, each on what the one before returned; ``None`` shows nothing.  What
    travels between servers and lies in the cache stays whole: views are applied where the
    watcher is, to live fixes, to the current location that a new watcher gets, and to what
    ``GET /api/tracking/…`` answers.  A fix is read, changed and encoded once for each
    distinct combination of views, not for each watcher; for those to whom none applies
    nothing is done.

    It fails closed: where ``applies`` raises or takes too long, or ``apply`` raises, nothing
    is shown, which is counted.  What a host emits itself goes out as it is, except
    ``location:update`` to the room of an entity.

    Example::

        @hookimpl
        def register_views():
            async def is_guest(identity, entity):
                return identity.claims.get("role") == "guest"

            def without_speed(event):
                return attrs.evolve(event, location=attrs.evolve(event.location, speed=None))

            return View("no-speed", is_guest, without_speed)
    """


@hookspec
def register_observers(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Iterable[Observer] | Observer | None:
    """Offer observers of every event published on this server.

    Called once at start.  An observer gets the event after it was published,
    from a bounded queue of its own, in order; an exception is counted and
    logged, and the next event follows.

    Example::

        @hookimpl
        def register_observers():
            async def print_it(event):
                print(event.entity, event.location.latitude, event.location.longitude)

            return Observer("printer", print_it)
    """


@hookspec
def register_socket_events(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Iterable[SocketEvent] | SocketEvent | None:
    """Offer further client → server events.

    Called once at start.  Names of the protocol and of other plugins are
    conflicts.  What a handler returns is the acknowledgement; a
    :class:`RealtimeError` becomes ``error`` and a negative acknowledgement, and
    any other exception an ``Internal error``.

    Example::

        @hookimpl
        def register_socket_events(server):
            async def honk(client, vehicle_id):
                await server.sockets.emit("honk", vehicle_id, room=f"vehicle:{vehicle_id}")
                return {"success": True}

            return SocketEvent("vehicle:honk", honk)
    """


@hookspec
def register_routes(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Iterable[BaseRoute] | BaseRoute | None:
    """Offer further HTTP, as Starlette routes.

    Called once, when the server is attached to its application; requests come
    only after the start.  A path that two plugins claim stops the start.  A
    :class:`RealtimeError` that an endpoint raises becomes its JSON refusal.

    Example::

        @hookimpl
        def register_routes(server):
            async def how_many(request):
                return JSONResponse(await server.tracking.counts())

            return Route("/api/how-many", how_many)
    """


@hookspec
def register_endpoints(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Iterable[Endpoint] | Endpoint | None:
    """Offer further HTTP calls of one path each, for what is called all the time.

    Called once, when the server is attached to its application; calls come only after
    the start.  ``serve`` answers them before the application and its middleware see
    them; elsewhere they are ordinary routes.  A path that two plugins claim stops the
    start.  A :class:`RealtimeError` that a handler raises becomes its JSON refusal.

    Example::

        @hookimpl
        def register_endpoints(server):
            async def echo(call):
                return HttpAnswer(call.body)

            return Endpoint("/api/echo", echo)
    """


@hookspec
def register_commands(
    config: PluginConfig, resources: Resources
) -> Iterable[click.Command] | click.Command | None:
    """Offer further commands of ``atriz-realtime``, as click commands.

    Called once, when the command line starts; no server is running.  ``config`` comes
    from the configuration file in the working directory and the environment.  Of
    ``resources.redis`` nothing is open: a command that needs Redis, wherever that is,
    uses its ``client``, and closes it.

    Example::

        @click.command()
        def hello():
            click.echo("hello")

        @hookimpl
        def register_commands():
            return hello
    """


@hookspec
def server_started(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Awaitable[None] | None:
    """Told once, when the backends are open and before the first client.

    May be a coroutine function; it is awaited, for ten seconds at most.  An exception
    stops the start.

    Example::

        @hookimpl
        async def server_started(server):
            print(await server.tracking.counts(), "are known")
    """


@hookspec
def server_stopping(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Awaitable[None] | None:
    """Told once, before clients are sent away and backends are closed.

    May be a coroutine function; it is awaited, for one second at most.  An exception
    is logged and does not hold up the stop.

    Example::

        @hookimpl
        def server_stopping(server):
            print("so long,", server.sockets.connections, "sockets")
    """
