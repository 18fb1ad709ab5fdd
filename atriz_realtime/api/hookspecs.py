"""Every hook a plugin may implement, with its whole contract.

A hook receives, by name, any of these arguments: ``config``, a read-only view of the settings and
of the plugin's own table; ``resources``, which are the clock, the connection to Redis (open from
``server_started`` on) and a function that reports survived failures; ``server``, a narrow handle on
the running server. A plugin's state belongs to the objects that a hook creates, not to the module,
because a process may run several servers.  State that several hooks share belongs to a plugin that
is a class: each server makes an object of it, without arguments, and its methods are the hooks.

Registration hooks (``register_*``) are synchronous, run once while the server starts, and return
records; a message in flight never enters pluggy.  An implementation names only the arguments it
wants, in any subset.  It returns a list of records, a single record, or ``None``.

Default plugins are called first, then those with entry points, then those that the configuration
names; pluggy's ``tryfirst`` and ``trylast`` move one implementation.  Two records of one kind with
the same name stop the start with an error that names both plugins.  So does a record with a
function that does not take the arguments that it will be called with.  An exception in a hook stops
the start and names the plugin.  If ``optional_plugins`` lists the plugin, the exception is only
reported and the plugin runs without the hook.  Authenticators, authorizers, filters and views are
never optional: without them the server could admit people, or show them more, than it should.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Any

import pluggy
from starlette.routing import BaseRoute

from atriz_realtime.api.contracts import Closeable, PluginConfig, Resources, ServerHandle
from atriz_realtime.api.records import (
    Authenticator,
    Authorizer,
    CacheBackend,
    Check,
    Endpoint,
    EntityType,
    FanoutBackend,
    FanoutLayer,
    Filter,
    JournalBackend,
    Observer,
    Recorder,
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
    """Return the attrs class of the plugin's own table, ``[realtime.plugins.<name>]``.

    Called once at start, before any other hook, even if there is no table.  The server
    checks the table against the class; an unknown key, a missing key or a value of the
    wrong type stops the start with an error that names it.  Any hook then gets the table
    with ``config.load(TheClass)``.  A table for a plugin without settings is an error.

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
    """Register authenticators, which find out who a caller is.

    Called once at start.  Authenticators are asked in their ``order`` until one
    returns an identity.  One that returns ``None`` abstains, and the next is asked.
    One that raises :class:`AuthenticationRejected` refuses the caller, and no other is
    asked; any other exception refuses the caller too.  If all abstain, the caller is
    not authenticated.

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
    """Register authorizers, which decide who may watch or publish which entity.

    Called once at start.  The authorizers are asked one after another, until one refuses.  If
    none is registered, every authenticated user may watch and publish everything.

    To refuse, an authorizer returns ``False``: the caller gets ``unauthorized``.  If it raises an
    API error instead, the caller gets its code and message, when it publishes a fix, reads the
    location of one entity or tracks entities.  Nobody waits for the answer about one entity of a
    listing, or when authorizers are asked again: there the error is a refusal and no more.  An
    error that is not the caller's fault, such as ``Unavailable``, is counted as a failure of the
    plugin.  Any other exception is a failure as well, and counts as ``False``.

    Example::

        @hookimpl
        def register_authorizers():
            async def own_only(identity, entity):
                return entity.id in identity.claims.get("vehicles", ())

            return Authorizer("own-vehicles", may_track=own_only)
    """


@hookspec
def register_entity_types(config: PluginConfig) -> Iterable[EntityType] | EntityType | None:
    """Register entity types: kinds of things that can be tracked.

    Called once at start.  Each type enables ``track:<name>`` and
    ``untrack:<name>``, its rooms, channels, keys and HTTP paths.  The configuration
    supplies what the record leaves open, and a table
    ``[realtime.entities.<name>]`` overrides what the record sets.

    Example::

        @hookimpl
        def register_entity_types():
            return EntityType("drone", id_pattern=r"D-[0-9]{4}")
    """


@hookspec
def register_throttles(config: PluginConfig) -> Iterable[Throttle] | Throttle | None:
    """Register throttling policies, which the configuration chooses by name.

    Called once at start; ``create`` is then called once for each entity type
    that uses the policy.  If a policy raises an exception, the fix is refused.
    A policy may also hold a fix, to send the newest one later, as ``latest`` does: see
    `what that means for watchers <../configuration.md#throttling-policies>`_ and
    `how to write one <testing.md#a-policy-that-holds>`_.  ``Verdict`` refuses a delay that is not a
    finite number of seconds from 0 on.

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
    """Register caches, which store current locations; the setting ``cache`` chooses one.

    Called once at start.  Only the chosen backend is opened; an exception while
    opening, or an object without the methods of :class:`Cache`, stops the start.  A
    :class:`Closeable` backend is closed at the end.  The health report includes the
    state of a :class:`Reporting` backend and the numbers of a :class:`Measuring` one.
    A ``get`` that takes longer than five seconds is cancelled, and has failed.  A cache that
    several servers share should be :class:`Holding`, for throttles that hold fixes.  One that
    is :class:`LastKnown` also keeps what is no longer current; with any other there are no
    last known locations.

    Example::

        @hookimpl
        def register_caches():
            async def open_cache(resources):
                return MyCache(resources.clock)

            return CacheBackend("mine", open_cache)
    """


