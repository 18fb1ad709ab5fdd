"""The plugin ``apikey``: every hook it implements."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import attrs
import click

from atriz_realtime.api import (
    Authenticator,
    Authorizer,
    ConfigurationError,
    PluginConfig,
    Resources,
    hookimpl,
)
from atriz_realtime_apikey.access import (
    NAME,
    KeyAuthenticator,
    may_publish,
    may_track,
    still_holds,
)
from atriz_realtime_apikey.commands import Administration, command_group
from atriz_realtime_apikey.keys import ApiKey, is_id
from atriz_realtime_apikey.ring import KeyRing

logger = logging.getLogger("atriz_realtime.apikey")

ORDER = -100
"""Before the other authenticators (JWT's is 0), so that none of them ever sees a key."""


def _keys(tables: Mapping[str, Any]) -> dict[str, ApiKey]:
    keys = {}
    for key_id, table in tables.items():
        try:
            keys[key_id] = ApiKey.from_table(key_id, table)
        except ConfigurationError as error:
            where = f"keys.{key_id}" if is_id(key_id) else "keys"  # it may be a key by mistake
            raise ConfigurationError(f"{where}: {error.message}", field="keys") from error
    return keys


@attrs.frozen(kw_only=True)
class ApiKeySettings:
    """The table ``[realtime.plugins.apikey]``."""

    cache_seconds: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))
    """How long what Redis says about a key is good for; so a revoked one may work for longer."""
    cache_size: int = attrs.field(default=10_000, validator=attrs.validators.ge(1))
    """How many keys are remembered for that time; as many unknown ids besides."""
    keys: dict[str, Any] = attrs.field(factory=dict, converter=_keys, repr=False)
    """Keys by id, each a table with the fields of :class:`ApiKey`."""


@hookimpl
def register_settings() -> type[ApiKeySettings]:
    """The plugin's own table."""
    return ApiKeySettings


@hookimpl
def register_authenticators(config: PluginConfig, resources: Resources) -> Authenticator:
    """Check keys against the configuration and Redis."""
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
    """Hold each key to its scopes."""
    return Authorizer(NAME, may_track=may_track, may_publish=may_publish)


@hookimpl
def register_commands(config: PluginConfig, resources: Resources) -> click.Command:
    """Offer ``atriz-realtime apikey``."""
    return command_group(
        Administration(
            configured=config.load(ApiKeySettings).keys,
            client=None if resources.redis is None else resources.redis.client,
            prefix=config.settings["redis_prefix"],
            clock=resources.clock,
        )
    )
