"""A bridge to servers of the TypeScript package that share this server's Redis; off by default."""

from __future__ import annotations

import attrs

from atriz_realtime.api import (
    Check,
    ConfigurationError,
    Fanout,
    FanoutLayer,
    PluginConfig,
    Resources,
    ServerHandle,
    hookimpl,
)
from atriz_realtime.defaults.shared.extras import extra
from atriz_realtime.defaults.shared.redis_rights import rights_check


@attrs.frozen(kw_only=True)
class TypescriptSettings:
    """The table ``[realtime.plugins.typescript]``."""

    adapter: str = attrs.field(
        default="off", validator=attrs.validators.in_(["off", "classic", "sharded"])
    )
    """The adapter of `@socket.io/redis-adapter` that the TypeScript servers use: `"classic"`
    (`createAdapter`), `"sharded"` (`createShardedAdapter`), or `"off"`: no bridge."""
    key: str = attrs.field(
        default="socket.io", validator=attrs.validators.matches_re(r"[^*?\[\]\\\s]+")
    )
    """The prefix of the adapter's channels: its option `key` or `channelPrefix`."""
    authenticated_room: str = "authenticated"
    """The room that the TypeScript servers keep authenticated sockets in, for
    `broadcastToAuthenticated`."""


@hookimpl
def register_settings() -> type[TypescriptSettings]:
    """Return the settings class."""
    return TypescriptSettings


@hookimpl
def register_fanout_layers(
    config: PluginConfig, server: ServerHandle, resources: Resources
) -> FanoutLayer | None:
    """Register the layer ``typescript`` when an adapter is chosen."""
    settings = config.load(TypescriptSettings)
    if settings.adapter == "off":
        return None
    link = resources.redis
    if link is None:
        raise ConfigurationError("plugin typescript: needs a redis_url (REDIS_URL)")
    if resources.settings["redis_prefix"]:
        raise ConfigurationError("plugin typescript: the TypeScript package knows no redis_prefix")
    if link.sharded and settings.adapter == "classic":
        raise ConfigurationError(
            'plugin typescript: on a Redis Cluster the adapter must be "sharded"'
        )
    with extra("typescript", "plugin typescript"):
        from atriz_realtime.defaults.typescript.bridge import Bridge  # noqa: PLC0415
        from atriz_realtime.defaults.typescript.shards import ShardChannels  # noqa: PLC0415

    async def open_layer(below: Fanout) -> Fanout:
        carrier = below
        if settings.adapter == "sharded" and not link.sharded:  # a cluster's fan-out is sharded
            carrier = ShardChannels(link, resources.report)
        return Bridge(
            below,
            carrier,
            server.membership,
            resources,
            adapter=settings.adapter,
            key=settings.key,
            authenticated_room=settings.authenticated_room,
        )

    return FanoutLayer("typescript", open_layer)


@hookimpl
def register_checks(config: PluginConfig, resources: Resources) -> Check | None:
    """Register the check of the rights that the bridge needs in Redis, if it is on."""
    settings, link = config.load(TypescriptSettings), resources.redis
    if settings.adapter == "off" or link is None:
        return None
    sharded = settings.adapter == "sharded"
    own_channels = sharded and not link.sharded
    if not own_channels and config.settings["fanout"] not in (None, "redis"):
        return None  # another fan-out carries the adapter's channels
    with extra("typescript", "plugin typescript"):
        from atriz_realtime.defaults.typescript.rights import (  # noqa: PLC0415
            classic_trials,
            sharded_trials,
        )

    trials = sharded_trials if sharded else classic_trials
    return rights_check("typescript", link, lambda: trials(settings.key))