@hookspec
def register_fanouts(config: PluginConfig) -> Iterable[FanoutBackend] | FanoutBackend | None:
    """Register fan-outs, which carry payloads to the other servers; ``fanout`` chooses one.

    Called once at start.  Only the chosen backend is opened; an exception while
    opening, or an object without the methods of :class:`Fanout`, stops the start.  A
    :class:`Closeable` backend is closed at the end.  The health report includes the
    state of a :class:`Reporting` backend and the numbers of a :class:`Measuring` one.

    Example::

        @hookimpl
        def register_fanouts():
            async def open_fanout(resources):
                return MyFanout()

            return FanoutBackend("mine", open_fanout)
    """


@hookspec
def register_journals(config: PluginConfig) -> Iterable[JournalBackend] | JournalBackend | None:
    """Register journals, where fixes wait for recorders; the setting ``journal`` chooses one.

    Called once at start.  Only the chosen backend is opened, and only if a recorder is registered;
    an exception while opening, or an object without the methods of :class:`Journal`, stops the
    start.  A :class:`Closeable` backend is closed at the end.  The health report includes the
    state of a :class:`Reporting` backend and the numbers of a :class:`Measuring` one.

    Example::

        @hookimpl
        def register_journals():
            async def open_journal(resources, recorders):
                return MyJournal(recorders)

            return JournalBackend("mine", open_journal)
    """


