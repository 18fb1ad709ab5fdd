"""The hooks of the plugin ``apikey``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import attrs
import click

from atriz_realtime.api import (
    Authenticator,
    Authorizer,
    Check,
    ConfigurationError,
    PluginConfig,
    Resources,
    hookimpl,
)
from atriz_realtime_apikey import store
from atriz_realtime_apikey.access import NAME, KeyAuthenticator, may_publish, may_track, still_holds
from atriz_realtime_apikey.commands import Administration, command_group
from atriz_realtime_apikey.keys import ApiKey, is_id
from atriz_realtime_apikey.ring import KeyRing

logger = logging.getLogger("atriz_realtime.apikey")

ORDER = -100
"""Precedes the other authenticators (that of JWTs has 0), so that none of them gets a key."""


def _keys(tables: Mapping[str, Any]) -> dict[str, ApiKey]:
    keys = {}
    for key_id, table in tables.items():
        try:
            keys[key_id] = ApiKey.from_table(key_id, table)
        except ConfigurationError as error:
            # the id may be a key, put there by mistake
            where = f"keys.{key_id}" if is_id(key_id) else "keys"
            raise ConfigurationError(f"{where}: {error.message}", field="keys") from error
    return keys


@attrs.frozen(kw_only=True)
class ApiKeySettings:
    """The table ``[realtime.plugins.apikey]``."""

    cache_seconds: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))
    """Seconds that an answer of Redis about a key is cached; a revoked key may work as long."""
    cache_size: int = attrs.field(default=10_000, validator=attrs.validators.ge(1))
    """Keys in that cache; as many unknown ids are cached separately."""
    keys: dict[str, Any] = attrs.field(factory=dict, converter=_keys, repr=False)
    """Keys by id, each a table with the fields of :class:`ApiKey`."""


@hookimpl
def register_settings() -> type[ApiKeySettings]:
    """Return the settings class."""
    return ApiKeySettings


@hookimpl
def register_authenticators(config: PluginConfig, resources: Resources) -> Authenticator:
    """Register the authenticator of keys from the configuration and from Redis."""
    settings = config.load(ApiKeySettings)
    if not settings.keys and resources.redis is None:
        logger.warning("neither keys nor a redis_url are configured: every API key is refused")
    ring = KeyRing(
        settings.keys,
        None if resources.redis is None else resources.redis.execute,
        resources.clock,
        resources.report,
        prefix=config.settings["redis_prefix"],
        seconds=settings.cache_seconds,
        size=settings.cache_size,
    )
    return Authenticator(
        NAME,
        KeyAuthenticator(ring, resources.clock).authenticate,
        order=ORDER,
        still_holds=still_holds,
    )


@hookimpl
def register_authorizers() -> Authorizer:
    """Register the authorizer that limits each key to its scopes."""
    return Authorizer(NAME, may_track=may_track, may_publish=may_publish)


@hookimpl
def register_commands(config: PluginConfig, resources: Resources) -> click.Command:
    """Register ``atriz-realtime apikey``."""
    return command_group(
        Administration(
            configured=config.load(ApiKeySettings).keys,
            client=None if resources.redis is None else resources.redis.client,
            prefix=config.settings["redis_prefix"],
            clock=resources.clock,
        )
    )


@hookimpl
def register_checks(config: PluginConfig, resources: Resources) -> Check | None:
    """Register the check of whether the server may read keys from Redis."""
    redis, prefix = resources.redis, config.settings["redis_prefix"]
    if redis is None:
        return None

    async def read() -> None:
        await redis.execute("HMGET", store.redis_key("check", prefix), *store.FIELDS)

    return Check(NAME, read, needs="redis")
