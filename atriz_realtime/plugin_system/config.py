"""The settings of a server, and loading them from file and environment."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from typing import Any, get_type_hints

import attrs

from atriz_realtime.api.wire import CacheTTL
from atriz_realtime.plugin_system.checks import (
    as_names,
    as_origins,
    at_least,
    blank_is_none,
    check_origins,
    check_proxies,
    check_redis_url,
    mask_url,
)
from atriz_realtime.plugin_system.sources import (
    SettingsFile,
    beside,
    flat,
    merged,
    read_environment,
    read_file,
)
from atriz_realtime.plugin_system.structure import structure

logger = logging.getLogger("atriz_realtime")

MIN_PING = 500
"""Minimum milliseconds of `ping_interval` and `ping_timeout`: a smaller value was probably meant as
seconds, the unit of most other settings, and would end sessions at once."""


def _entity_settings(value: Mapping[str, Any]) -> dict[str, EntitySettings]:
    return {
        name: entry
        if isinstance(entry, EntitySettings)
        else structure(entry, EntitySettings, f"entities.{name}")
        for name, entry in value.items()
    }


def _about(text: str, *, secret: bool | str = False) -> dict[str, Any]:
    return {"help": text, "secret": secret}


def _setting(
    default: Any,
    text: str,
    *,
    minimum: float | None = None,
    maximum: float = math.inf,
    unit: str | None = None,
    secret: bool | str = False,
    **options: Any,
) -> Any:
    """Define a setting; ``minimum`` and ``maximum`` are for numbers, ``unit`` for refusals."""
    if minimum is not None:
        options["validator"] = at_least(minimum, unit, maximum)
    default = attrs.Factory(dict) if default == {} else default
    return attrs.field(default=default, metadata=_about(text, secret=secret), **options)


@attrs.frozen(kw_only=True)
class EntitySettings:
    """The table ``[realtime.entities.<type>]``: the settings of one entity type."""

    throttle: str | None = _setting(None, "The name of the throttling policy.")
    throttle_interval: float | None = _setting(
        None, "Milliseconds between two updates of one entity.", minimum=0
    )
    throttle_options: dict[str, Any] = _setting({}, "Further options of the policy.")
    cache_ttl: float | None = _setting(None, "Seconds until a current location expires.", minimum=1)
    last_known_ttl: float | None = _setting(None, "Likewise of the last known one.", minimum=0)


@attrs.frozen(kw_only=True)
class RealtimeConfig:
    """Every setting of a server.  The constructor reads neither file nor environment.

    :raises ConfigurationError: naming the invalid setting.
    """

    redis_url: str | None = _setting(
        None,
        "The Redis for fan-out and cache; none: one process, in memory.",
        converter=blank_is_none,
        validator=check_redis_url,
        repr=lambda url: repr(url and mask_url(url)),
        secret="password",  # noqa: S106  # which part to mask
    )
    redis_prefix: str = _setting(
        "", "Prefix of every key and channel, for a Redis that others use too."
    )
    # attrs.field itself, so that type checkers see the types that the converter accepts
    cors_origin: tuple[str, ...] = attrs.field(
        default=(),
        converter=as_origins,
        validator=check_origins,
        metadata=_about(
            'Origins whose pages may connect: one, a list, or "*"; none: the server\'s own origin.'
        ),
    )
    jwt_secret: str | None = _setting(
        None,
        "Key for checking tokens; none: every token is refused.",
        converter=blank_is_none,
        repr=False,
        secret=True,
    )
    allow_weak_secret: bool = _setting(
        False,
        "Let `serve` listen beyond loopback with an HMAC secret that is too short, and do not warn "
        "of a secret that the documentation prints.",
    )
    host: str = _setting("127.0.0.1", "Address that `serve` listens on.")
    port: int = _setting(3001, "Port that `serve` listens on.", minimum=0, maximum=65_535)
    drain_delay: float = _setting(
        0.0,
        "Seconds that `serve` goes on accepting clients after SIGTERM, while `/readyz` answers 503 "
        "already.",
        minimum=0,
    )
    worker_timeout: float = _setting(
        30.0,
        "Seconds after which `serve --workers` replaces a worker whose event loop stands still; "
        "0: never.",
        minimum=0,
    )
    ping_interval: int = _setting(
        25_000,
        "Milliseconds between two pings of a client, at least 500.",
        minimum=MIN_PING,
        unit="milliseconds",
    )
    ping_timeout: int = _setting(
        20_000,
        "Milliseconds that a client has to answer a ping, at least 500.",
        minimum=MIN_PING,
        unit="milliseconds",
    )
    max_payload: int = _setting(65_536, "Bytes of one message from a client.", minimum=1)
    max_body: int = _setting(
        1_048_576, "Bytes of one HTTP request's body, also on routes of plugins.", minimum=1
    )
    max_batch: int = _setting(1_000, "Updates in one batch.", minimum=1)
    auth_timeout: float = _setting(
        10.0, "Seconds after which an unauthenticated socket is closed; 0: never.", minimum=0
    )
    token_notice: float = _setting(
        60.0,
        "Seconds from `token:expiring` to the expiry of a socket's token, but at most a fifth of "
        "the time that the token had left when it was accepted; 0: never.",
        minimum=0,
    )
    connect_timeout: float = _setting(
        10.0, "Seconds after which a session without a namespace is closed; 0: never.", minimum=0
    )
    require_handshake_auth: bool = _setting(
        False, "Refuse connections without a valid token in the handshake."
    )
    recheck_interval: float = _setting(
        5.0,
        "Seconds between two checks that identities of connected sockets are still valid.",
        minimum=0.001,
    )
    max_subscriptions: int = _setting(1_000, "Entities that one socket may track.", minimum=1)
    max_events_per_second: float = _setting(
        50.0, "Events per second that one socket may send, on average; 0: no limit.", minimum=0
    )
    max_events_burst: int = _setting(500, "Events that one socket may send at once.", minimum=1)
    max_user_events_per_second: float = _setting(
        500.0,
        "Events per second from all sockets of a user on one server, on average; 0: no limit.",
        minimum=0,
    )
    max_user_events_burst: int = _setting(
        5_000, "Events that all sockets of a user may send at once.", minimum=1
    )
    max_errors_per_second: float = _setting(
        5.0,
        "Points of a session's error budget that are restored each second; 0: no budget.",
        minimum=0,
    )
    max_errors_burst: int = _setting(500, "Points of a session's error budget.", minimum=1)
    max_depth: int = _setting(64, "Levels of nested arrays and objects in one packet.", minimum=1)
    max_event_name: int = _setting(256, "Characters of an event's name.", minimum=1)
    max_arguments: int = _setting(32, "Arguments of one event, without its name.", minimum=0)
    max_attachments: int = _setting(10, "Binary attachments of one packet.", minimum=0)
    max_namespace: int = _setting(
        128, "Characters of a namespace's name, including its query.", minimum=1
    )
    max_packets: int = _setting(1_000, "Packets in one polling request.", minimum=1)
    max_connections_per_user: int = _setting(
        0, "Sockets of one user on one server; 0: no limit.", minimum=0
    )
    max_connections_per_address: int = _setting(
        0, "Sockets from one address, or IPv6 /64, on one server; 0: no limit.", minimum=0
    )
    trusted_proxies: tuple[str, ...] = attrs.field(
        default=(),
        converter=as_names,
        validator=check_proxies,
        metadata=_about(
            "Proxies from which `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`"
            " are accepted: addresses, networks, `unix`; none: those in uvicorn's"
            " `forwarded_allow_ips`, without `X-Forwarded-Host`."
        ),
    )
    max_auth_failures: int = _setting(
        100,
        "Failed authentications from one address within `auth_failure_window`; 0: no limit.",
        minimum=0,
    )
    auth_failure_window: float = _setting(
        60.0, "Seconds after which `max_auth_failures` failures no longer count.", minimum=1
    )
    max_auth_backoff: float = _setting(
        60.0,
        "Longest time, in seconds, that an address over `max_auth_failures` is refused; the "
        "first time is 1 s.",
        minimum=1,
    )
    max_pending_frames: int = _setting(
        256,
        "Frames that may wait for one client before only the newest of each entity is queued.",
        minimum=1,
    )
    max_lag: float = _setting(
        60.0, "Seconds a client may stay behind before it is disconnected; 0: no limit.", minimum=0
    )
    flush_interval: float = _setting(
        0.0,
        "Minimum milliseconds between two writes to the clients: more means fewer system calls"
        " but later positions; 0: as soon as the server is not busy writing.",
        minimum=0,
    )
    max_clock_skew: float = _setting(
        300.0, "Seconds that a fix's timestamp may be in the future.", minimum=0
    )
    max_metadata: int = _setting(4_096, "Bytes of a fix's metadata, as compact JSON.", minimum=2)
    cache: str | None = _setting(
        None, "The cache for current locations; default: redis with a redis_url, else memory."
    )
    cache_ttl: float = _setting(
        float(CacheTTL.CURRENT_LOCATION), "Seconds until a current location expires.", minimum=1
    )
    last_known_ttl: float = _setting(
        604_800.0,
        "Seconds until the last known location of an entity expires; 0: none is kept.",
        minimum=0,
    )
    fanout: str | None = _setting(
        None, "The fan-out between servers; default: redis with a redis_url, else memory."
    )
    journal: str | None = _setting(
        None,
        "The journal where fixes wait for recorders; default: redis with a redis_url, else memory.",
    )
    journal_max: int = _setting(
        1_000_000,
        "Fixes that may wait in the journal; beyond, the oldest are dropped and counted.",
        minimum=1,
    )
    throttle: str = _setting("interval", "The throttling policy of entity types that name none.")
    throttle_interval: float = _setting(
        1_000.0, "Milliseconds between two updates of one entity; 0: no throttle.", minimum=0
    )
    plugin_timeout: float = _setting(
        2.0,
        "Seconds that a plugin's authenticator, authorizer, throttle, filter or event may take.",
        minimum=0.001,
    )
    basemap: str | None = _setting(
        None,
        "The PMTiles file with the streets that the pages show; in a configuration file, a "
        "relative path counts from that file; none: the offline map, without streets.",
        converter=blank_is_none,
    )
    tracing: bool = _setting(
        False, "Create OpenTelemetry spans for each fix; needs `atriz-realtime[otel]`."
    )
    disabled_plugins: tuple[str, ...] = attrs.field(
        default=(), converter=as_names, metadata=_about("Plugins that are not loaded.")
    )
    optional_plugins: tuple[str, ...] = attrs.field(
        default=(),
        converter=as_names,
        metadata=_about(
            "Plugins that are reported and skipped if they fail, instead of stopping the start."
        ),
    )
    disabled_hooks: tuple[str, ...] = attrs.field(
        default=(),
        converter=as_names,
        metadata=_about("Hooks that are not called, each as `plugin:hook`."),
    )
    extra_plugins: tuple[str, ...] = attrs.field(
        default=(),
        converter=as_names,
        metadata=_about(
            "Further plugins, each as `module` or `module:object`; `name = module:object` names it."
        ),
    )
    entities: dict[str, EntitySettings] = attrs.field(
        factory=dict, converter=_entity_settings, metadata=_about("Overrides for entity types.")
    )
    plugins: dict[str, dict[str, Any]] = _setting(
        {}, "The table of each plugin.", repr=False, secret=True
    )

    @classmethod
    def load(
        cls,
        file: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
        **overrides: Any,
    ) -> RealtimeConfig:
        """Read the configuration file, then the environment, then ``overrides``.

        :param file: a TOML file; default: the one that ``ATRIZ_REALTIME_CONFIG`` names, else
            ``atriz.toml`` or ``pyproject.toml`` in the working directory, when there is one.
        :param environ: default: the process's.
        :raises ConfigurationError: naming the key or variable that is invalid.
        """
        return load_config(file, environ, **overrides).config


@attrs.frozen
class LoadedConfig:
    """A configuration, with the source of each value."""

    config: RealtimeConfig
    sources: Mapping[str, str] = attrs.field(factory=dict)
    """The source of each setting; one that is missing has its default.  Those of plugins are named
    ``plugins.<plugin>.<key>``."""
    file: SettingsFile | None = None
    """The configuration file; ``None`` for a configuration that was made in code."""


def load_config(
    file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    **overrides: Any,
) -> LoadedConfig:
    """Like :meth:`RealtimeConfig.load`, with the source of each value."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    hints = get_type_hints(RealtimeConfig)
    environ = os.environ if environ is None else environ
    found = read_file(file, environ, hints)
    table, origin = found.table, str(found.path)
    for key, value in table.items():
        values[key], sources[key] = value, origin
    if "basemap" in values:
        values["basemap"] = beside(origin, values["basemap"])
    sources |= dict.fromkeys(flat(table.get("plugins")), origin)
    for (key, *path), value, variable in read_environment(environ, hints):
        source = f"environment variable {variable}"
        for step in reversed(path):
            value = {step: value}  # noqa: PLW2901
        sources |= dict.fromkeys(flat(value if key == "plugins" else {}), source)
        values[key] = merged(values.get(key, {}), value) if path else value
        sources[key] = source
        text = environ[variable]
        if key == "jwt_secret" and text != text.strip():
            logger.warning(
                "whitespace around %s is ignored; whatever issues tokens must ignore it too",
                variable,
            )
    for key, value in overrides.items():
        if value is not None:
            values[key], sources[key] = value, "command line"
    sources |= dict.fromkeys(flat(overrides.get("plugins")), "command line")
    return LoadedConfig(structure(values, RealtimeConfig, sources), sources, found)