@hookspec
def register_fanout_layers(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Iterable[FanoutLayer] | FanoutLayer | None:
    """Register layers between the core and the fan-out, which observe, change or add messages.

    Called once at start.  All registered layers are opened in their ``order``, each on
    top of the one before; an exception while opening, or an object without the methods of
    :class:`Fanout`, stops the start.  Published messages
    go down through the layers, and received ones come up: fixes on their entity's channel,
    :class:`Emit` messages on ``RedisChannels.EMITS``, and :class:`Signals` between servers on
    ``RedisChannels.SIGNALS``.  A layer must pass signals on unchanged and in order.  A
    :class:`Closeable` layer is closed at the end, before what is below it.  The core asks only
    the fan-out itself whether it is :class:`Interruptible` or :class:`Reporting`, and only the
    topmost layer whether it is :class:`Conditional`; the numbers of a :class:`Measuring` layer
    appear as ``layer <name>``.

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
    """Register filters, which change, pass or drop a fix before it is published.

    Called once at start.  Filters run in their ``order``, after validation and before the
    throttle, which sees what they pass.  Each receives what the one before returned; ``None``
    drops the fix.  If a filter raises an exception, the fix is refused.

    Example::

        @hookimpl
        def register_filters():
            async def no_test_vehicles(event):
                return None if event.entity_id.startswith("test-") else event

            return Filter("no-tests", no_test_vehicles)
    """


@hookspec
def register_views(config: PluginConfig, resources: Resources) -> Iterable[View] | View | None:
    """Register views, which decide what some watchers are shown instead of the whole fix.

    Called once at start.  All views that apply to an identity and an entity are applied in
    their ``order``.  Each receives what the one before returned; ``None`` shows nothing.
    Messages between servers and the cache have the whole fix.  Each server applies views to
    its own watchers: to live fixes, to the current location that a new watcher gets, and to
    the answers of ``GET /api/tracking/…``.  A fix is decoded, changed and encoded once for
    each distinct combination of views, not for each watcher; watchers without a view cause
    no extra work.

    Views fail closed: if ``applies`` raises or takes too long, or ``apply`` raises, nothing
    is shown and the failure is counted.  A host's own emits go out unchanged, except
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
    """Register observers, which receive every event published on this server.

    Called once at start.  An observer receives each event after it was published, in
    order, from a bounded queue of its own; the first after every ``server_started`` is done.
    An exception is counted and logged, and the next event follows.  When the server stops,
    observers have a second for what is queued; then ``aclose`` of each is awaited.
    The metrics have no numbers of an observer's own.  A path of the plugin, which
    :func:`register_routes` adds, can answer with them: with those of the worker that it reaches.

    Example::

        @hookimpl
        def register_observers():
            async def print_it(event):
                print(event.entity, event.location.latitude, event.location.longitude)

            return Observer("printer", print_it)
    """


@hookspec
def register_recorders(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Iterable[Recorder] | Recorder | None:
    """Register recorders, which write every accepted fix, for example to a database.

    Called once at start.  A recorder is given each fix that the server has accepted, those that
    the throttle keeps from watchers included, as a :class:`RecordedFix`; the first after every
    ``server_started`` is done.  Fixes that a filter drops are not accepted, and positions that
    :meth:`TrackingService.cache_current_location` writes are no fixes.

    A fix waits in the server's journal until the recorder has returned from a batch with it.  If
    the recorder raises or takes longer than its ``timeout``, the failure is counted, the health
    report says ``degraded``, and the batch is given again after a pause.  Several recorders do not
    wait for each other.  A fix may be given again after it was written, in another batch, by
    another server or after a restart: its ``id`` is then the same.  When the server stops,
    recorders have two seconds for what waits, then ``aclose`` of each is awaited; with the
    journal ``redis`` the rest waits for the next server.

    Example::

        @hookimpl
        def register_recorders():
            async def count(fixes):
                print(len(fixes), "fixes, of which", sum(fix.throttled for fix in fixes), "unsent")

            return Recorder("counter", count)
    """


@hookspec
def register_socket_events(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Iterable[SocketEvent] | SocketEvent | None:
    """Register further client → server events.

    Called once at start.  A name that the protocol or another plugin uses stops the
    start.  A handler is called with the client, and then the arguments of the event; a
    client that sends more or fewer than it takes gets ``bad_request``.  The handler's return
    value is the acknowledgement.  A :class:`RealtimeError` that it raises becomes ``error``
    and a negative acknowledgement; any other exception, and a return value that is not JSON,
    is a failure, and the client gets ``plugin_failed``.

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
    """Register further HTTP paths, as Starlette routes.

    Called once, when the server is attached to its application; requests come
    only after the start.  A path that two plugins claim stops the start, and so does a route
    that is never reached, because a pattern or a mount of another plugin comes first, or
    Socket.IO.  If a route raises a :class:`RealtimeError`, the answer is its JSON refusal.
    A body over ``max_body`` is refused with 413; there is no larger bound for one route.
    ``await json_object_of(request)`` reads a JSON object, and refuses anything else with 400.
    Pages of the origins in ``cors_origin`` may use GET, HEAD, POST, PUT, PATCH and DELETE.
    ``server.allow_page(url)`` lets a page connect whose address the operator has configured.

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
    """Register endpoints: HTTP calls of one path each that are made very often.

    Called once, when the server is attached to its application; calls come only after
    the start.  ``serve`` answers them before the application and its middleware see
    them; elsewhere they are ordinary routes.  A path that two plugins claim stops the
    start.  If a handler raises a :class:`RealtimeError`, the answer is its JSON refusal.

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
    """Register further commands of ``atriz-realtime``, as click commands.

    Called once, when the command line starts; no server is running.  ``config`` comes
    from the configuration file in the working directory and the environment.
    ``resources.redis`` is not connected: a command that needs Redis uses its ``client``,
    which connects as the settings say, and closes it.

    Example::

        @click.command()
        def hello():
            click.echo("hello")

        @hookimpl
        def register_commands():
            return hello
    """


@hookspec
def register_checks(config: PluginConfig, resources: Resources) -> Iterable[Check] | Check | None:
    """Register checks, which find out whether what the plugin depends on is there and works.

    Called once, by ``atriz-realtime check`` and ``plugins``; no server calls it.  ``check``
    constructs a server without starting it, runs all checks at the same time, and prints what they
    return as problems, for which its exit status is 1.  While they run, ``resources.redis`` is
    connected.  If no Redis is configured, if it does not answer, or with ``--offline``, checks that
    need it are left out; with ``--offline``, so are those that need the network.  A check tries
    what the plugin does, and leaves nothing behind: servers may be running.

    Example::

        @hookimpl
        def register_checks():
            async def find_problems():
                if not Path("basemap.mbtiles").is_file():
                    return ["the base map basemap.mbtiles does not exist"]
                return []

            return Check("basemap", find_problems, needs=None)
    """


@hookspec
def server_started(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Awaitable[Closeable | None] | Closeable | None:
    """Called once in each process, when the backends are open and before the first client connects.

    May be a coroutine function; it is awaited, for at most ten seconds.  An exception
    stops the start.  It returns what must be closed when the server stops: a
    :class:`Closeable`, such as a client, or an :class:`contextlib.AsyncExitStack` for several
    things.  The server closes that when it stops or when the start fails: after the
    observers, before the backends, and in the reverse order of opening.  Each may take a
    second; a failure is counted and does not delay the stop.

    What runs until the stop, such as a loop that polls a service, starts here, with
    ``server.create_task(work, name=...)``.  The server counts and logs what it raises at once, and
    cancels it before it closes what this hook returned.

    Example::

        @hookimpl
        async def server_started(server):
            async def report_regularly():
                while True:
                    print(await server.tracking.counts(), "are known")
                    await asyncio.sleep(60)

            server.create_task(report_regularly(), name="report")
            closing = AsyncExitStack()
            closing.callback(print, "nothing is open any more")
            return closing
    """


@hookspec
def server_stopping(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> Awaitable[None] | None:
    """Called once in each process, while it stops: for what must be said to clients.

    Under ``atriz-realtime serve``, and in the test kit's ``serving``, clients are still connected.
    Other ASGI servers, such as ``uvicorn service:app`` or hypercorn, close the websockets before
    they tell the application to stop: there, clients may not receive what this hook sends.

    May be a coroutine function; it is awaited, for at most one second.  An exception
    is logged and does not delay the stop.  Fixes may still be published, and observers have
    yet to process their queues: close what they need as :func:`server_started` says.

    Example::

        @hookimpl
        def server_stopping(server):
            print("so long,", server.sockets.connections, "sockets")
    """
