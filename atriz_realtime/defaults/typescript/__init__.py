"""A bridge to servers of the TypeScript package that share this server's Redis; off by default."""

from __future__ import annotations

import importlib

from atriz_realtime.api import (
    ConfigurationError,
    Fanout,
    FanoutLayer,
    PluginConfig,
    Resources,
    ServerHandle,
    hookimpl,
)
from atriz_realtime.defaults.typescript.settings import TypescriptSettings


@hookimpl
def register_settings() -> type[TypescriptSettings]:
    """The plugin's own table."""
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
    try:
        bridge = importlib.import_module("atriz_realtime.defaults.typescript.bridge")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"plugin typescript: {error.name} is missing: pip install 'atriz-realtime[typescript]'"
        ) from error

    async def open_layer(below: Fanout) -> Fanout:
        layer: Fanout = bridge.open_bridge(below, link, settings, server.membership, resources)
        return layer

    return FanoutLayer("typescript", open_layer)
