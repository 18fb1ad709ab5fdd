"""The records that all plugins register, checked for conflicts, with typed look-ups."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Protocol, TypeVar

import attrs
from starlette.routing import BaseRoute, WebSocketRoute

from atriz_realtime.api.contracts import Resources, ServerHandle, ThrottlePolicy
from atriz_realtime.api.errors import ConfigurationError, PluginError
from atriz_realtime.api.model import LocationEvent
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
from atriz_realtime.api.wire import SocketEvents, track_event, untrack_event
from atriz_realtime.plugin_system.config import EntitySettings, RealtimeConfig
from atriz_realtime.plugin_system.failures import failing, refused_by
from atriz_realtime.plugin_system.plugins import PluginHost
from atriz_realtime.plugin_system.reachable import SOCKET_IO, Patterned, check_reached
from atriz_realtime.plugin_system.signatures import check_contract, check_record, check_route
from atriz_realtime.plugin_system.structure import check_settings_class, nearest, structure


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class _Ordered(_Named, Protocol):
    @property
    def order(self) -> int: ...


R = TypeVar("R")
Named = TypeVar("Named", bound=_Named)
Ordered = TypeVar("Ordered", bound=_Ordered)

_RESERVED_EVENTS = frozenset(SocketEvents) | {"connect_error", "message"}

RESERVED_TYPES = frozenset({"user", "realtime"})
"""Names that no entity type may have; rooms of users and of the server use them."""

HandleOf = Callable[[str], ServerHandle]
"""The server as the plugin of a name sees it."""

ANY_METHOD = "*"
"""The method of a route that serves every method."""


@attrs.frozen(kw_only=True)
class EntityKind:
    """An entity type in effect: the plugin's record with the configuration applied."""

    name: str
    plugin: str
    """The plugin that registered it."""
    matches_id: Callable[[str], object]
    """Returns a true value when the pattern matches the whole id."""
    validate: Callable[[LocationEvent], None] | None
    cache_ttl: float
    """Seconds."""
    last_known_ttl: float = 0.0
    """Seconds; 0: none is kept."""
    throttle: str
    """The policy's name."""
    throttle_options: Mapping[str, Any]
    own_options: frozenset[str] = frozenset()
    """The names of the options that the plugin's record sets."""


class Registry:
    """Everything that the plugins register, with typed look-ups.

    :raises PluginError: when two plugins register one name, or a plugin fails.
    :raises ConfigurationError: when configuration chooses a name that no plugin registers.
    """

    def __init__(self, host: PluginHost, config: RealtimeConfig, resources: Resources) -> None:
        self.plugin_settings: Mapping[str, Any] = host.settings
        self._host = host
        self._resources = resources
        self._owners: dict[Any, str] = {}
        self._where: dict[Any, str] = {}
        self._contributed: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        self._served: defaultdict[tuple[str, bool], dict[str, str]] = defaultdict(dict)
        self.authenticators = self._ordered("register_authenticators", Authenticator)
        self.authorizers = self._collect("register_authorizers", Authorizer)
        self.filters = self._ordered("register_filters", Filter)
        self.views = self._ordered("register_views", View)
        self.throttles = self._by_name("register_throttles", Throttle)
        for throttle in self.throttles.values():
            if throttle.options is not None:
                check_settings_class(self.where(throttle), "options", throttle.options)
        self.caches = self._by_name("register_caches", CacheBackend)
        self.fanouts = self._by_name("register_fanouts", FanoutBackend)
        self.journals = self._by_name("register_journals", JournalBackend)
        types = self._by_name("register_entity_types", EntityType)
        for name in RESERVED_TYPES & types.keys():
            raise PluginError(
                f"plugin {self.owner(types[name])!r}: the entity type {name!r} is reserved"
            )
        for name in config.entities:
            if name not in types:
                raise ConfigurationError(
                    f"[realtime.entities.{name}]: no such entity type, and no plugin "
                    f"registers it{nearest(name, types)}",
                    field="entities",
                )
        self.kinds: dict[str, EntityKind] = {
            name: self._kind(entity_type, config) for name, entity_type in types.items()
        }
        self._distributed = config.redis_url is not None
        self.cache = self._chosen("cache", config.cache, self.caches)
        self.fanout = self._chosen("fanout", config.fanout, self.fanouts)
        self._journal = config.journal
        if config.journal is not None:  # without a recorder none is needed
            self._chosen("journal", config.journal, self.journals)

    @cached_property
    def checks(self) -> list[Check]:
        """What ``register_checks`` returns; called when it is first asked for, by no server."""
        return self._collect("register_checks", Check)

    def contributed(self, hook: str) -> list[tuple[str, str]]:
        """Pairs of a record's name and its plugin, for a hook that has been called.

        The name of a route is its path.
        """
        return list(self._contributed.get(hook, ()))

    def observers(self, server: HandleOf) -> list[Observer]:
        """Call ``register_observers``."""
        return self._collect("register_observers", Observer, server=server)

    @cached_property
    def journal(self) -> JournalBackend | None:
        """The journal that is chosen; ``None`` if no recorder is registered.

        :raises ConfigurationError: when there is a recorder, and no journal of that name.
        """
        if not self._contributed.get("register_recorders"):
            return None
        return self._chosen("journal", self._journal, self.journals)

    def recorders(self, server: HandleOf) -> list[Recorder]:
        """Call ``register_recorders``.

        :raises PluginError: when one wants fixes of an entity type that nobody registers.
        """
        recorders = self._collect("register_recorders", Recorder, server=server)
        for record in recorders:
            for name in record.entity_types or ():
                if name not in self.kinds:
                    unknown = f"entity_types: no such type {name!r}{nearest(name, self.kinds)}"
                    raise PluginError(f"{self.where(record)}: {unknown}")
        return recorders

    def fanout_layers(self, server: HandleOf) -> list[FanoutLayer]:
        """Call ``register_fanout_layers``; the lowest layer is first."""
        return self._ordered("register_fanout_layers", FanoutLayer, server=server)

    def socket_events(self, server: HandleOf) -> list[SocketEvent]:
        """Call ``register_socket_events``.

        :raises PluginError: for a name that the protocol or an entity type uses.
        """
        events = self._collect("register_socket_events", SocketEvent, server=server)
        reserved = _RESERVED_EVENTS.union(
            *({track_event(kind), untrack_event(kind)} for kind in self.kinds)
        )
        for event in events:
            if event.name in reserved:
                raise PluginError(
                    f"plugin {self.owner(event)!r} registers the event {event.name!r}, "
                    "which the protocol has taken"
                )
        return events

    def routes(self, server: HandleOf) -> list[BaseRoute]:
        """Call ``register_routes``.

        :raises PluginError: when two plugins register one path and method, or when a pattern or a
            mount of one, or Socket.IO, matches whatever a later one is for.
        """
        routes: list[BaseRoute] = []
        patterns: list[tuple[str, Patterned]] = [SOCKET_IO]
        for plugin, route in self._records("register_routes", BaseRoute, server=server):
            routes.append(route)
            path = getattr(route, "path", None)
            self._contributed["register_routes"].append((path or type(route).__name__, plugin))
            if path is not None:
                methods = set(getattr(route, "methods", None) or (ANY_METHOD,))
                self._claim(plugin, path, methods, socket=isinstance(route, WebSocketRoute))
            if isinstance(route, Patterned):
                check_reached(plugin, route, patterns)
                patterns.append((f"plugin {plugin!r}", route))
        return routes

    def endpoints(self, server: HandleOf) -> list[Endpoint]:
        """Call ``register_endpoints``.

        :raises PluginError: when two plugins register one path and method.
        """
        endpoints: list[Endpoint] = []
        for plugin, endpoint in self._records("register_endpoints", Endpoint, server=server):
            endpoints.append(endpoint)
            self._contributed["register_endpoints"].append((endpoint.path, plugin))
            self._claim(plugin, endpoint.path, {endpoint.method}, socket=False)
        return endpoints

    def _claim(self, plugin: str, path: str, methods: set[str], *, socket: bool) -> None:
        served = self._served[path, socket]
        for method, owner in served.items():
            shared = method == ANY_METHOD or methods & {method, ANY_METHOD}
            if shared and owner != plugin:
                raise PluginError(f"plugins {owner!r} and {plugin!r} both serve {path!r}")
        served.update(dict.fromkeys(methods, plugin))

    def owner_of_path(self, path: str) -> str | None:
        """The plugin whose route or endpoint has this path, as it was registered."""
        served = self._served.get((path, False), {})
        return next(iter(served.values()), None)

    def policy(self, kind: EntityKind) -> ThrottlePolicy:
        """Create the throttling policy of an entity type.

        :raises ConfigurationError: when its options are invalid.
        :raises PluginError: when the plugin fails to create it, or creates something else.
        """
        throttle = self.throttles[kind.throttle]
        where = f"throttle {throttle.name!r} of {kind.name!r}"
        options: Any = kind.throttle_options
        if throttle.options is not None:
            try:
                options = structure(options, throttle.options, where)
            except PluginError as error:
                raise PluginError(f"plugin {self.owner(throttle)!r}: {error.message}") from error
            except ConfigurationError as error:
                if error.field not in kind.own_options:  # which configuration sets
                    raise
                raise refused_by(kind.plugin, error) from error
        where = f"plugin {self.owner(throttle)!r}: {where}"
        try:
            policy = throttle.create(options, self._resources)
        except ConfigurationError as error:
            raise refused_by(self.owner(throttle), error) from error
        except Exception as error:
            raise PluginError(f"{where}: {type(error).__name__}: {error}") from error
        check_contract(where, policy, ThrottlePolicy)
        return policy

    def owner(self, record: Any) -> str:
        """The name of the plugin that registered a record."""
        return self._owners[record]

    def where(self, record: Any) -> str:
        """How an error names a record: by its plugin, its hook and its name."""
        return self._where[record]

    def _kind(self, entity_type: EntityType, config: RealtimeConfig) -> EntityKind:
        settings = config.entities.get(entity_type.name, EntitySettings())
        throttle = settings.throttle or entity_type.throttle or config.throttle
        if throttle not in self.throttles:
            own = throttle == entity_type.throttle
            where = self.where(entity_type) if own else f"entity type {entity_type.name!r}"
            raise ConfigurationError(
                f"{where}: no throttle {throttle!r}{nearest(throttle, self.throttles)}",
                field="throttle",
            )
        options = dict(entity_type.throttle_options) if settings.throttle is None else {}
        own_options = frozenset(options.keys() - settings.throttle_options.keys())
        options |= settings.throttle_options
        interval = settings.throttle_interval
        if interval is None and "interval" not in options:
            interval = config.throttle_interval
        accepted = self.throttles[throttle].options
        if interval is not None and accepted and "interval" in attrs.fields_dict(accepted):
            options["interval"] = interval
        try:
            pattern = re.compile(entity_type.id_pattern)
        except re.error as error:
            raise PluginError(
                f"plugin {self.owner(entity_type)!r}: id_pattern of {entity_type.name!r}: {error}"
            ) from error
        ttl = settings.cache_ttl or entity_type.cache_ttl or config.cache_ttl
        kept = (settings.last_known_ttl, entity_type.last_known_ttl, config.last_known_ttl)
        return EntityKind(
            name=entity_type.name,
            plugin=self.owner(entity_type),
            matches_id=pattern.fullmatch,
            validate=entity_type.validate,
            cache_ttl=ttl,
            last_known_ttl=next(seconds for seconds in kept if seconds is not None),
            throttle=throttle,
            throttle_options=options,
            own_options=own_options,
        )

    def _chosen(self, setting: str, name: str | None, known: Mapping[str, R]) -> R:
        chosen = name or ("redis" if self._distributed else "memory")
        if chosen not in known:
            raise ConfigurationError(
                f"{setting}: no {setting} {chosen!r}{nearest(chosen, known)}", field=setting
            )
        return known[chosen]

    def _collect(self, hook: str, record_class: type[Named], **arguments: Any) -> list[Named]:
        """Call a hook, and check the class of its records and that their names differ."""
        records: list[Named] = []
        for plugin, record in self._records(hook, record_class, **arguments):
            for other in records:
                if other.name == record.name:
                    what = _spoken(record_class)
                    owner = self.owner(other)
                    if owner == plugin:
                        raise PluginError(
                            f"plugin {plugin!r} registers the {what} {record.name!r} twice"
                        )
                    raise PluginError(
                        f"plugins {owner!r} and {plugin!r} both register the {what} {record.name!r}"
                    )
            with failing(plugin, hook):  # a record of a class of its own may not be hashable
                self._owners[record] = plugin
            self._where[record] = _where(plugin, hook, record, record_class)
            self._contributed[hook].append((record.name, plugin))
            records.append(record)
        return records

    def _by_name(self, hook: str, record_class: type[Named]) -> dict[str, Named]:
        return {record.name: record for record in self._collect(hook, record_class)}

    def _ordered(self, hook: str, record_class: type[Ordered], **arguments: Any) -> list[Ordered]:
        return sorted(
            self._collect(hook, record_class, **arguments), key=lambda record: record.order
        )

    def _records(
        self, hook: str, record_class: type[R], **arguments: Any
    ) -> Iterator[tuple[str, R]]:
        """Call a hook, and yield each plugin's records, which may be one alone.

        :raises PluginError: when a plugin returns anything else, or when a function of a record
            does not take what it will be called with.
        """
        for plugin, returned in self._host.call(hook, resources=self._resources, **arguments):
            alone = isinstance(returned, record_class) or not isinstance(returned, Iterable)
            with failing(plugin, hook):
                records = [returned] if alone else list(returned)
                for record in records:
                    if not isinstance(record, record_class):
                        raise PluginError(
                            f"plugin {plugin!r}: {hook} must return {record_class.__name__} "
                            f"records, not {type(record).__name__}"
                        )
                    where = _where(plugin, hook, record, record_class)
                    if isinstance(record, BaseRoute):
                        check_route(where, record)
                    else:
                        check_record(where, record, record_class)
            yield from ((plugin, record) for record in records)


def _spoken(record_class: type[Any]) -> str:
    """The name of a class of records as two words, or one."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", record_class.__name__).lower()


def _where(plugin: str, hook: str, record: Any, record_class: type[Any]) -> str:
    """How an error names a record: by its plugin, its hook and its name, or its path."""
    if record_class is BaseRoute:
        kind, name = "route", getattr(record, "path", None) or type(record).__name__
    else:
        kind, name = _spoken(record_class), getattr(record, "name", None) or record.path
    return f"plugin {plugin!r}: {hook}: {kind} {name!r}"
